"""Connections to MCP servers, by standard input and output or by HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import attrs

from lmflow.errors.calling import ToolsUnavailable
from lmflow.library.agents.mcp_listing import lenient_transport
from lmflow.models.transport.addresses import host_port, url_problem
from lmflow.models.transport.json_text import scrub

_READ, _PAGES, _LINES = 300.0, 1000, 5
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|AUTH", re.IGNORECASE)
_FIX = "Check that it is an MCP server, and that it starts."
RUN_INSIDE = "Run the program inside `async with lf.mcp_tools(...)`"
_SERVER_FORMS = 'Give a command, ["python", "server.py"], or a URL, "http://127.0.0.1:8000/mcp".'


class McpError(Exception):
    """Raised if a server's tool failed or can't be called."""


@attrs.frozen
class McpServer:
    """A server as it is given: a command or a URL, and what goes with it."""

    server: str | Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: str | Path | None = None
    headers: Mapping[str, str] | None = None

    @property
    def place(self) -> str:
        """The server's name in errors: its host or its command.

        Raises ``ToolsUnavailable`` if it is neither a URL nor a command.
        """
        if not isinstance(self.server, str):
            if not self.server:
                raise ToolsUnavailable("[]", "there is no command", _SERVER_FORMS)
            return Path(self.server[0]).name
        if problem := url_problem(self.server):
            shown = "the server" if "@" in self.server else self.server
            problem = problem.replace("base URL", "URL")
            raise ToolsUnavailable(shown, problem, _SERVER_FORMS)
        return host_port(self.server)

    @property
    def secrets(self) -> list[str]:
        """The values of headers and of what ``env`` names a secret, and their last words.

        The longest comes first, so that no part of a secret stays when a shorter one is masked.
        """
        named = [value for name, value in (self.env or {}).items() if _SECRET.search(name)]
        values = [*(self.headers or {}).values(), *named]
        words = {word for value in values for word in (value, value.split(" ")[-1])}
        return sorted(words, key=lambda word: (-len(word), word))

    def check_extra(self) -> None:
        """Raise ``ToolsUnavailable`` if the extra ``mcp`` isn't installed."""
        try:
            import httpx2  # noqa: F401, PLC0415 - an extra
            from mcp import Client  # noqa: F401, PLC0415 - an extra
        except ImportError as error:
            fix = 'Run: pip install "lmflow-dsl[mcp]"'
            reason = f"the package mcp (2 or newer) is missing ({error})"
            raise ToolsUnavailable(self.place, reason, fix) from None

    async def client(
        self, log: IO[str], stack: contextlib.AsyncExitStack, refused: list[Any]
    ) -> Any:
        """Return the client of the server, not yet connected.

        Tools that the client would refuse are added to ``refused`` once they are listed.
        """
        self.check_extra()
        import httpx2  # noqa: PLC0415 - an extra
        from mcp import Client, StdioServerParameters  # noqa: PLC0415 - an extra
        from mcp.client.stdio import stdio_client  # noqa: PLC0415
        from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415

        if isinstance(self.server, str):
            timeouts = httpx2.Timeout(30.0, read=_READ)
            client = httpx2.AsyncClient(headers=dict(self.headers or {}), timeout=timeouts)
            http = await stack.enter_async_context(client)
            transport = streamable_http_client(self.server, http_client=http)
            return Client(lenient_transport(transport, refused))
        command, *arguments = self.server
        env = dict(self.env) if self.env else None
        parameters = StdioServerParameters(command=command, args=arguments, env=env, cwd=self.cwd)
        stdio = stdio_client(parameters, errlog=log)  # type: ignore[arg-type, unused-ignore]
        return Client(lenient_transport(stdio, refused))


