"""An open run: executions are added as they turn out to be needed, until the run is closed."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

import attrs

from lmflow.execution.batching_writer import WriteReceipt
from lmflow.execution.budget import Spent
from lmflow.execution.logs import log_run_begun, log_run_ended, log_run_stopped
from lmflow.execution.parts.references import Candidate, Recordings, matching_traces
from lmflow.execution.parts.side_by_side import run_side_by_side
from lmflow.execution.prepared_rollout import FinishedRollout, PreparedRollout
from lmflow.execution.rollout import Rollout
from lmflow.execution.session import Session
from lmflow.traces.events import Event, RunClosed, RunOpened, TraceReused, VersionSaved
from lmflow.traces.trace import Run, RunKind, RunStatus, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

_LOOKED_UP = 128
"""The rollouts that are looked up in the store at once."""

Step = Callable[[bool], object]
"""Is called after each execution with whether it succeeded."""

Executed = Callable[[int, Rollout, Trace], None]
"""Is called after each execution with its position in the run, and what it came to."""


class OpenRun:
    """A run that executions are added to: entering it records its opening, leaving it closes it.

    With ``reuse``, recorded calls of earlier executions of the same program, parameters, inputs
    and sample answer requests that are still the same. An execution that is reused throughout
    costs nothing, and the run refers to it instead of recording it anew.
    """

    def __init__(self, run: Run, session: Session, *, reuse: bool) -> None:
        self.run = run
        self.session = session
        self._reuse = reuse
        self._traces: dict[str, Trace] = {}
        self._positions = itertools.count()
        self._result = ""
        self._recordings = Recordings(session)

    async def __aenter__(self) -> Self:
        """Record the opening of the run."""
        await self.session.connections.loop.enter()
        await self.record(RunOpened(self.run))
        log_run_begun(self.run)
        self.session.connections.recent.opened(self.run)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the run, as stopped if an error ended it."""
        if error is not None:
            log_run_stopped(self.run, error)
            run = self._ended("stopped", self._result)
            self.session.connections.recent.closed(run)
            self.session.connections.record_now(
                RunClosed(run.id, "stopped", "", run.ended, self._result)
            )
        elif self.run.status == "open":
            await self.close()

    @property
    def spent(self) -> Spent:
        """The cost of the run's calls so far, with what counted as spent before it."""
        return self.session.account.ledger.spent

    async def add(
        self,
        rollouts: Sequence[Rollout],
        step: Step = bool,
        *,
        session: Session | None = None,
    ) -> list[Trace]:
        """Execute rollouts side by side and return their traces, in order.

        ``step`` is called after each with whether it succeeded. ``session`` pays for them, by
        default the run's own. Raises ``BudgetExceeded`` once all open calls have ended and are
        recorded; the executions that it stopped stay open in the store.
        """
        within = (session or self.session).within()
        todo = within.with_answers(rollouts)
        place_of = {next(self._positions): rollout for rollout in todo}
        prepare, trace_at = within.preparing(), dict[int, Trace]()
        for rollout in todo:
            prepare(rollout)

        def ended(position: int, _: Rollout, trace: Trace) -> None:
            trace_at[position] = trace
            step(trace.failure is None)

        await self._execute(within, place_of.items(), prepare, len(rollouts), ended)
        for position, trace in sorted(trace_at.items()):
            self._traces[place_of[position].label] = trace
        if len(trace_at) < len(rollouts):
            raise self._refusal(within, len(trace_at), len(rollouts))
        return [trace_at[position] for position in place_of]

    async def execute(
        self, places: Iterable[tuple[int, Rollout]], count: int, ended: Executed
    ) -> None:
        """Execute rollouts at positions of the run as they are read; none of them is held.

        Args:
            places: The positions and rollouts.
            count: Their number.
            ended: Is called after each.

        Raises:
            BudgetExceeded: The budget ended it, and nothing more was read.
        """
        within, done = self.session.within(), 0

        def told(position: int, rollout: Rollout, trace: Trace) -> None:
            nonlocal done
            done += 1
            ended(position, rollout, trace)

        await self._execute(within, places, within.preparing(), count, told, go_on=False)
        if done < count:
            raise self._refusal(within, done, count)

    async def _execute(  # noqa: PLR0913 - what to execute, how, and who is told
        self,
        within: Session,
        places: Iterable[tuple[int, Rollout]],
        prepare: Callable[[Rollout], PreparedRollout],
        count: int,
        ended: Executed,
        *,
        go_on: bool = True,
    ) -> None:
        def finished(position: int, rollout: Rollout, result: FinishedRollout) -> None:
            ended(position, rollout, result.trace)

        await run_side_by_side(
            self.run.id,
            self._unrecorded(places, prepare, ended),
            prepare,
            within.connections.width,
            finished,
            count=count,
            go_on=go_on,
        )

    def _refusal(self, within: Session, done: int, total: int) -> Exception:
        return attrs.evolve(within.account.refusal(), run=self.run.id, done=done, total=total)

    async def _unrecorded(
        self,
        places: Iterable[tuple[int, Rollout]],
        prepare: Callable[[Rollout], PreparedRollout],
        referred: Executed,
    ) -> AsyncIterator[tuple[int, Rollout]]:
        """Yield the rollouts to execute, with the recorded calls that they may use. For those that
        a recorded execution answers throughout, a reference is recorded instead.
        """
        reading = iter(places)
        while part := list(itertools.islice(reading, _LOOKED_UP)):
            receipt = WriteReceipt()
            receipt.settle(None)
            candidates = await self._candidates([rollout for _, rollout in part])
            for (position, rollout), candidate in zip(part, candidates, strict=True):
                trace = self._recordings.reference(candidate, prepare(rollout))
                if trace is None:
                    yield position, candidate.reusing
                    continue
                event = TraceReused(self.run.id, rollout.label, position, trace.id)
                receipt = self.session.connections.record(event)
                referred(position, rollout, trace)
            await receipt.durable()

    async def _candidates(self, rollouts: Sequence[Rollout]) -> list[Candidate]:
        if not self._reuse or self.session.connections.answers is not None:
            return list(map(Candidate, rollouts))
        return await self._recordings.candidates(rollouts)

    def traces_under(self, label: str) -> list[Trace]:
        """Return the run's traces so far whose labels begin with a label, in order."""
        prefix = f"{label}/"
        return [trace for name, trace in self._traces.items() if name.startswith(prefix)]

    def count_unrecorded(self, rollouts: Sequence[Rollout]) -> int:
        """Count the rollouts that no recorded execution can answer."""
        if not self._reuse:
            return len(rollouts)
        return sum(1 for trace in matching_traces(self.session.recorder, rollouts) if not trace)

    def are_ended(self, rollouts: Sequence[Rollout]) -> bool:
        """Tell whether recorded executions that ended can answer all rollouts."""
        traces = matching_traces(self.session.recorder, rollouts) if self._reuse else [None]
        return all(trace is not None and trace.done for trace in traces)

    async def record(self, *events: Event) -> None:
        """Record events that belong to the run, and wait until they are durable."""
        await self.session.connections.record_alone(*events).durable()

    async def save(self, version: Version) -> None:
        """Save a version as the run's result so far, and wait until it is durable."""
        await self.save_unawaited(version).durable()

    # A task that is being cancelled must not wait, yet its best version so far must not be lost:
    # the recorder writes the event before the store closes.
    def save_unawaited(self, version: Version) -> WriteReceipt:
        """Save a version as the run's result so far, without waiting for the store."""
        self._result = version.id
        return self.session.connections.record_now(VersionSaved(version, time.time_ns()))

    async def close(self, status: RunStatus = "done", result: str = "") -> Run:
        """Close the run and return it with all its traces. A stopped run has no root, because the
        executions that it lacks are still open in the store.
        """
        return await self.close_as(self._ended(status, result))

    async def close_as(self, run: Run) -> Run:
        """Close the run as it is given: with its state, its result and all its executions."""
        self.run, connections = run, self.session.connections
        connections.recent.closed(run)
        root = connections.root(run) if run.status == "done" else ""
        await self.record(RunClosed(run.id, run.status, root, run.ended, run.result))
        log_run_ended(run, self.spent)
        return run

    def _ended(self, status: RunStatus, result: str) -> Run:
        return attrs.evolve(
            self.run,
            items=tuple(self._traces.items()),
            status=status,
            ended=time.time_ns(),
            result=result,
        )


def open_run(  # noqa: PLR0913 - the run's own fields
    session: Session, kind: RunKind, name: str, config: Record, of: str = "", *, reuse: bool
) -> OpenRun:
    """Make an open run in a session, with an account of its own."""
    run = session.new_run(kind, name, (), of, config)
    return OpenRun(run, session.within(), reuse=reuse)


def traces_by_label(rollouts: Sequence[Rollout], traces: Sequence[Trace]) -> Mapping[str, Trace]:
    """Map the labels of rollouts to their traces."""
    return {rollout.label: trace for rollout, trace in zip(rollouts, traces, strict=True)}
