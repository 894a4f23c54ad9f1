"""Programs as tools of the Model Context Protocol, which are called over standard input and output."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, TextIO, cast

import attrs
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from lmflow.errors import LmflowError, listed, near
from lmflow.interpreter.tools import description_of
from lmflow.programs.program import Named, Program
from lmflow.serve.answers import GONE, Answered, Tell, Told, text, untold
from lmflow.serve.openapi import inputs_of, outputs_of, version_of
from lmflow.serve.problems import Problem, problem_of
from lmflow.serve.service import Offer, Service
from lmflow.serve.signals import signals
from lmflow.values.record import plain

DONE = 200
LABEL = "call"


def server(service: Service, tell: Tell = untold) -> Server[Any]:
    """The MCP server of programs on offer: each is a tool, whose schemas are those of its
    signature.

    The outputs are the structured content, and JSON as text. An error is the tool's (``is_error``)
    with words that its model may act on. Run, trace and version are in ``_meta``, under
    ``lmflow/``.
    """
    programs = {name: offer.program for name, offer in service.offers.items()}

    async def listing(_: object, __: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(offer) for offer in service.offers.values()])

    async def call(_: object, asked: types.CallToolRequestParams) -> types.CallToolResult:
        offer = service.offers.get(asked.name)
        if offer is None:
            known = f"there is {listed(service.offers)}.{near(asked.name, service.offers)}"
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {asked.name!r}; {known}")
        began, told = time.perf_counter(), Told(f"call {offer.name}", GONE, 0.0)
        try:
            answered = await _answered(service, offer, asked.arguments or {})
            problem = problem_of(answered.error) if answered.error else None
            status, error = (problem.status, problem.error) if problem else (DONE, "")
            told = Told(told.route, status, 0.0, error, **answered.ids)
        finally:
            tell(attrs.evolve(told, seconds=time.perf_counter() - began))
        return _result(answered, problem)

    return Server("lmflow", version=version_of(programs), on_list_tools=listing, on_call_tool=call)


async def over_stdio(service: Service, tell: Tell = untold) -> int:
    """Serve programs on standard input and output until the input ends, or SIGTERM or Ctrl-C; how
    many calls that cut off. What programs print goes to standard error, and what they read finds
    nothing.
    """
    with signals() as (stop, _), _own_input() as lines:
        tasks = [
            asyncio.create_task(_spoken(server(service, tell), lines)),
            asyncio.create_task(stop.wait()),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        cut = service.gate.open + service.gate.waiting
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    if not tasks[0].cancelled():
        tasks[0].result()
    return cut


async def _spoken(made: Server[Any], lines: _Lines) -> None:
    async with stdio_server(stdin=cast("Any", lines)) as (incoming, outgoing):
        await made.run(incoming, outgoing, made.create_initialization_options())


class _Lines:
    """The lines of a file, read by a thread that nobody has to wait for: a read of standard input
    can't be stopped.
    """

    def __init__(self, file: TextIO) -> None:
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def read() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                for line in itertools.chain(iter(file.readline, ""), [""]):
                    loop.call_soon_threadsafe(self._lines.put_nowait, line)

        threading.Thread(target=read, name="lmflow-stdin", daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await self._lines.get():
            yield line


@contextlib.contextmanager
def _own_input() -> Iterator[_Lines]:
    """Standard input for the protocol alone, while the block lasts."""
    try:
        number = sys.stdin.fileno()
    except (OSError, ValueError):  # it isn't one of the system's
        yield _Lines(sys.stdin)
        return
    own, nothing = os.dup(number), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, number)
    os.close(nothing)
    try:
        yield _Lines(os.fdopen(own, encoding="utf-8", errors="replace", closefd=False))
    finally:
        os.dup2(own, number)


def description(program: Program) -> str:
    """What a tool's model is told of a program: the words of its author, else what it makes of
    what.
    """
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


async def _answered(service: Service, offer: Offer, arguments: dict[str, Any]) -> Answered:
    """What came of a call; one that wasn't executed has no ids."""
    try:
        async with service.turn(offer, offer.bound(arguments), LABEL) as turn:
            return await turn.run()
    except (LmflowError, RecursionError) as error:
        return Answered("", "", "", error=error)


def _result(answered: Answered, problem: Problem | None) -> types.CallToolResult:
    outputs = plain(answered.outputs)
    words = f"{problem.error}: {problem.detail}" if problem else text(outputs)
    meta = {f"lmflow/{name}": value for name, value in answered.ids.items() if value}
    return types.CallToolResult(
        content=[types.TextContent(text=words)],
        structured_content=None if problem else outputs,
        is_error=problem is not None,
        _meta=meta,
    )