# The connection is opened and closed by a task of its own: the client's task groups must be left by
# the task that entered them, and what ends the block that uses the tools may come from any.
class Connection:
    """A connection to a server, kept open by a task until it is closed.

    Secrets are masked by value in whatever the server answers.
    """

    def __init__(self, server: McpServer, starting: float) -> None:
        self._server, self._starting = server, starting
        self._place, self._secrets = server.place, server.secrets
        self._client: Any = None
        self._ready: asyncio.Future[list[dict[str, Any]]] = (
            asyncio.get_running_loop().create_future()
        )
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._stay_open())

    @property
    def name(self) -> str:
        """The name that the server gives itself, else its place."""
        info = self._client.server_info
        return str(info.name) if info else self._place

    async def listing(self) -> list[dict[str, Any]]:
        """Return the tools that the server lists; raise ``ToolsUnavailable`` if it can't be had."""
        return await self._ready

    async def close(self) -> None:
        """End the connection, and the server that was started for it."""
        self._client = None
        self._closing.set()
        if not self._ready.done():
            self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # taken, since nobody waits for how a closed connection ended

    def check_open(self) -> None:
        """Raise ``ToolsUnavailable`` if the connection is closed."""
        if self._client is None:
            raise ToolsUnavailable(self._place, "the connection is closed", f"{RUN_INSIDE}.")

    async def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        """Call a tool and return its value; raise ``McpError`` if it failed or can't be called."""
        if self._client is None:
            raise McpError(f"the connection to {self._place} is closed. {RUN_INSIDE}.")
        from mcp import MCPError  # noqa: PLC0415 - the connection is open, so the package is there

        try:
            result = await self._client.call_tool(tool, arguments)
        except MCPError as error:
            raise McpError(self._masked(error.message)) from None
        return result_value(self._masked(_json_values(result)))

    def _masked(self, value: Any) -> Any:
        return functools.reduce(scrub, self._secrets, value)

    async def _stay_open(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            log = stack.enter_context(_log_file())
            refused: list[Any] = []
            try:
                async with asyncio.timeout(self._starting):
                    client = await self._server.client(log, stack, refused)
                    self._client = await stack.enter_async_context(client)
                    listing = [*await _all_tools(self._client), *refused]
            except ToolsUnavailable as error:
                self._ready.set_exception(error)
            except Exception as error:  # noqa: BLE001 - a connection may end with any error
                reason = self._masked(_reason(error, self._starting))
                fix = self._masked(_FIX + _last_lines(log))
                self._ready.set_exception(ToolsUnavailable(self._place, reason, fix))
            else:
                # A name or schema may hold half a surrogate, which no store could encode.
                self._ready.set_result(self._masked(listing))
                await self._closing.wait()


def result_value(result: Mapping[str, Any]) -> Any:
    """Return the value of a tool's result: its structured content, else its texts, else its parts.

    Raises ``McpError`` if the result says that the tool failed.
    """
    parts: Sequence[Mapping[str, Any]] = result.get("content") or ()
    texts = [str(part.get("text", "")) for part in parts if part.get("type") == "text"]
    if result.get("isError"):
        raise McpError("\n".join(texts) or "the tool failed and doesn't say why")
    structured = result.get("structuredContent")
    if structured is not None:
        wrapped = isinstance(structured, Mapping) and structured.keys() == {"result"}
        return structured["result"] if wrapped else structured
    return "\n".join(texts) if len(texts) == len(parts) else list(parts)


def _log_file() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")


async def _all_tools(client: Any) -> list[dict[str, Any]]:
    """Return all tools of a server, page after page."""
    tools: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += [_json_values(tool) for tool in page.tools]
        cursor = page.next_cursor
        if not cursor:
            break
    return tools


def _json_values(model: Any) -> dict[str, Any]:
    """Return a message of a server as JSON values under the protocol's names."""
    values: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return values


def _reason(error: BaseException, starting: float) -> str:
    """Return an error in words; of a group of errors the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"there was no connection after {starting:g} s"
    return f"there is no connection ({type(error).__name__}: {error})".replace("\n", " ")


def _last_lines(log: IO[str]) -> str:
    """Return the last lines that a server wrote, or nothing."""
    log.seek(0)
    lines = log.read().splitlines()[-_LINES:]
    return "\n  ".join([" It says:", *lines]) if lines else ""
