"""Runs a program on more examples than are held: they are read, executed and let go."""

from __future__ import annotations

import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from itertools import islice
from typing import Any

import attrs

from lmflow.data.dataset import record_of
from lmflow.execution.batching_writer import WriteReceipt
from lmflow.execution.jobs.samples import Rows
from lmflow.execution.parts.collected import Collected
from lmflow.execution.parts.labels import Labels
from lmflow.execution.rollout import Rollout, planned_executions, version_with_overlay
from lmflow.execution.runs import execute_run, run_opened
from lmflow.execution.session import Session
from lmflow.programs.effects import Pending
from lmflow.programs.parameters import init
from lmflow.programs.program import Program, pending_of
from lmflow.progress.display import Progress
from lmflow.traces.events import Event, RunPlanned, VersionSaved
from lmflow.traces.paged import HELD
from lmflow.traces.trace import PlannedExecution, Run
from lmflow.values.record import Record
from lmflow.versions.version import Version

STREAMED = Record(streamed=True)
"""The settings of a run whose examples came from an iterator: it can't be known what it lacks."""

PLANNED = 500
"""The executions that are planned at once."""

Sampled = Callable[[Pending, str], list[tuple[Pending, str]]]
"""Repeats a pending call with its label, once for each sample."""


@attrs.frozen(eq=False)
class RowRollouts:
    """Makes the rollouts of examples, one example after the other."""

    program: Program
    base: Version | None
    root: Version | None
    sampled: Sampled
    labels: Labels = attrs.field(factory=Labels)

    def of(self, row: Mapping[str, Any]) -> list[Rollout]:
        """Return the rollouts of the next example, one for each sample.

        Raises:
            TypeError: It is no mapping.
            MissingInput: It lacks an input.
            ValueError: An earlier example has its id.
        """
        record = record_of(row)
        pending, label = pending_of(self.program, record), self.labels.label(record)
        return [
            Rollout(sample, version_with_overlay(sample, self.base), name, first=self.root)
            for sample, name in self.sampled(pending, label)
        ]

    def afresh(self) -> RowRollouts:
        """Return what makes the same rollouts from the first example on."""
        return attrs.evolve(self, labels=Labels())


async def map_long(  # noqa: PLR0913, PLR0917 - what to run, and what the run keeps
    session: Session,
    rows: Rows,
    rollouts: RowRollouts,
    samples: int,
    progress: Progress | None,
    settings: Record,
) -> Run:
    """Execute a program on examples as they are read.

    Those of a sequence are checked and planned before anything is sent, so that the run can be
    resumed without them. Those of an iterator are planned as they come.
    """
    within = session.within()
    prepare = within.preparing()
    base = rollouts.base or init(rollouts.program)
    any_rollout = Rollout(Pending(rollouts.program, Record()), base, first=rollouts.root)
    prepare(any_rollout)
    if isinstance(rows, Sequence):
        for rollout in _each(rows, rollouts):
            prepare(rollout)
    config = settings if isinstance(rows, Sequence) else settings | STREAMED
    run = within.new_run("map", str(rollouts.program), (), config=config)
    # Of an asynchronous iterator nobody knows yet whether there are many.
    hold = HELD if isinstance(rows, AsyncIterable) else 0
    collected = Collected(within.connections, run.id, hold=hold)
    plan = Plan(within, run.id, collected)
    if isinstance(rows, Sequence):
        places = _all_planned(rows, rollouts.afresh(), plan)
    else:
        places = _planned_as_read(rows, rollouts.afresh(), plan)
    return await execute_run(
        within,
        run,
        places,
        collected,
        prepare,
        progress=progress,
        count=len(rows) * samples if isinstance(rows, Sequence) else None,
        go_on=False,
        opening=(run_opened(run, [any_rollout]),),
    )


class Plan:
    """Records what a run is for, a few executions at a time."""

    def __init__(self, session: Session, run: str, collected: Collected) -> None:
        self._session, self._run, self.collected = session, run, collected
        self._versions: set[str] = set()

    def note(self, executions: Sequence[PlannedExecution]) -> None:
        """Note executions that are on record already."""
        self.collected.plan(executions)

    def record(self, rollouts: Sequence[Rollout], position: int) -> WriteReceipt:
        """Record more executions, from a position on."""
        events: list[Event] = []
        for rollout in rollouts:
            if rollout.version.id not in self._versions:
                self._versions.add(rollout.version.id)
                events.append(VersionSaved(rollout.version, time.time_ns()))
        planned = planned_executions(rollouts)
        self.collected.plan(planned)
        events.append(RunPlanned(self._run, position, planned))
        return self._session.connections.record(*events)


async def _all_planned(
    rows: Iterable[Mapping[str, Any]], rollouts: RowRollouts, plan: Plan
) -> AsyncIterator[tuple[int, Rollout]]:
    """Plan all executions, and yield them once that is durable."""
    planning, position = _each(rows, rollouts.afresh()), 0
    while part := list(islice(planning, PLANNED)):
        await plan.record(part, position).durable()
        position += len(part)
    for place in enumerate(_each(rows, rollouts)):
        yield place


async def _planned_as_read(
    rows: Rows, rollouts: RowRollouts, plan: Plan
) -> AsyncIterator[tuple[int, Rollout]]:
    """Yield executions as their examples are read; each is planned before it begins."""
    position = 0
    if isinstance(rows, AsyncIterable):
        async for rollout in read_rollouts(rows, rollouts):
            plan.record([rollout], position)
            yield position, rollout
            position += 1
        return
    reading = _each(rows, rollouts)
    while part := list(islice(reading, PLANNED)):
        await plan.record(part, position).durable()
        for rollout in part:
            yield position, rollout
            position += 1


async def read_rollouts(rows: Rows, rollouts: RowRollouts) -> AsyncIterator[Rollout]:
    """Yield the rollouts of examples as these are read."""
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            for rollout in rollouts.of(row):
                yield rollout
        return
    for rollout in _each(rows, rollouts):
        yield rollout


def _each(rows: Iterable[Mapping[str, Any]], rollouts: RowRollouts) -> Iterator[Rollout]:
    for row in rows:
        yield from rollouts.of(row)
