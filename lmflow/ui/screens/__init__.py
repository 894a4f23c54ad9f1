"""One module a screen: each reads the store and returns the JSON values that its page shows."""
