"""Executes rollouts as runs: opens the run in the store, executes, and closes it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from lmflow.errors import BudgetExceeded
from lmflow.execution.connections import Connections
from lmflow.execution.listening import OnText
from lmflow.execution.logs import log_run_begun, log_run_ended, log_run_stopped
from lmflow.execution.prepared_rollout import run_all
from lmflow.execution.progress import tracked
from lmflow.execution.rollout import Rollout
from lmflow.execution.session import Session
from lmflow.progress.display import Progress
from lmflow.progress.update import silent
from lmflow.traces.events import Event, RunClosed, RunOpened
from lmflow.traces.trace import Run, RunKind, Trace


async def run_rollouts(  # noqa: PLR0913 - the run's own fields
    session: Session,
    kind: RunKind,
    name: str,
    rollouts: Sequence[Rollout],
    *,
    of: str = "",
    progress: Progress | None = silent,
) -> Run:
    """Execute rollouts side by side as one run; see ``Executor.rollouts``."""
    rollouts = session.with_answers(rollouts)
    run = session.new_run(kind, name, rollouts, of)
    todo = dict(enumerate(rollouts))
    return await complete_run(session, run, todo, progress, opening=(run_opened(run, rollouts),))


async def run_once(
    session: Session, rollout: Rollout, *, kind: RunKind = "run", on_text: OnText | None = None
) -> tuple[Run, Exception | None]:
    """Execute one rollout as a run of its own; see ``Executor.once``."""
    within, connections = session.within(), session.connections
    await connections.loop.enter()
    (rollout,) = session.with_answers([rollout])
    (prepared,) = within.prepare_all([rollout])
    run = session.new_run(kind, str(rollout.program), [rollout])
    with _stopped_unless_closed(connections, run):
        opened = connections.record_alone(run_opened(run, [rollout]))
        opened.check()
        try:
            finished = await prepared.execute(run.id, rollout, 0, on_text)
        except BudgetExceeded:
            raise attrs.evolve(within.account.refusal(), run=run.id, total=1) from None
        done = run_closed(run, {rollout.label: finished.trace})
        connections.recent.closed(done)
        log_run_ended(done, within.account.ledger.spent)
        closed = connections.record(_closing(connections, done))
        # In the order in which they were recorded, so that the first error is the cause of the
        # others. Only the last wait costs time: all three batches are usually durable together.
        for receipt in (opened, finished.receipt, closed):
            await receipt.durable()
    return done, finished.error


async def complete_run(
    session: Session,
    run: Run,
    todo: Mapping[int, Rollout],
    progress: Progress | None,
    *,
    opening: Sequence[Event] = (),
) -> Run:
    """Execute the rollouts that a run lacks, by position, and close it. ``opening`` is recorded
    first.
    """
    within, connections = session.within(), session.connections
    await connections.loop.enter()
    prepared = within.prepare_all(list(todo.values()))
    with _stopped_unless_closed(connections, run):
        await connections.record_alone(*opening).durable()
        with tracked(within, progress, run.name, len(todo)) as tracker:
            traces = await run_all(run.id, todo, prepared, connections.concurrency, tracker.step)
        if len(traces) < len(todo):
            refusal = within.account.refusal()
            raise attrs.evolve(refusal, run=run.id, done=len(traces), total=len(todo))
        done = run_closed(
            run, {rollout.label: traces[position] for position, rollout in todo.items()}
        )
        connections.recent.closed(done)
        await connections.record(_closing(connections, done)).durable()
        log_run_ended(done, within.account.ledger.spent)
    return done


def run_opened(run: Run, rollouts: Iterable[Rollout]) -> RunOpened:
    """Make the event that opens a run, with the versions that its rollouts use."""
    versions = {rollout.version.id: rollout.version for rollout in rollouts}
    return RunOpened(run, tuple(versions.values()))


def run_closed(run: Run, new_traces: Mapping[str, Trace]) -> Run:
    """Return the closed run with its earlier and new traces, in the order that it was opened
    with.
    """
    traces = {**dict(run.items), **new_traces}
    order = [execution.label for execution in run.wanted] or list(traces)
    items = tuple((label, traces[label]) for label in order)
    failed = run.kind in {"run", "serve"} and any(trace.failure for trace in traces.values())
    return attrs.evolve(
        run, items=items, status="failed" if failed else "done", ended=time.time_ns()
    )


def _closing(connections: Connections, run: Run) -> RunClosed:
    return RunClosed(run.id, run.status, connections.root(run), run.ended)


# The closing event is not awaited: on a cancellation there is no time to wait, and the recorder
# writes it in any case before the store closes.
@contextlib.contextmanager
def _stopped_unless_closed(connections: Connections, run: Run) -> Iterator[None]:
    """Record a run as stopped if the block raises."""
    log_run_begun(run)
    connections.recent.opened(run)
    try:
        yield
    except BaseException as error:
        log_run_stopped(run, error)
        stopped = attrs.evolve(run, status="stopped", ended=time.time_ns())
        connections.recent.closed(stopped)
        connections.record_alone(RunClosed(run.id, "stopped", "", stopped.ended))
        raise
