"""HTTP below the providers: connections, server-sent events, error replies, and context lengths."""
