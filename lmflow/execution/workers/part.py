"""Executes one part of a run that workers share, for as long as the worker has its lease."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.data.dataset import records
from lmflow.data.shards import Shard, shard_settings
from lmflow.errors import BudgetExceeded, NotFound, StoreError
from lmflow.exchange.leases import Lease, Leases
from lmflow.execution.budget import Budget
from lmflow.execution.costs import spent_on
from lmflow.execution.jobs.long_rerun import replay_case
from lmflow.execution.jobs.map_examples import map_rollouts
from lmflow.execution.rollout import Rollout
from lmflow.execution.runs import complete_run, run_opened
from lmflow.execution.session import HasSession, Session
from lmflow.programs.program import Program
from lmflow.progress.update import silent
from lmflow.replays.reuse import resume_answers
from lmflow.traces.trace import Run, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

BEATS = 3
"""How often a lease is held for longer within its time."""

Read = Callable[[str], Run]
"""Reads a run of the store."""


@attrs.frozen(kw_only=True)
class Work:
    """What a worker executes the parts of: a program under a version.

    Attributes:
        program: The program.
        version: The version.
        samples: How often each example runs.
        seconds: The time of a lease.
    """

    program: Program
    version: Version
    samples: int = 1
    seconds: float = 30.0


async def execute_part(  # noqa: PLR0913, PLR0917 - a part, and what it is executed with
    ex: HasSession, work: Work, lease: Lease, rows: Shard, leases: Leases, read: Read
) -> bool:
    """Execute a part in a run of its own, and settle it.

    What earlier workers recorded of the part answers, and isn't sent again. The run is the
    worker's own, so what it records once its lease is lost is part of nothing.

    Args:
        ex: The executor.
        work: The program and the version.
        lease: The lease of the part.
        rows: The examples of the part.
        leases: The leases of the store.
        read: Reads a run of the store.

    Returns:
        Whether this worker settled the part: not if its lease was lost, or its slice of the budget
        spent.
    """
    budget = None if lease.calls is None else Budget(calls=lease.calls)
    session = ex._session.bounded(budget)  # noqa: SLF001 - as the executor's own methods
    earlier = await asyncio.to_thread(_recorded, read, lease.runs)
    rollouts = _answered(session, work, rows, earlier)
    config = Record(part={"job": lease.job, "epoch": lease.epoch}) | shard_settings(rows)
    run = session.new_run("map", str(work.program), rollouts, config=config)
    if not await asyncio.to_thread(leases.begin, lease, run.id):
        return False
    opening = (run_opened(run, rollouts),)
    going = asyncio.ensure_future(
        complete_run(session, run, dict(enumerate(rollouts)), silent, opening=opening)
    )
    keeping = asyncio.ensure_future(_keep(leases, lease, work.seconds, going))
    own = (*lease.runs, run.id)
    try:
        whole = await _ended(going)
    except asyncio.CancelledError:
        if not going.done() or not keeping.done():  # this worker is stopped
            await _stopped(going)
            calls = await asyncio.to_thread(_sent, read, own)
            await asyncio.to_thread(leases.give_back, lease, calls)
            raise
        return False
    finally:
        keeping.cancel()
    calls = await asyncio.to_thread(_sent, read, own)
    ending = leases.settle if whole else leases.give_back
    return await asyncio.to_thread(ending, lease, calls) and whole


async def _ended(going: asyncio.Future[Run]) -> bool:
    """Wait for a run; say whether it is whole, not if its slice of the budget is spent."""
    try:
        await going
    except BudgetExceeded:
        return False
    return True


async def _stopped(going: asyncio.Future[Run]) -> None:
    going.cancel()
    with contextlib.suppress(asyncio.CancelledError, BudgetExceeded):
        await going


def _sent(read: Read, runs: Sequence[str]) -> int:
    """Count the calls that the runs of a part sent, open ones too."""
    traces = [trace for run in _recorded(read, runs) for trace in run]
    return spent_on(call for trace in traces for call in trace.calls).calls


def _recorded(read: Read, runs: Sequence[str]) -> list[Run]:
    """Return runs, without those of workers that were lost before they recorded anything."""
    found = []
    for run in runs:
        with contextlib.suppress(NotFound):
            found.append(read(run))
    return found


# A worker that can't reach the store stops before its time is over, by its own clock: the next one
# begins no sooner.
async def _keep(leases: Leases, lease: Lease, seconds: float, going: asyncio.Future[Run]) -> None:
    """Hold a lease for longer and longer; cancel what goes on once it is lost."""
    until = time.monotonic() + seconds
    while True:
        await asyncio.sleep(seconds / BEATS)
        began = time.monotonic()
        held = False
        with contextlib.suppress(StoreError, TimeoutError):
            beating = asyncio.to_thread(leases.beat, lease, seconds)
            held = began < until and await asyncio.wait_for(beating, until - began)
            if not held:
                break
            until = began + seconds
        if not held and time.monotonic() >= until:
            break
    going.cancel()


def _answered(
    session: Session, work: Work, rows: Shard, earlier: Sequence[Run]
) -> Sequence[Rollout]:
    """Return the rollouts of a part, answered by what was recorded of them."""
    rollouts = map_rollouts(session, work.program, records(rows), work.version, work.samples)
    recorded: dict[str, Trace] = {}
    for run in earlier:
        recorded |= {label: trace for label, trace in run.items if _is_more(trace, recorded, label)}
    places = session.model_places(work.program)
    answered = functools.partial(_with_answers, session, work.program, recorded, places)
    return [answered(rollout) for rollout in rollouts]


def _is_more(trace: Trace, recorded: Mapping[str, Trace], label: str) -> bool:
    """Tell whether a trace has more answers than what is recorded of its execution."""
    known = recorded.get(label)
    return known is None or (trace.done, len(trace.answers)) > (known.done, len(known.answers))


def _with_answers(
    session: Session,
    program: Program,
    recorded: Mapping[str, Trace],
    places: Callable[[Version], Mapping[str, Any]],
    rollout: Rollout,
) -> Rollout:
    trace = recorded.get(rollout.label)
    if trace is None:
        return rollout
    case = replay_case(trace, program, None, places, session.connections.adapter_rules)
    return attrs.evolve(rollout, reuse=resume_answers(trace, case.cached_answers.places))
