"""Executes rollouts as runs: opens the run in the store, executes, and closes it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from lmflow.errors import BudgetExceeded
from lmflow.execution.connections import Connections
from lmflow.execution.listening import OnText
from lmflow.execution.logs import log_run_begun, log_run_ended, log_run_stopped
from lmflow.execution.parts.collected import Collected
from lmflow.execution.parts.side_by_side import Places, run_side_by_side
from lmflow.execution.prepared_rollout import FinishedRollout, PreparedRollout
from lmflow.execution.progress import tracked
from lmflow.execution.rollout import Rollout
from lmflow.execution.session import Session
from lmflow.progress.display import Progress
from lmflow.progress.update import silent
from lmflow.traces.events import Event, RunClosed, RunOpened
from lmflow.traces.trace import Run, RunKind, RunStatus, Trace


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
    prepared = within.preparing()(rollout)
    run = session.new_run(kind, str(rollout.program), [rollout])
    with _stopped_unless_closed(connections, run):
        opened = connections.record_alone(run_opened(run, [rollout]))
        opened.check()
        try:
            finished = await prepared.execute(run.id, rollout, 0, on_text)
        except BudgetExceeded:
            raise attrs.evolve(within.account.refusal(), run=run.id, total=1) from None
        done = _closed_once(run, rollout.label, finished.trace)
        connections.recent.closed(done)
        log_run_ended(done, within.account.ledger.spent)
        closed = connections.record(_closing(connections, done))
        # In the order in which they were recorded, so that the first error is the cause of the
        # others. Only the first wait costs time: all are usually durable together.
        for durable in (opened.durable, finished.durable, closed.durable):
            await durable()
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
    collected = Collected(session.connections, run.id)
    for position, (label, trace) in _earlier(run, todo):
        collected.add(position, label, trace)
    within = session.within()
    prepare = within.preparing()
    for rollout in todo.values():
        prepare(rollout)
    return await execute_run(
        within,
        run,
        todo.items(),
        collected,
        prepare,
        progress=progress,
        count=len(todo),
        opening=opening,
    )


async def execute_run(  # noqa: PLR0913 - what to run, and what is there already
    within: Session,
    run: Run,
    places: Places,
    collected: Collected,
    prepare: Callable[[Rollout], PreparedRollout],
    *,
    progress: Progress | None,
    count: int | None = None,
    go_on: bool = True,
    opening: Sequence[Event] = (),
) -> Run:
    """Execute the rollouts at places of a run as they are read, and close it.

    Args:
        within: The session that pays, with an account of its own.
        run: The open run.
        places: The rollouts with their positions in the run.
        collected: What the run has come to already.
        prepare: Prepares a rollout.
        progress: Shows the progress.
        count: The number of the rollouts, ``None`` if nobody knows.
        go_on: Whether rollouts are read once a budget has stopped one.
        opening: The events that open the run, which are recorded first.

    Returns:
        The closed run.

    Raises:
        BudgetExceeded: The budget ended it; what was read and not executed stays open.
    """
    connections, done = within.connections, collected.count
    await connections.loop.enter()
    with _stopped_unless_closed(connections, run):
        await connections.record_alone(*opening).durable()
        with tracked(within, progress, run.name, count) as tracker:

            def ended(position: int, rollout: Rollout, finished: FinishedRollout) -> None:
                collected.add(position, rollout.label, finished.trace)
                tracker.step(finished.error is None)

            began = await run_side_by_side(
                run.id,
                places,
                prepare,
                connections.width,
                ended,
                count=count,
                go_on=go_on,
            )
        done = collected.count - done
        if done < began:
            total = began if count is None else count
            raise attrs.evolve(within.account.refusal(), run=run.id, done=done, total=total)
        closed = collected.closed(run)
        connections.recent.closed(closed)
        await connections.record(_closing(connections, closed)).durable()
        log_run_ended(closed, within.account.ledger.spent)
    return closed


# One constructor call: `attrs.evolve` would look at every field, once a run.
def _closed_once(run: Run, label: str, trace: Trace) -> Run:
    """Return a run of one execution as it ended."""
    status: RunStatus = "failed" if trace.failure and run.kind in {"run", "serve"} else "done"
    return Run(
        run.id,
        run.kind,
        run.name,
        ((label, trace),),
        run.target,
        status,
        run.started,
        time.time_ns(),
        run.of,
        run.wanted,
        run.config,
    )


def run_opened(run: Run, rollouts: Iterable[Rollout]) -> RunOpened:
    """Make the event that opens a run, with the versions that its rollouts use."""
    versions = {rollout.version.id: rollout.version for rollout in rollouts}
    return RunOpened(run, tuple(versions.values()))


def _earlier(run: Run, todo: Mapping[int, Rollout]) -> Iterator[tuple[int, tuple[str, Trace]]]:
    """Yield the executions that a run has already, with their positions."""
    traces = dict(run.items)
    labels = [execution.label for execution in run.wanted] or list(traces)
    for position, label in enumerate(labels):
        if position not in todo:
            yield position, (label, traces[label])


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
        connections.record_now(RunClosed(run.id, "stopped", "", stopped.ended))
        raise
