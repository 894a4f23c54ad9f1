"""A run that grows: executions are added as they turn out to be needed, until it is closed."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import attrs

from lmflow.execution.budget import Spent
from lmflow.execution.connections import Account, Connections, WriteReceipt
from lmflow.execution.rollout import PreparedRollout, Rollout, run_all
from lmflow.programs.program import Program
from lmflow.replays.simulate import ReplayCase
from lmflow.traces.events import Event, RunClosed, RunOpened, VersionSaved
from lmflow.traces.store import Recorder, Wish
from lmflow.traces.trace import Run, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

Ready = Callable[[Sequence[Rollout], Account], list[PreparedRollout]]
Places = Callable[[Program, Version], Record]


@attrs.frozen(eq=False)
class RunContext:
    """What a growing run stands on: its executor's outside and account, and what makes rollouts
    ready.

    ``places`` says what model names stand for where recorded calls are to be reused; ``None``: they
    aren't. ``answered`` gives rollouts what answers them instead of the outside.
    """

    outside: Connections
    account: Account
    ready: Ready
    concurrency: int
    places: Places | None = None
    answered: Callable[[Sequence[Rollout]], Sequence[Rollout]] = list


class OpenRun:
    """An open run of an executor, ``async with``: what is added is on record at once, and its end
    closes the run.

    Recorded calls of earlier executions of the same program, parameters, inputs and sample are
    reused where their requests are still the same; an execution that is reused throughout costs
    nothing.
    """

    def __init__(self, run: Run, ground: RunContext) -> None:
        self.run = run
        self._ground = ground
        self._traces: dict[str, Trace] = {}
        self._places = itertools.count()
        self._came = ""

    async def __aenter__(self) -> Self:
        """Open the run."""
        await self.keep(RunOpened(self.run))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the run, as stopped where it didn't come to its end."""
        if kind is not None:
            self._ground.outside.apart(
                RunClosed(self.run.id, "stopped", "", time.time_ns(), self._came)
            )
        elif self.run.status == "open":
            await self.close()

    async def add(
        self, rollouts: Sequence[Rollout], step: Callable[[bool], object] = bool
    ) -> list[Trace]:
        """Execute rollouts side by side; their traces, in order. ``step`` is told of each whether
        it succeeded.

        ``BudgetExceeded`` when all open calls have ended and are recorded; what it stopped stays
        open in the store.
        """
        ground = self._ground
        todo = ground.answered(self._reusing(rollouts))
        account = Account(parent=ground.account)
        placed = {next(self._places): rollout for rollout in todo}
        found = await run_all(
            self.run.id, placed, ground.ready(todo, account), ground.concurrency, step
        )
        made = [found[at] for at in placed if at in found]
        self._traces |= {rollout.label: found[at] for at, rollout in placed.items() if at in found}
        if len(made) < len(todo):
            raise attrs.evolve(account.refusal(), run=self.run.id, done=len(made), total=len(todo))
        return made

    def bounded(self, account: Account) -> OpenRun:
        """The same run at the expense of another account."""
        other = copy.copy(self)
        other._ground = attrs.evolve(self._ground, account=Account(parent=account))  # noqa: SLF001 - its own class
        return other

    @property
    def spent(self) -> Spent:
        """What its calls have cost so far."""
        return self._ground.account.ledger.spent

    async def keep(self, *events: Event) -> None:
        """Keep other events beside it."""
        await self._ground.outside.apart(*events).durable()

    async def save(self, version: Version) -> None:
        """Keep a version: what the run came to, should it be stopped after it."""
        await self.leave(version).durable()

    def leave(self, version: Version) -> WriteReceipt:
        """Keep a version as what the run came to, without waiting for it: whoever is being stopped
        can't.
        """
        self._came = version.id
        return self._ground.outside.apart(VersionSaved(version, time.time_ns()))

    async def close(self, status: str = "done", result: str = "") -> Run:
        """The run with all its traces and what it came to, closed. One that was stopped has no
        root: what it lacks is open in the store.
        """
        items = tuple(self._traces.items())
        self.run = attrs.evolve(
            self.run, items=items, status=status, ended=time.time_ns(), result=result
        )
        root = self._ground.outside.root(self.run) if status == "done" else ""
        await self.keep(RunClosed(self.run.id, status, root, self.run.ended, result))
        return self.run

    def _reusing(self, rollouts: Sequence[Rollout]) -> list[Rollout]:
        places, store = self._ground.places, self._ground.outside.recorder
        if places is None:
            return list(rollouts)
        found = _recorded(store, rollouts)
        return [
            rollout
            if trace is None or trace.world.get("redacted")
            else attrs.evolve(
                rollout,
                reuse=ReplayCase(
                    trace,
                    rollout.program,
                    rollout.version,
                    places(rollout.program, rollout.version),
                ).open,
            )
            for rollout, trace in zip(rollouts, found, strict=True)
        ]


def _recorded(store: Recorder, rollouts: Sequence[Rollout]) -> Sequence[Trace | None]:
    wishes = [
        Wish(
            rollout.program.key,
            rollout.version.tree,
            rollout.pending.inputs,
            rollout.pending.sample or 0,
        )
        for rollout in rollouts
    ]
    return store.recorded(wishes)


def by_label(rollouts: Sequence[Rollout], traces: Sequence[Trace]) -> Mapping[str, Trace]:
    """Traces by the labels of the rollouts that they are of."""
    return {rollout.label: trace for rollout, trace in zip(rollouts, traces, strict=True)}
