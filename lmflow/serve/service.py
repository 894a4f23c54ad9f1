"""Programs on offer: each request is executed once, within limits, under the version that its ref
points at then, and recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

import attrs

from lmflow.errors import BudgetExceeded, ModelFailed, Unservable, listed, near
from lmflow.execution.budget import Budget
from lmflow.execution.executor import Executor
from lmflow.execution.listening import OnText
from lmflow.execution.rollout import Rollout
from lmflow.execution.stream import queue_parts
from lmflow.interpreter.partial import Partial
from lmflow.messages.replies import Failure
from lmflow.messages.requests import ToolRequest
from lmflow.programs.effects import Pending
from lmflow.programs.parameters import init
from lmflow.programs.program import Program
from lmflow.serve.limits import AdmissionGate, Limits
from lmflow.serve.results import RequestResult
from lmflow.traces.store import Pointer, PointerStore, Recorder
from lmflow.traces.trace import Run, Trace
from lmflow.versions.version import Version

KIND: Final = "serve"
_NAME = re.compile(r"[A-Za-z0-9_-]+\Z")


@attrs.define(eq=False)
class Offer:
    """A program under a name, with the executor that runs it and the pointer to its version.

    ``ref`` is the name that is resolved for each request, empty if the version is fixed.
    ``model_state`` is the last outcome of the program's model calls.
    """

    name: str
    program: Program
    ex: Executor
    pointer: Pointer
    ref: str = ""
    model_state: str = "not asked"
    _resolved: tuple[Version, Version] | None = None

    def resolve(self) -> tuple[Version, Version]:
        """The version that the ref points at now, and the root of that version's line."""
        # Requests that arrive in one turn of the loop share one lookup: each lookup yields the
        # interpreter to the store's thread, which costs more than the lookup itself.
        if self._resolved is None:
            self._resolved = self.pointer.now()
            asyncio.get_running_loop().call_soon(self._forget)
        return self._resolved

    def _forget(self) -> None:
        self._resolved = None

    def bind(self, inputs: Mapping[str, Any]) -> Pending:
        """The program with its inputs. ``MissingInput``, ``UnknownInput``, ``WrongType``."""
        return Pending(self.program, self.program.signature.bind(self.name, inputs))


@attrs.frozen(eq=False)
class Turn:
    """An admitted request, executed under the version that its ref points at now."""

    offer: Offer
    ex: Executor
    version: Version
    first: Version
    pending: Pending
    label: str = ""

    async def run(self, hear: OnText | None = None) -> RequestResult:
        """Executes the request, and waits until all of the run is recorded."""
        rollout = Rollout(self.pending, self.version, self.label, first=self.first)
        try:
            run, error = await self.ex.once(rollout, kind=KIND, hear=hear)
        except BudgetExceeded as problem:
            return RequestResult(problem.run, "", self.version.id, error=problem)
        return self._result(run, error)

    @contextlib.asynccontextmanager
    async def stream(
        self,
    ) -> AsyncIterator[tuple[asyncio.Queue[Partial | None], asyncio.Task[RequestResult]]]:
        """Executes the request while the block lasts: a queue of the outputs' parts as they arrive,
        ``None`` after the last, and the task of the result.
        """
        parts: asyncio.Queue[Partial | None] = asyncio.Queue()
        task = asyncio.create_task(self.run(queue_parts(parts)))
        task.add_done_callback(lambda _: parts.put_nowait(None))
        # A client that goes away leaves the block early. The task is awaited after its
        # cancellation, so that the run is closed in the record before the gate's slot is free.
        try:
            yield parts, task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _result(self, run: Run, error: Exception | None) -> RequestResult:
        (trace,) = run.traces
        self.offer.model_state = _model_state(trace) or self.offer.model_state
        return RequestResult(
            run.id, trace.id, self.version.id, None if error else trace.outputs, error
        )


