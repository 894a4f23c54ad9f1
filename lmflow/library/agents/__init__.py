"""Programs that call tools or write code, the sandbox for that code, and tools of MCP servers."""
