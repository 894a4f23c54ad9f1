"""A real MCP server, started by the tests: over standard input and output, or at a port of the
loopback.
"""

import os
import sys
from typing import Any

from mcp.server.mcpserver import MCPServer

server = MCPServer("notes")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


@server.tool(name="search-Notes")
def search(queryText: str, maxResults: int = 2, tag: str | None = None) -> list[str]:  # noqa: N803 - as servers do
    """Find notes."""
    return [f"{queryText} {n}{tag or ''}" for n in range(maxResults)]


@server.tool()
def fail(text: str) -> str:
    """Fail."""
    raise ValueError(f"nothing about {text}")


@server.tool()
def person(name: str) -> dict[str, Any]:
    """Who somebody is."""
    return {"name": name, "born": 1815}


@server.tool()
def tell() -> str:
    """Tell what it was told in confidence."""
    return f"the key is {os.environ.get('NOTES_KEY', 'sk-canary-1234')}"


@server.tool()
def leave() -> str:
    """End the server."""
    os._exit(3)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