class Service:
    """Programs by name, and the gate that admits requests."""

    def __init__(self, offers: Iterable[Offer], limits: Limits) -> None:
        self.offers = {offer.name: offer for offer in offers}
        self.limits = limits
        self.gate = AdmissionGate(limits)
        # Requests without a budget of their own share one limited executor for each program.
        self._bounded = {
            name: offer.ex.limited(timeout=limits.timeout)
            for name, offer in self.offers.items()
            if limits.budget is None
        }

    @contextlib.asynccontextmanager
    async def turn(self, offer: Offer, pending: Pending, label: str = "") -> AsyncIterator[Turn]:
        """The request once it is admitted. ``Refused``; ``VersionError`` if the ref points at
        nothing.
        """
        async with self.gate.enter():
            version, first = offer.resolve()
            yield Turn(offer, self._executor(offer), version, first, pending, label)

    def _executor(self, offer: Offer) -> Executor:
        bounded = self._bounded.get(offer.name)
        if bounded is not None:
            return bounded
        return offer.ex.limited(self.limits.budget, timeout=self.limits.timeout)

    def close(self) -> None:
        """Closes the pointers."""
        for offer in self.offers.values():
            offer.pointer.close()


@attrs.frozen
class FixedPointer:
    """Points at one version always."""

    version: Version

    def now(self) -> tuple[Version, Version]:
        """The version, which counts as its own root."""
        return self.version, self.version

    def close(self) -> None:
        """Does nothing."""


@attrs.frozen(eq=False)
class RefPointer:
    """Resolves a ref in a recorder each time."""

    recorder: Recorder
    name: str

    def now(self) -> tuple[Version, Version]:
        """The version that the ref points at now, and the root of that version's line."""
        return self.recorder.version(self.name), self.recorder.first(self.name)

    def close(self) -> None:
        """Does nothing."""


def pointer_to(program: Program, recorder: Recorder, version: Version | str | None) -> Pointer:
    """The pointer to the version that runs: a ref is resolved for each request, a version stays."""
    if not isinstance(version, str):
        return FixedPointer(version or init(program))
    if isinstance(recorder, PointerStore):
        return recorder.pointer(version)
    return RefPointer(recorder, version)


def make_offers(
    programs: Program | Mapping[str, Program],
    ex: Executor,
    version: Version | str | Mapping[str, Version | str | None] | None,
    budget: Budget | None = None,
) -> list[Offer]:
    """Checked offers of programs by name: each could run now. Raises the error that keeps one from
    running.
    """
    named = programs if isinstance(programs, Mapping) else {_default_name(programs): programs}
    versions = version if isinstance(version, Mapping) else dict.fromkeys(named, version)
    if unknown := next((name for name in versions if name not in named), ""):
        fix = f"There is {listed(named)}.{near(unknown, named)}"
        raise Unservable(f"a version for {unknown!r}", "there is no such program", fix)
    return [
        make_offer(name, program, ex, versions.get(name), budget) for name, program in named.items()
    ]


def make_offer(
    name: str,
    program: Program,
    ex: Executor,
    version: Version | str | None,
    budget: Budget | None = None,
) -> Offer:
    """A checked offer: the program could run now, within the budget of a request."""
    if not _NAME.match(name):
        raise Unservable(
            f"the name {name!r}", "it can't stand in a path", "Use letters, digits, _ and -."
        )
    ref = version if isinstance(version, str) else ""
    offer = Offer(name, program, ex, pointer_to(program, ex.store, version), ref)
    ex.limited(budget).world(program, version=offer.pointer.now()[0])
    return offer


def _default_name(program: Program) -> str:
    return str(program) if program.frame else "program"


def _model_state(trace: Trace) -> str:
    """The outcome of the last model call in a trace; empty if the trace has none."""
    for call in reversed(trace.calls):
        if isinstance(call.request, ToolRequest) or call.outcome is None or call.source:
            continue
        if not isinstance(call.outcome, Failure):
            return "answered"
        error = call.outcome.error()
        return f"failed: {error.kind}" if isinstance(error, ModelFailed) else "failed"
    return ""
