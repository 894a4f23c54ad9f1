"""Programs as tools of the Model Context Protocol (MCP), over standard input and output."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TextIO, cast

import attrs
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from lmflow.errors import LmflowError, listed, near
from lmflow.interpreter.tools import description_of
from lmflow.programs.program import Named, Program
from lmflow.serve.openapi import inputs_of, outputs_of, version_of
from lmflow.serve.problems import Problem, problem_of
from lmflow.serve.results import (
    CLIENT_GONE,
    AccessLog,
    AccessRecord,
    RequestResult,
    compact_json,
    no_log,
)
from lmflow.serve.service import Offer, Service
from lmflow.serve.stop_signals import stop_signals

_OK = 200
_LABEL = "call"


def _nothing() -> None:
    """Do nothing."""


def mcp_server(service: Service, log: AccessLog = no_log) -> Server[Any]:
    """The MCP server of programs on offer: each program is a tool with the schemas of its
    signature.

    A result holds the outputs as structured content, and as JSON text. An error is the tool's
    (``is_error``), in words that the calling model may act on. ``_meta`` holds run, trace and
    version, under ``lmflow/``.
    """
    programs = {name: offer.program for name, offer in service.offers.items()}

    async def list_tools(_: object, __: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(offer) for offer in service.offers.values()])

    async def call_tool(_: object, call: types.CallToolRequestParams) -> types.CallToolResult:
        offer = service.offers.get(call.name)
        if offer is None:
            names = f"there is {listed(service.offers)}.{near(call.name, service.offers)}"
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {call.name!r}; {names}")
        started, record = time.perf_counter(), AccessRecord(f"call {offer.name}", CLIENT_GONE, 0.0)
        try:
            result = await _execute(service, offer, call.arguments or {})
            problem = problem_of(result.error) if result.error else None
            status, error = (problem.status, problem.error) if problem else (_OK, "")
            record = AccessRecord(record.route, status, 0.0, error, **result.ids)
        finally:
            log(attrs.evolve(record, seconds=time.perf_counter() - started))
        return _tool_result(result, problem)

    return Server(
        "lmflow",
        version=version_of(programs),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def over_stdio(service: Service, log: AccessLog = no_log) -> int:
    """Serves programs on standard input and output until the input ends, or SIGTERM or Ctrl-C.
    Returns how many calls were cut off.

    Prints of programs go to standard error, and programs that read standard input get nothing.
    """
    cut = 0

    def count() -> None:
        nonlocal cut
        cut = service.gate.open + service.gate.waiting

    await until_stopped(mcp_server(service, log), count)
    return cut


async def until_stopped(server: Server[Any], stopping: Callable[[], None] = _nothing) -> None:
    """Serve on standard input and output until the input ends, or SIGTERM or Ctrl-C; ``stopping``
    is called before what is open is cut off.
    """
    with stop_signals() as (stop, _), _protocol_input() as lines:
        tasks = [
            asyncio.create_task(_converse(server, lines)),
            asyncio.create_task(stop.wait()),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        stopping()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    if not tasks[0].cancelled():
        tasks[0].result()


async def _converse(server: Server[Any], lines: _Lines) -> None:
    async with stdio_server(stdin=cast("Any", lines)) as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


class _Lines:
    """Reads the lines of a file in a daemon thread: a read of standard input can't be cancelled,
    and the end of the server must not wait for one more line.
    """

    def __init__(self, file: TextIO) -> None:
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def read() -> None:
            with contextlib.suppress(RuntimeError):  # the loop may be closed by then
                for line in itertools.chain(iter(file.readline, ""), [""]):
                    loop.call_soon_threadsafe(self._lines.put_nowait, line)

        threading.Thread(target=read, name="lmflow-stdin", daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await self._lines.get():
            yield line


@contextlib.contextmanager
def _protocol_input() -> Iterator[_Lines]:
    """Reserves standard input for the protocol while the block lasts."""
    try:
        stdin = sys.stdin.fileno()
    except (OSError, ValueError):  # a replaced sys.stdin has no descriptor
        yield _Lines(sys.stdin)
        return
    # A program that reads standard input would swallow messages of the protocol, so descriptor 0
    # becomes the null device and the protocol reads a duplicate.
    duplicate, null = os.dup(stdin), os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, stdin)
    os.close(null)
    try:
        yield _Lines(os.fdopen(duplicate, encoding="utf-8", errors="replace", closefd=False))
    finally:
        os.dup2(duplicate, stdin)


def description(program: Program) -> str:
    """The description of a program for the calling model: its author's, else its signature."""
    if isinstance(program, Named):
        return description(program.part)
    return description_of(program) or f"{program}: {program.signature}"


def _tool(offer: Offer) -> types.Tool:
    program = offer.program
    return types.Tool(
        name=offer.name,
        description=description(program),
        input_schema=inputs_of(program),
        output_schema=outputs_of(program),
    )


async def _execute(service: Service, offer: Offer, arguments: dict[str, Any]) -> RequestResult:
    """The result of a call; a call that isn't executed has no ids."""
    try:
        async with service.turn(offer, offer.bind(arguments), _LABEL) as turn:
            return await turn.run()
    except (LmflowError, RecursionError) as error:
        return RequestResult("", "", "", error=error)


def _tool_result(result: RequestResult, problem: Problem | None) -> types.CallToolResult:
    outputs = result.public_outputs
    words = f"{problem.error}: {problem.detail}" if problem else compact_json(outputs)
    meta = {f"lmflow/{name}": value for name, value in result.ids.items() if value}
    return types.CallToolResult(
        content=[types.TextContent(text=words)],
        structured_content=None if problem else outputs,
        is_error=problem is not None,
        _meta=meta,
    )
