"""Tools of MCP servers (Model Context Protocol), called through the executor like all others."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import Any

from lmflow.errors.calling import ToolsUnavailable
from lmflow.errors.words import near
from lmflow.library.agents.mcp_connection import Connection, McpError, McpServer
from lmflow.messages.requests import LIVE
from lmflow.programs.factories import check_mode
from lmflow.programs.tool import Tool
from lmflow.signatures.fields import Field
from lmflow.signatures.from_json_schema import ImportedSchema, import_schema, valid_names
from lmflow.signatures.signature import Signature
from lmflow.values.functions import Function
from lmflow.values.record import digest, plain

CallTool = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Calls a tool of a server, by the server's names for it and for its arguments."""

_RESULT = (Field(name="result", type=Any),)


@contextlib.asynccontextmanager
async def mcp_tools(  # noqa: PLR0913 - each is a choice of its own
    server: str | Sequence[str],
    *,
    name: str = "",
    only: Collection[str] = (),
    prefix: str = "",
    mode: str | Mapping[str, str] = LIVE,
    timeout: float | None = 60.0,  # noqa: ASYNC109 - the tools' own, which the executor keeps
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    headers: Mapping[str, str] | None = None,
    starting: float = 30.0,
) -> AsyncIterator[tuple[Tool, ...]]:
    """Connect to an MCP server and offer its tools while the block lasts.

    Used as ``async with lf.mcp_tools(["python", "server.py"]) as tools``. A tool's identity is made
    of server, tool and schema. Headers, and the values of ``env`` whose name says that they are
    secret, are masked by value.

    Args:
        server: A command with its arguments, which is started and spoken to over its standard input
            and output, or the URL of a streamable HTTP endpoint.
        name: The server's name in the tools' identities, by default the one that it gives itself.
        only: The server's names of the tools to offer, by default all.
        prefix: Stands before the tools' names here.
        mode: The mode of all tools, or by tool (others are live).
        timeout: Seconds a call.
        env: The environment of the command.
        cwd: The folder that the command is started in.
        headers: Headers of requests to the URL.
        starting: Seconds for the connection.

    Yields:
        The tools.

    Raises:
        ToolsUnavailable: There is no connection, a tool of ``only`` is missing, or the extra
            ``mcp`` isn't installed.
    """
    connection = Connection(McpServer(server, env, cwd, headers), starting)
    try:
        listing = await connection.listing()
        known_as = name or connection.name
        chosen = _select(known_as, listing, only)
        yield tools_of(known_as, chosen, connection.call, prefix, mode, timeout)
    finally:
        await connection.close()


def tools_of(  # noqa: PLR0913, PLR0917 - what a tool is made of
    server: str,
    listing: Iterable[Mapping[str, Any]],
    call_tool: CallTool,
    prefix: str = "",
    mode: str | Mapping[str, str] = LIVE,
    timeout: float | None = None,
) -> tuple[Tool, ...]:
    """Make the tools of a listing (``name``, ``description`` and ``inputSchema`` each)."""
    entries = list(listing)
    names = valid_names(prefix + str(entry["name"]) for entry in entries)
    tools = []
    for name, entry in zip(names, entries, strict=True):
        own_mode = mode if isinstance(mode, str) else mode.get(str(entry["name"]), LIVE)
        tools.append(_server_tool(name, server, entry, call_tool, own_mode, timeout))
    return tuple(tools)


def listing_of(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Return tools of servers as JSON values, which ``offline`` reads."""
    return [
        {
            "name": tool.name,
            "identity": tool.function.identity,
            "description": tool.description,
            "parameters": plain(tool.parameters),
            "mode": tool.mode,
        }
        for tool in tools
    ]


def offline(listing: Iterable[Mapping[str, Any]]) -> tuple[Tool, ...]:
    """Make the tools of a ``listing_of`` without their server, with the same keys.

    Their recordings replay; a call that isn't recorded fails.
    """

    async def call(**_: Any) -> Any:
        msg = (
            "there is no server behind this tool: "
            "run the program inside `async with lf.mcp_tools(...)`"
        )
        raise McpError(msg)

    tools = []
    for entry in listing:
        function = Function(entry["name"], entry["identity"], call)
        schema = import_schema(entry["parameters"])
        tools.append(_tool(entry["name"], schema, function, entry["description"], entry["mode"]))
    return tuple(tools)


def _server_tool(  # noqa: PLR0913, PLR0917 - what a tool is made of
    name: str,
    server: str,
    entry: Mapping[str, Any],
    call_tool: CallTool,
    mode: str,
    timeout: float | None,
) -> Tool:
    own_name, schema = str(entry["name"]), entry.get("inputSchema") or {}
    imported = import_schema(schema)

    async def call(**inputs: Any) -> Any:
        return await call_tool(own_name, imported.owned(plain(inputs)))

    identity = f"mcp:{server}/{own_name}:{digest('mcp', schema)}"
    text = inspect.cleandoc(str(entry.get("description") or entry.get("title") or ""))
    function = Function(f"{server}/{own_name}", identity, call)
    return _tool(name, imported, function, text, mode, timeout)


def _tool(  # noqa: PLR0913, PLR0917 - what a tool is made of
    name: str,
    schema: ImportedSchema,
    function: Function,
    description: str,
    mode: str,
    timeout: float | None = None,
) -> Tool:
    return Tool(
        name=name,
        signature=Signature(schema.fields, _RESULT),
        function=function,
        timeout=timeout,
        mode=check_mode(mode),
        description=description,
        parameters=schema.schema,
    )


def _select(
    server: str, listing: list[dict[str, Any]], only: Collection[str]
) -> list[dict[str, Any]]:
    """Return the entries that ``only`` names, all if it is empty."""
    names = [str(entry["name"]) for entry in listing]
    for name in only:
        if name not in names:
            text = f"it has no tool {name!r}; it has {', '.join(names) or 'none'}"
            fix = f"Name those that it has, only=[...].{near(name, names)}"
            raise ToolsUnavailable(server, text, fix)
    return [entry for entry in listing if not only or entry["name"] in only]
