"""Tools of MCP servers (Model Context Protocol), called through the executor like all others."""

from __future__ import annotations

import contextlib
import inspect
import warnings
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

import attrs

from lmflow.errors.calling import ToolsUnavailable
from lmflow.errors.words import near, visible
from lmflow.library.agents.mcp_connection import RUN_INSIDE, Connection, McpError, McpServer
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
_NAMED, _REASON_SHOWN = 20, 300
_NO_SERVER = "there is no server behind this tool"


class ToolsSkipped(UserWarning):
    """Warns that tools of a server are left out, with their names and the reasons."""


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
    strict: bool = False,
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
        strict: Whether to refuse a server with a tool that can't be offered, such as one whose
            schema isn't one. By default such tools are left out, and a ``ToolsSkipped`` warning
            names them; a tool of ``only`` must be one that can be offered.

    Yields:
        The tools.

    Raises:
        ToolsUnavailable: There is no connection, a tool of ``only`` is missing or can't be offered,
            or the extra ``mcp`` isn't installed.
    """
    connection = Connection(McpServer(server, env, cwd, headers), starting)
    try:
        listing = await connection.listing()
        known_as = name or connection.name
        chosen = _select(known_as, listing, only)
        strict = strict or bool(only)
        yield tools_of(
            known_as,
            chosen,
            connection.call,
            prefix,
            mode,
            timeout,
            strict=strict,
            check=connection.check_open,
        )
    finally:
        await connection.close()


def tools_of(  # noqa: PLR0913, PLR0917 - what a tool is made of
    server: str,
    listing: Iterable[Mapping[str, Any]],
    call_tool: CallTool,
    prefix: str = "",
    mode: str | Mapping[str, str] = LIVE,
    timeout: float | None = None,
    *,
    strict: bool = False,
    check: Callable[[], None] | None = None,
) -> tuple[Tool, ...]:
    """Make the tools of a listing (``name``, ``description`` and ``inputSchema`` each).

    A tool that can't be offered is left out with a ``ToolsSkipped`` warning; it is
    ``ToolsUnavailable`` if ``strict``. ``check`` raises if the server can't be called.
    """
    source = _ToolSource(server, call_tool, timeout, check)
    entries = list(listing)
    own_names = [_name_of(entry) for entry in entries]
    names = valid_names(prefix + own_name for own_name in own_names)
    tools: list[Tool] = []
    problems: list[tuple[str, str]] = []
    offered: set[str] = set()
    for name, own_name, entry in zip(names, own_names, entries, strict=True):
        own_mode = check_mode(mode if isinstance(mode, str) else mode.get(own_name, LIVE))
        try:
            _check_name(own_name, offered)
            tools.append(source.tool(name, own_name, entry, own_mode))
        except Exception as problem:  # noqa: BLE001 - a schema may break anything that reads it
            problems.append((own_name, _reason(problem)))
        else:
            offered.add(own_name)
    if problems:
        _report_problems(server, problems, strict=strict)
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

    Their recordings replay. A program that has them can't be run anew: that is
    ``ToolsUnavailable`` before anything is sent.
    """

    async def call(**_: Any) -> Any:
        raise McpError(f"{_NO_SERVER}. {RUN_INSIDE}.")

    def check() -> None:
        raise ToolsUnavailable("no server", _NO_SERVER, f"{RUN_INSIDE}.")

    tools = []
    for entry in listing:
        function = Function(entry["name"], entry["identity"], call)
        schema = import_schema(entry["parameters"])
        text, mode = entry["description"], entry["mode"]
        tools.append(_tool(entry["name"], schema, function, text, mode, check=check))
    return tuple(tools)


def _name_of(entry: Any) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return name if isinstance(name, str) else ""


def _check_name(own_name: str, offered: Collection[str]) -> None:
    if not own_name.strip():
        raise ValueError("it has no name")
    if own_name in offered:
        raise ValueError("the server lists its name twice")


def _reason(problem: Exception) -> str:
    text = visible(" ".join(f"{type(problem).__name__}: {problem}".split()))
    return text if len(text) <= _REASON_SHOWN else f"{text[: _REASON_SHOWN - 1]}…"


# One bad tool must not cost a server all its others, yet nothing is left out in silence: an agent
# without a tool that it was meant to have would only seem to be a bad one.
def _report_problems(server: str, problems: Sequence[tuple[str, str]], *, strict: bool) -> None:
    """Warn of the tools that can't be offered, or raise ``ToolsUnavailable`` if ``strict``."""
    reasons = [f"{name!r:.80} ({reason})" for name, reason in problems]
    text = "; ".join(reasons[:_NAMED])
    if len(reasons) > _NAMED:
        text += f"; and {len(reasons) - _NAMED} more"
    if strict:
        fix = "Leave them out by only=[...], without strict=True, or mend them in the server."
        raise ToolsUnavailable(server, f"it has tools that can't be offered: {text}", fix)
    msg = f"tools of {server!r} are left out, since they can't be offered: {text}"
    warnings.warn(msg, ToolsSkipped, stacklevel=5)


@attrs.frozen
class _ToolSource:
    """A server as its tools call it."""

    server: str
    call_tool: CallTool
    timeout: float | None
    check: Callable[[], None] | None

    def tool(self, name: str, own_name: str, entry: Mapping[str, Any], mode: str) -> Tool:
        """Make the tool of an entry under a name, which the server calls ``own_name``."""
        schema = entry.get("inputSchema") or {}
        if not isinstance(schema, Mapping):
            msg = f"its schema is not an object, found {schema!r:.80}"
            raise TypeError(msg)
        imported = import_schema(schema)

        async def call(**inputs: Any) -> Any:
            return await self.call_tool(own_name, imported.owned(plain(inputs)))

        identity = f"mcp:{self.server}/{own_name}:{digest('mcp', schema)}"
        text = inspect.cleandoc(str(entry.get("description") or entry.get("title") or ""))
        function = Function(f"{self.server}/{own_name}", identity, call)
        return _tool(name, imported, function, text, mode, self.timeout, self.check)


def _tool(  # noqa: PLR0913, PLR0917 - what a tool is made of
    name: str,
    schema: ImportedSchema,
    function: Function,
    description: str,
    mode: str,
    timeout: float | None = None,
    check: Callable[[], None] | None = None,
) -> Tool:
    return Tool(
        name=name,
        signature=Signature(schema.fields, _RESULT),
        function=function,
        timeout=timeout,
        mode=check_mode(mode),
        description=description,
        parameters=schema.schema,
        check=check,
    )


def _select(
    server: str, listing: list[dict[str, Any]], only: Collection[str]
) -> list[dict[str, Any]]:
    """Return the entries that ``only`` names, all if it is empty."""
    names = dict.fromkeys(map(_name_of, listing))
    for name in only:
        if name not in names:
            text = f"it has no tool {name!r}; it has {_some(names) or 'none'}"
            fix = f"Name those that it has, only=[...].{near(name, names)}"
            raise ToolsUnavailable(server, text, fix)
    chosen = frozenset(only)
    return [entry for entry in listing if not chosen or _name_of(entry) in chosen]


def _some(names: Collection[str]) -> str:
    more = len(names) - _NAMED
    shown = ", ".join(list(names)[:_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown
