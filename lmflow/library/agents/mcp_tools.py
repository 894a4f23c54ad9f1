"""Tools of MCP servers (Model Context Protocol): listed once, offered as tools, asked through the
executor's door.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import re
import tempfile
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
from typing import IO, Any

from lmflow.errors import ToolsUnavailable, near
from lmflow.messages.requests import LIVE
from lmflow.models.transport.responses import clean, host_port, url_problem
from lmflow.programs.factories import checked
from lmflow.programs.program import Tool
from lmflow.signatures.from_json_schema import Foreign, foreign, named
from lmflow.signatures.signature import Field, Signature
from lmflow.values.functions import Function
from lmflow.values.record import digest, plain

Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Asks a server for a tool, by the server's name for it, with arguments under the server's names.
"""

_RESULT = (Field(name="result", type=Any),)
_READ, _PAGES, _LINES = 300.0, 1000, 5
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|AUTH", re.IGNORECASE)
_FIX = "Check that it is an MCP server, and that it starts."
_HOW = 'Give a command, ["python", "server.py"], or a URL, "http://127.0.0.1:8000/mcp".'


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
    """The tools of an MCP server while the block lasts: ``async with lf.mcp_tools(["python",
    "server.py"]) as tools``.

    ``server`` is a command with its arguments, started with ``env`` and ``cwd`` and spoken to over
    its standard input and output, or the URL of a streamable HTTP endpoint, asked with ``headers``.
    ``name`` is what it counts as in the tools' identities, by default what it calls itself;
    ``only`` are the tools that are wanted, by the server's names; ``prefix`` stands before their
    names here. ``mode`` is one for all, or by tool (live otherwise). ``timeout`` is in seconds a
    call, ``starting`` for the connection. A tool's identity is server, tool and schema.
    ``ToolsUnavailable`` where there is no connection. Headers, and what ``env`` names a secret, are
    masked by value.
    """
    transport = functools.partial(_transport, server, env=env, cwd=cwd, headers=headers)
    link = _Link(_place(server), transport, starting, _secrets(env or {}, headers or {}))
    try:
        listing = await link.open()
        known = name or link.name
        yield tools_of(known, _chosen(known, listing, only), link.ask, prefix, mode, timeout)
    finally:
        await link.close()


def tools_of(  # noqa: PLR0913, PLR0917 - what a tool is made of
    server: str,
    listing: Iterable[Mapping[str, Any]],
    ask: Ask,
    prefix: str = "",
    mode: str | Mapping[str, str] = LIVE,
    timeout: float | None = None,
) -> tuple[Tool, ...]:
    """The tools of a listing (``name``, ``description``, ``inputSchema``) that ask by ``ask``."""
    listed = list(listing)
    names = named(prefix + str(entry["name"]) for entry in listed)
    return tuple(
        _tool(
            name,
            server,
            entry,
            ask,
            mode if isinstance(mode, str) else mode.get(str(entry["name"]), LIVE),
            timeout,
        )
        for name, entry in zip(names, listed, strict=True)
    )


def listing_of(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Tools of servers as JSON values, which ``offline`` reads back."""
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
    """The same tools without their server, with the same keys: recordings of them replay; asked
    anew they fail.
    """

    async def call(**_: Any) -> Any:
        msg = "there is no server behind this tool: run the program inside `async with lf.mcp_tools(...)`"
        raise McpError(msg)

    return tuple(
        _made(
            it["name"],
            foreign(it["parameters"]),
            Function(it["name"], it["identity"], call),
            it["description"],
            it["mode"],
        )
        for it in listing
    )


def value_of(result: Mapping[str, Any]) -> Any:
    """What a tool's result holds: its structured content, else its texts, else all parts as they
    are.

    ``McpError`` where the tool says that it failed.
    """
    parts: Sequence[Mapping[str, Any]] = result.get("content") or ()
    texts = [str(part.get("text", "")) for part in parts if part.get("type") == "text"]
    if result.get("isError"):
        raise McpError("\n".join(texts) or "the tool failed and doesn't say why")
    structured = result.get("structuredContent")
    if structured is not None:
        alone = isinstance(structured, Mapping) and structured.keys() == {"result"}
        return structured["result"] if alone else structured
    return "\n".join(texts) if len(texts) == len(parts) else list(parts)


class McpError(Exception):
    """What a server answers where a tool failed, or can't be asked."""


class _Link:
    """A connection, held by a task of its own: what ends the block that uses it stays as it is, and
    nothing of the connection reaches into it. ``secrets`` are masked by value in whatever the
    server answers.
    """

    def __init__(
        self,
        place: str,
        transport: Callable[..., Awaitable[Any]],
        starting: float,
        secrets: Iterable[str],
    ) -> None:
        self._place, self._transport, self._starting = place, transport, starting
        self._secrets = tuple(secrets)
        self._client: Any = None
        self._ready: asyncio.Future[list[dict[str, Any]]] = (
            asyncio.get_running_loop().create_future()
        )
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._hold())

    @property
    def name(self) -> str:
        """What the server calls itself, else where it is."""
        found = self._client.server_info
        return str(found.name) if found else self._place

    async def open(self) -> list[dict[str, Any]]:
        """What the server lists. ``ToolsUnavailable`` where there is no connection."""
        return await self._ready

    async def close(self) -> None:
        """End the connection, and the server that was started for it."""
        self._client = None
        self._closing.set()
        if not self._ready.done():
            self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # a connection that ended badly has ended

    async def ask(self, tool: str, arguments: dict[str, Any]) -> Any:
        """What a tool gives. ``McpError`` where it failed or can't be asked."""
        if self._client is None:
            msg = f"the connection to {self._place} is closed: run the program inside `async with lf.mcp_tools(...)`"
            raise McpError(msg)
        from mcp import MCPError  # noqa: PLC0415 - the connection is there, so the package is

        try:
            result = await self._client.call_tool(tool, arguments)
        except MCPError as error:
            raise McpError(self._masked(error.message)) from None
        return value_of(self._masked(_plain(result)))

    def _masked(self, said: Any) -> Any:
        return functools.reduce(clean, self._secrets, said)

    async def _hold(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            log = stack.enter_context(
                tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
            )  # noqa: SIM115
            try:
                async with asyncio.timeout(self._starting):
                    transport = await self._transport(log=log, stack=stack)
                    self._client = await stack.enter_async_context(transport)
                    listing = await _listing(self._client)
            except ToolsUnavailable as error:
                self._ready.set_exception(error)
            except Exception as error:  # noqa: BLE001 - whatever a connection of others ends with
                reason, fix = (
                    self._masked(_reason(error, self._starting)),
                    self._masked(_FIX + _tail(log)),
                )
                self._ready.set_exception(ToolsUnavailable(self._place, reason, fix))
            else:
                self._ready.set_result(listing)
                await self._closing.wait()


def _tool(  # noqa: PLR0913, PLR0917 - what a tool is made of
    name: str, server: str, entry: Mapping[str, Any], ask: Ask, mode: str, timeout: float | None
) -> Tool:
    own, schema = str(entry["name"]), entry.get("inputSchema") or {}
    found = foreign(schema)

    async def call(**inputs: Any) -> Any:
        return await ask(own, found.owned(plain(inputs)))

    identity = f"mcp:{server}/{own}:{digest('mcp', schema)}"
    text = inspect.cleandoc(str(entry.get("description") or entry.get("title") or ""))
    return _made(name, found, Function(f"{server}/{own}", identity, call), text, mode, timeout)


def _made(  # noqa: PLR0913, PLR0917 - what a tool is made of
    name: str,
    found: Foreign,
    function: Function,
    description: str,
    mode: str,
    timeout: float | None = None,
) -> Tool:
    return Tool(
        name=name,
        signature=Signature(found.fields, _RESULT),
        function=function,
        timeout=timeout,
        mode=checked(mode),
        description=description,
        parameters=found.schema,
    )


async def _transport(  # noqa: PLR0913 - what a connection is made of
    server: str | Sequence[str],
    *,
    env: Mapping[str, str] | None,
    cwd: str | Path | None,
    headers: Mapping[str, str] | None,
    log: IO[str],
    stack: contextlib.AsyncExitStack,
) -> Any:
    """The client of a server, not yet connected."""
    try:
        import httpx2  # noqa: PLC0415 - an extra
        from mcp import Client, StdioServerParameters  # noqa: PLC0415 - an extra
        from mcp.client.stdio import stdio_client  # noqa: PLC0415
        from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415
    except ImportError as error:
        fix = 'Run: pip install "lmflow-dsl[mcp]"'
        raise ToolsUnavailable(
            _place(server), f"the package mcp (2 or newer) is missing ({error})", fix
        ) from None
    if isinstance(server, str):
        timeouts = httpx2.Timeout(30.0, read=_READ)
        http = await stack.enter_async_context(
            httpx2.AsyncClient(headers=dict(headers or {}), timeout=timeouts)
        )
        return Client(streamable_http_client(server, http_client=http))
    command, *arguments = server
    parameters = StdioServerParameters(
        command=command, args=arguments, env=dict(env) if env else None, cwd=cwd
    )
    return Client(stdio_client(parameters, errlog=log))  # type: ignore[arg-type, unused-ignore]


async def _listing(client: Any) -> list[dict[str, Any]]:
    """All tools of a server, page after page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += [_plain(tool) for tool in page.tools]
        cursor = page.next_cursor
        if not cursor:
            break
    return found


def _plain(model: Any) -> dict[str, Any]:
    """What a server said, as JSON values under the protocol's names."""
    said: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return said


def _chosen(
    server: str, listing: list[dict[str, Any]], only: Collection[str]
) -> list[dict[str, Any]]:
    names = [str(entry["name"]) for entry in listing]
    for name in only:
        if name not in names:
            text = f"it has no tool {name!r}; it has {', '.join(names) or 'none'}"
            raise ToolsUnavailable(
                server, text, f"Name those that it has, only=[...].{near(name, names)}"
            )
    return [entry for entry in listing if not only or entry["name"] in only]


def _secrets(env: Mapping[str, str], headers: Mapping[str, str]) -> list[str]:
    """What a server is told in confidence, the longest first: headers, and what the environment
    names a secret.
    """
    held = [*headers.values(), *(value for name, value in env.items() if _SECRET.search(name))]
    return sorted(
        {word for value in held for word in (value, value.split(" ")[-1])},
        key=lambda it: (-len(it), it),
    )


def _place(server: str | Sequence[str]) -> str:
    """How a server is named in errors: its host, or its command. ``ToolsUnavailable`` where it is
    neither.
    """
    if not isinstance(server, str):
        if not server:
            raise ToolsUnavailable("[]", "there is no command", _HOW)
        return Path(server[0]).name
    if problem := url_problem(server):
        raise ToolsUnavailable(
            server if "@" not in server else "the server", problem.replace("base URL", "URL"), _HOW
        )
    return host_port(server)


def _reason(error: BaseException, starting: float) -> str:
    """The words of an error, of a group the first one's."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"there was no connection after {starting:g} s"
    return f"there is no connection ({type(error).__name__}: {error})".replace("\n", " ")


def _tail(log: IO[str]) -> str:
    """The last lines that a server wrote, or nothing."""
    log.seek(0)
    lines = log.read().splitlines()[-_LINES:]
    return "\n  ".join([" It says:", *lines]) if lines else ""
