"""Functions as tools of the Model Context Protocol, whose answers are read a page at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from lmflow.errors import LmflowError, clipped, listed, near
from lmflow.serve.mcp import until_stopped
from lmflow.values.json_text import parse
from lmflow.values.printing import clean

PAGE = 16_000
"""The characters of the longest answer; what is longer is read on with ``offset``."""

_OFFSET = {
    "type": "integer",
    "minimum": 0,
    "description": "Continue an answer at this character, which the answer before names as next.",
}


@attrs.frozen
class ToolProblem(LmflowError):
    """The arguments of a tool can't be used."""

    problem: str

    template = "{problem}"


@attrs.frozen
class ReadTool:
    """A tool that reads.

    Args:
        name: The name.
        description: What it gives, for the calling model.
        properties: The JSON schema of each argument, by name.
        required: The arguments that must be given.
        call: Makes the answer, JSON values or a text, of the arguments.
    """

    name: str
    description: str
    properties: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...]
    call: Callable[[Mapping[str, Any]], Any]


def tools_server(name: str, tools: Sequence[ReadTool]) -> Server[Any]:
    """Return the MCP server of tools.

    An answer is a text of at most ``PAGE`` characters; a longer one ends in the offset at which the
    next call reads on. What models, users and tools wrote is in it without control characters.
    """
    by_name = {tool.name: tool for tool in tools}
    turn = asyncio.Lock()

    async def list_tools(_: object, __: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=list(map(_described, tools)))

    async def call_tool(_: object, call: types.CallToolRequestParams) -> types.CallToolResult:
        tool = by_name.get(call.name)
        if tool is None:
            names = f"there is {listed(by_name)}.{near(call.name, by_name)}"
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {call.name!r}; {names}")
        arguments = dict(call.arguments or {})
        try:
            offset = _checked(tool, arguments)
            async with turn:
                answer = await asyncio.to_thread(tool.call, arguments)
        except (LmflowError, RecursionError) as error:
            return _result(clipped(str(error), PAGE), is_error=True)
        return _result(page_of(answer, offset), is_error=False)

    return Server(name, on_list_tools=list_tools, on_call_tool=call_tool)


async def serve_tools(name: str, tools: Sequence[ReadTool]) -> None:
    """Serve tools on standard input and output until the input ends, or SIGTERM or Ctrl-C."""
    await until_stopped(tools_server(name, tools))


def page_of(answer: Any, offset: int) -> str:
    """Return the part of an answer that begins at an offset, and where the next one begins."""
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=1)
    text = clean(text)
    part = text[offset : offset + PAGE]
    end = offset + len(part)
    if end >= len(text):
        return part
    return f"{part}\n... {len(text) - end:,} more characters: call again with offset={end}"


def _checked(tool: ReadTool, arguments: dict[str, Any]) -> int:
    """Check arguments, and return the offset, which is taken out of them."""
    offset = arguments.pop("offset", 0)
    if type(offset) is not int or offset < 0:
        raise ToolProblem(f"offset is a number from 0 on, found {offset!r:.40}")
    for name, value in arguments.items():
        if name not in tool.properties:
            known = listed(tool.properties)
            hint = near(name, tool.properties)
            raise ToolProblem(f"{tool.name} has no argument {name!r:.60}; it has {known}.{hint}")
        if not _fits(value, tool.properties[name]):
            kind = tool.properties[name]["type"]
            raise ToolProblem(f"{name} is of the type {kind}, found {value!r:.60}")
    missing = [name for name in tool.required if name not in arguments]
    if missing:
        raise ToolProblem(f"{tool.name} needs {listed(missing)}")
    return offset


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    match schema["type"]:
        case "integer":
            least, most = schema.get("minimum", 0), schema.get("maximum", 2**53)
            return type(value) is int and least <= value <= most
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        case _:
            return isinstance(value, str)


def _described(tool: ReadTool) -> types.Tool:
    properties = {**tool.properties, "offset": _OFFSET}
    schema = {"type": "object", "properties": properties, "required": list(tool.required)}
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema={**parse(json.dumps(schema)), "additionalProperties": False},
        annotations=types.ToolAnnotations(read_only_hint=True),
    )


def _result(text: str, *, is_error: bool) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=is_error)
