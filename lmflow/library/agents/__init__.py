"""Programs that call tools or write code, the sandbox that runs the code, and tools of MCP servers."""
