"""Replays long runs under another version, and finishes those that were stopped, page by page."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from lmflow.adapters.registry import AdapterRules
from lmflow.execution.jobs.long_map import PLANNED, Plan
from lmflow.execution.jobs.long_resume import Continue
from lmflow.execution.parts.collected import Collected
from lmflow.execution.rollout import Rollout
from lmflow.execution.runs import execute_run, run_opened
from lmflow.execution.session import Session
from lmflow.programs.effects import Pending
from lmflow.programs.program import Program
from lmflow.progress.display import Progress
from lmflow.replays.simulate import ReplayCase, check_recorded_at, plan_answer
from lmflow.traces.trace import PlannedExecution, Run, RunKind, Trace
from lmflow.versions.version import Version


@attrs.frozen(eq=False)
class Reruns:
    """Makes the rollouts that execute recordings again, answered by them where requests are the
    same.

    Attributes:
        program: The program.
        version: The version to run under; the recorded one if ``None``.
        places: Maps the model names in a version to resolved models.
        at: The address from which on everything is sent again, if there is one.
        rules: Choose adapters.
    """

    program: Program
    version: Version | None
    places: Callable[[Version], Mapping[str, Any]]
    at: str = ""
    rules: AdapterRules | None = None

    def of(self, label: str, trace: Trace) -> Rollout:
        """Return the rollout of a recorded execution with its answers."""
        case = replay_case(trace, self.program, self.version, self.places, self.rules)
        reuse, _ = plan_answer(case, self.at)
        return Rollout(pending_again(trace, self.program), case.version, label, reuse)

    def planned(self, label: str, trace: Trace) -> Rollout:
        """Return the rollout without its answers, for the plan of a run."""
        version = self.version or trace.version
        return Rollout(pending_again(trace, self.program), version, label)


def replay_case(
    trace: Trace,
    program: Program,
    version: Version | None,
    places: Callable[[Version], Mapping[str, Any]],
    rules: AdapterRules | None,
) -> ReplayCase:
    """Return a recorded execution with the program and the version that it runs with now."""
    now = version or trace.version
    return ReplayCase(trace, program, now, places(now), rules)


def pending_again(trace: Trace, program: Program) -> Pending:
    """Give a program the inputs and the sample of a recorded execution."""
    return program(**trace.inputs).sampled(trace.sample)


async def replay_long(
    session: Session, kind: RunKind, recorded: Run, making: Reruns, progress: Progress | None
) -> Run:
    """Execute a long run again under a version; see ``rerun.replay``. All rollouts are made once
    before anything is sent, so that an error costs nothing, and once more as they begin.
    """
    items = recorded.items
    check_recorded_at((trace for _, trace in items), making.at)
    within = session.within()
    prepare = within.preparing()
    first = making.of(*items[0])
    for label, trace in items:
        prepare(making.of(label, trace))
    run = within.new_run(kind, str(making.program), (), of=recorded.id)
    collected = Collected(within.connections, run.id, hold=0)
    return await execute_run(
        within,
        run,
        _planned(items, making, Plan(within, run.id, collected)),
        collected,
        prepare,
        progress=progress,
        count=len(items),
        go_on=False,
        opening=(run_opened(run, [first]),),
    )


async def _planned(
    items: Sequence[tuple[str, Trace]], making: Reruns, plan: Plan
) -> AsyncIterator[tuple[int, Rollout]]:
    """Plan all executions, and yield them once that is durable."""
    planning, position = (making.planned(label, trace) for label, trace in items), 0
    while part := list(islice(planning, PLANNED)):
        await plan.record(part, position).durable()
        position += len(part)
    for place, (label, trace) in enumerate(items):
        yield place, making.of(label, trace)


async def resume_planned(
    session: Session, run: Run, program: Program, go_on: Continue, progress: Progress | None
) -> Run:
    """Execute what a long run lacks of its plan, and close it. Nothing of it is held but what is
    open; what was cut off is checked before anything is sent.
    """
    within = session.within()
    prepare, version = within.preparing(), functools.cache(session.recorder.version)
    lacking = functools.partial(_lacking, run, program, version, go_on)
    count = 0
    for _, rollout, _ in lacking():
        if rollout is not None:
            prepare(rollout)
            count += 1
    collected = Collected(within.connections, run.id, hold=0)
    places = _left_over(lacking(), collected)
    if not count:
        for _ in places:  # nobody else reads them to the end
            pass
    return await execute_run(
        within, run, places, collected, prepare, progress=progress, count=count, go_on=False
    )


def _left_over(
    places: Iterator[tuple[int, Rollout | None, tuple[str, Trace] | None]], collected: Collected
) -> Iterator[tuple[int, Rollout]]:
    """Yield what is to be executed, and collect what is there already."""
    for position, rollout, item in places:
        if rollout is not None:
            yield position, rollout
        elif item is not None:
            collected.add(position, *item)


def _lacking(
    run: Run, program: Program, version: Callable[[str], Version], go_on: Continue
) -> Iterator[tuple[int, Rollout | None, tuple[str, Trace] | None]]:
    """Yield for each planned execution its position, the rollout that it lacks, if it lacks one,
    and what is recorded of it.
    """
    recorded: Iterator[tuple[str, Trace]] = iter(run.items)
    item = next(recorded, None)
    for position, execution in enumerate(run.wanted or _as_recorded(run)):
        if item is None or item[0] != execution.label:
            pending = program(**execution.inputs).sampled(execution.sample)
            yield position, Rollout(pending, version(execution.version), execution.label), None
            continue
        yield position, go_on(*item), item
        item = next(recorded, None)


def _as_recorded(run: Run) -> Iterator[PlannedExecution]:
    for label, trace in run.items:
        yield PlannedExecution(label, trace.inputs, trace.version.id, trace.sample)
