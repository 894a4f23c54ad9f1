"""Goes on with a run whose examples came from an iterator: they are given again."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from lmflow.errors import ReplayDiverged
from lmflow.execution.jobs.long_map import Plan, RowRollouts, read_rollouts
from lmflow.execution.jobs.samples import Rows, sampled
from lmflow.execution.parts.collected import Collected
from lmflow.execution.rollout import Rollout
from lmflow.execution.runs import execute_run
from lmflow.execution.session import Session
from lmflow.programs.program import Program
from lmflow.progress.display import Progress
from lmflow.traces.trace import PlannedExecution, Run, Trace

Continue = Callable[[str, Trace], Rollout | None]
"""Makes the rollout that goes on with a recorded execution, ``None`` if there is nothing to do."""

_FIX = "Give the examples that it was begun with, in their order."


def is_streamed(run: Run) -> bool:
    """Tell whether the examples of a run came from an iterator, so that it may lack some."""
    return bool(run.config.get("streamed")) and run.status != "done"


def needs_examples(run: Run) -> ReplayDiverged:
    """Return the error for a run whose examples are needed again."""
    fix = "Its examples came from an iterator. Give them again: ex.resume(run, program, examples)."
    expected = "executions that it was begun for"
    return ReplayDiverged(f"run {run.id}", expected, "examples that nobody knows", fix)


async def resume_long(  # noqa: PLR0913, PLR0917 - what there is, and what is to be done
    session: Session,
    run: Run,
    program: Program,
    rows: Rows,
    go_on: Continue,
    progress: Progress | None,
) -> Run:
    """Execute what a run lacks of the examples, and close it. Raises ``ReplayDiverged`` at the
    first example that isn't the one that the run was begun with.
    """
    within = session.within()
    collected = Collected(within.connections, run.id)
    planned = iter(run.wanted)
    first = next(iter(run.wanted), None)
    base = session.recorder.version(first.version) if first else None
    making = RowRollouts(program, base, base, functools.partial(sampled, samples=_samples(run)))
    places = _lacking(
        read_rollouts(rows, making), run, planned, Plan(within, run.id, collected), go_on
    )
    return await execute_run(
        within, run, places, collected, within.preparing(), progress=progress, go_on=False
    )


async def _lacking(
    rollouts: AsyncIterator[Rollout],
    run: Run,
    planned: Iterator[PlannedExecution],
    plan: Plan,
    go_on: Continue,
) -> AsyncIterator[tuple[int, Rollout]]:
    recorded: Iterator[tuple[str, Trace]] = iter(run.items)
    item = next(recorded, None)
    position = 0
    async for rollout in rollouts:
        execution = next(planned, None)
        if execution is None:
            plan.record([rollout], position)
        else:
            _check_same(run, execution, rollout)
            plan.note([execution])
        if item is None or item[0] != rollout.label:
            yield position, rollout
        else:
            continued = go_on(*item)
            if continued is None:
                plan.collected.add(position, *item)
            else:
                yield position, continued
            item = next(recorded, None)
        position += 1
    if next(planned, None) is not None or item is not None:
        expected = f"more than {position:,} executions"
        raise ReplayDiverged(f"run {run.id}", expected, "the end of the examples", _FIX)


def _check_same(run: Run, execution: PlannedExecution, rollout: Rollout) -> None:
    """Raise ``ReplayDiverged`` if an example isn't the one that an execution was planned for."""
    now: tuple[str, Any] = rollout.label, rollout.pending.inputs
    if (execution.label, execution.inputs) != now:
        recorded, asked = f"{execution.label} {execution.inputs}", f"{now[0]} {now[1]}"
        raise ReplayDiverged(f"run {run.id}", recorded, asked, _FIX)


def _samples(run: Run) -> int:
    """Return how often each example of a run is executed."""
    samples = 1
    for execution in run.wanted:
        if execution.sample < samples - 1:
            break
        samples = execution.sample + 1
    return samples
