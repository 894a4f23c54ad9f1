"""Programs on offer: each request is executed once, within limits, under the version of its moment,
and recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import BudgetExceeded, ModelFailed, Unservable, listed, near
from lmflow.execution.budget import Budget
from lmflow.execution.call import OnText
from lmflow.execution.executor import Executor
from lmflow.execution.rollout import Rollout
from lmflow.execution.stream import listening
from lmflow.interpreter.partial import Partial
from lmflow.messages.replies import Failure
from lmflow.messages.requests import ToolRequest
from lmflow.programs.effects import Pending
from lmflow.programs.program import Program, init
from lmflow.serve.answers import Answered
from lmflow.serve.limits import Gate, Limits
from lmflow.traces.store import Pointer, Pointing, Recorder
from lmflow.traces.trace import Run, Trace
from lmflow.versions.version import Version

KIND = "serve"
_NAME = re.compile(r"[A-Za-z0-9_-]+\Z")


@attrs.define(eq=False)
class Offer:
    """A program under a name, with what runs it and what says which version.

    ``ref`` is the name that is looked up for each request, empty where the version is fixed.
    ``seen`` is what was last heard of its models.
    """

    name: str
    program: Program
    ex: Executor
    pointer: Pointer
    ref: str = ""
    seen: str = "not asked"
    _looked: tuple[Version, Version] | None = None

    def line(self) -> tuple[Version, Version]:
        """The version that its name stands for now, and the first of its line. Requests that come
        in one turn of the loop look once: a look lets the store's thread go before, which costs
        more than the look.
        """
        if self._looked is None:
            self._looked = self.pointer.now()
            asyncio.get_running_loop().call_soon(self._look_again)
        return self._looked

    def _look_again(self) -> None:
        self._looked = None

    def bound(self, given: Mapping[str, Any]) -> Pending:
        """The program with its inputs. ``MissingInput``, ``UnknownInput``, ``WrongType``."""
        return Pending(self.program, self.program.signature.bind(self.name, given))


@attrs.frozen(eq=False)
class Turn:
    """A request whose turn it is: it is executed under the version that its ref points at now."""

    offer: Offer
    ex: Executor
    version: Version
    first: Version
    pending: Pending
    label: str = ""

    async def run(self, hear: OnText | None = None) -> Answered:
        """Execute it, and wait until all of it is on record."""
        rollout = Rollout(self.pending, self.version, self.label, first=self.first)
        try:
            run, error = await self.ex.once(rollout, kind=KIND, hear=hear)
        except BudgetExceeded as problem:
            return Answered(problem.run, "", self.version.id, error=problem)
        return self._answered(run, error)

    @contextlib.asynccontextmanager
    async def streamed(
        self,
    ) -> AsyncIterator[tuple[asyncio.Queue[Partial | None], asyncio.Task[Answered]]]:
        """Execute it while the block lasts: the pieces of its outputs as they come, ``None`` after
        the last, and what comes of it.
        """
        parts: asyncio.Queue[Partial | None] = asyncio.Queue()
        task = asyncio.create_task(self.run(listening(parts)))
        task.add_done_callback(lambda _: parts.put_nowait(None))
        try:
            yield parts, task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _answered(self, run: Run, error: Exception | None) -> Answered:
        (trace,) = run.traces
        self.offer.seen = _seen(trace) or self.offer.seen
        return Answered(run.id, trace.id, self.version.id, None if error else trace.outputs, error)


class Service:
    """Programs by name, and the gate that all requests pass."""

    def __init__(self, offers: Iterable[Offer], limits: Limits) -> None:
        self.offers = {offer.name: offer for offer in offers}
        self.limits = limits
        self.gate = Gate(limits)

    @contextlib.asynccontextmanager
    async def turn(self, offer: Offer, pending: Pending, label: str = "") -> AsyncIterator[Turn]:
        """The request's turn, when it comes. ``Refused``; ``VersionError`` where the ref points at
        nothing.
        """
        async with self.gate.entered():
            version, first = offer.line()
            bounded = offer.ex.limited(self.limits.budget, timeout=self.limits.timeout)
            yield Turn(offer, bounded, version, first, pending, label)

    def close(self) -> None:
        """Let go of the pointers."""
        for offer in self.offers.values():
            offer.pointer.close()


@attrs.frozen
class Fixed:
    """Points at one version for ever."""

    version: Version

    def now(self) -> tuple[Version, Version]:
        """The version, of whose line nothing more is known."""
        return self.version, self.version

    def close(self) -> None:
        """Nothing to do."""


@attrs.frozen(eq=False)
class Asking:
    """Asks a recorder each time what a name points at."""

    recorder: Recorder
    name: str

    def now(self) -> tuple[Version, Version]:
        """The version that the name stands for now, and the first of its line."""
        return self.recorder.version(self.name), self.recorder.first(self.name)

    def close(self) -> None:
        """Nothing to do."""


def pointed(program: Program, recorder: Recorder, version: Version | str | None) -> Pointer:
    """What says which version of a program runs: a name is looked up for each request, a version
    stays.
    """
    if isinstance(version, str):
        return (
            recorder.pointer(version)
            if isinstance(recorder, Pointing)
            else Asking(recorder, version)
        )
    return Fixed(version or init(program))


def offers(
    programs: Program | Mapping[str, Program],
    ex: Executor,
    version: Version | str | Mapping[str, Version | str | None] | None,
    budget: Budget | None = None,
) -> list[Offer]:
    """The programs on offer by their names, each checked: it could run now. Raises what keeps it
    from running.
    """
    named = programs if isinstance(programs, Mapping) else {_name(programs): programs}
    versions = version if isinstance(version, Mapping) else dict.fromkeys(named, version)
    if unknown := next((name for name in versions if name not in named), ""):
        fix = f"There is {listed(named)}.{near(unknown, named)}"
        raise Unservable(f"a version for {unknown!r}", "there is no such program", fix)
    return [offer(name, program, ex, versions.get(name), budget) for name, program in named.items()]


def offer(
    name: str,
    program: Program,
    ex: Executor,
    version: Version | str | None,
    budget: Budget | None = None,
) -> Offer:
    """A program on offer, checked: it could run now, within the budget of a request."""
    if not _NAME.match(name):
        raise Unservable(
            f"the name {name!r}", "it can't stand in a path", "Use letters, digits, _ and -."
        )
    made = Offer(
        name,
        program,
        ex,
        pointed(program, ex.store, version),
        version if isinstance(version, str) else "",
    )
    ex.limited(budget).world(program, made.pointer.now()[0])
    return made


def _name(program: Program) -> str:
    return str(program) if program.frame else "program"


def _seen(trace: Trace) -> str:
    """What the last call of a model in a trace says of it, empty where there was none."""
    for call in reversed(trace.calls):
        if isinstance(call.request, ToolRequest) or call.outcome is None or call.source:
            continue
        if not isinstance(call.outcome, Failure):
            return "answered"
        error = call.outcome.error()
        return f"failed: {error.kind}" if isinstance(error, ModelFailed) else "failed"
    return ""
