"""HTTP below the providers: sessions, server-sent events, failures, and endpoint capabilities."""
