"""An MCP server without any library, whose listing has tools that are odd or wrong."""

import json
import sys
from typing import Any

TEXT = {"type": "string"}
TOOLS: list[Any] = [
    {"name": "good", "inputSchema": {"type": "object", "properties": {"q": TEXT}}},
    {"name": "schema-is-true", "inputSchema": True},
    {"name": "schema-is-text", "inputSchema": "object"},
    {"name": "without-a-type", "inputSchema": {"properties": {"q": TEXT}, "required": ["q"]}},
    {"name": "Names, oddly (2)!", "inputSchema": {"type": "object"}},
    {"name": "class", "inputSchema": {"type": "object"}},
    {"name": "", "inputSchema": {"type": "object"}},
    {"name": "good", "inputSchema": {"type": "object"}},
    {"inputSchema": {"type": "object"}},
    "no tool",
    {"name": "last", "inputSchema": {"type": "object"}, "annotations": "none"},
]


def answer(method: str, params: Any) -> Any:
    """Answer what a client asks; ``None`` for what this server doesn't know."""
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "odd", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": json.dumps(params)}]}
    return None


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        reply = {"jsonrpc": "2.0", "id": message["id"]}
        result = answer(message["method"], message.get("params"))
        if result is None:
            reply["error"] = {"code": -32601, "message": "it is not known here"}
        else:
            reply["result"] = result
        print(json.dumps(reply), flush=True)  # noqa: T201 - the protocol's way
