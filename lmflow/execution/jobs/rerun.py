"""Executes recordings again: under another version, from an address on, or what a run lacks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Never

from lmflow.adapters.registry import AdapterRules
from lmflow.errors import NotFound, ReplayDiverged
from lmflow.execution.budget import Budget
from lmflow.execution.call_order import check_order
from lmflow.execution.costs import spent_on
from lmflow.execution.jobs.long_rerun import (
    Reruns,
    pending_again,
    replay_case,
    replay_long,
    resume_planned,
)
from lmflow.execution.jobs.long_resume import is_streamed, needs_examples, resume_long
from lmflow.execution.jobs.samples import Rows
from lmflow.execution.rollout import Rollout
from lmflow.execution.runs import complete_run, run_rollouts
from lmflow.execution.session import HasSession, Session
from lmflow.programs.program import Program
from lmflow.progress.display import Progress, chosen
from lmflow.replays.divergence import labelled_traces
from lmflow.replays.reuse import resume_answers
from lmflow.replays.simulate import ReplayCase, check_recorded_at, simulate
from lmflow.traces.paged import Paged
from lmflow.traces.recorded import check_recorded
from lmflow.traces.store import Recorder
from lmflow.traces.trace import PlannedExecution, Run, RunKind, Trace
from lmflow.versions.version import Version


async def replay(  # noqa: PLR0913 - each is a choice of its own
    self: HasSession,
    recorded: Trace | Run,
    program: Program,
    *extra: Never,
    version: Version | str | None = None,
    at: str = "",
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> Run:
    """Execute a recording again under a version and send only what it does not answer.

    A recorded call answers a request that is the same (``lf.what_if`` says beforehand how many
    are). The copy costs nothing and names the trace that it is from.

    Args:
        recorded: The trace or run.
        program: The program.
        *extra: Nothing; a version is given by keyword.
        version: The version to run under; the recorded one if ``None``.
        at: An address to fork at: everything before the first call at or below it is exact,
            everything from it on is sent anew.
        budget: The most that the run may spend.
        progress: Shows the progress: ``lf.bar``, ``lf.silent`` or a function of a
            ``ProgressUpdate``; a bar on a terminal and in a notebook if ``None``.

    Returns:
        The new run.

    Raises:
        TypeError: A version is given by position.
        ReplayDiverged: The program takes another way before ``at``.
        NotRecorded: No execution came to ``at``.
        BudgetExceeded: The budget ended the run.
    """
    check_order("replay", extra)
    progress = chosen(progress)
    session = self._session.bounded(budget)
    kind: RunKind = "fork" if at else "what_if"
    now, places = session.version(version), session.model_places(program)
    rules = session.connections.adapter_rules
    if isinstance(recorded, Run) and isinstance(recorded.items, Paged):
        making = Reruns(program, now, places, at, rules)
        return await replay_long(session, kind, recorded, making, progress)
    rollouts = reruns(recorded, program, now, places, at=at, rules=rules)
    return await run_rollouts(
        session, kind, str(program), rollouts, of=recorded.id, progress=progress
    )


async def resume(  # noqa: PLR0913 - each is a choice of its own
    self: HasSession,
    run: Run,
    program: Program,
    examples: Rows | None = None,
    *,
    retry_failures: bool = False,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> Run:
    """Finish a run that was stopped.

    What was recorded stays, calls that were open are sent again, and executions that never
    began are run. The run keeps its id and ends with the root that it would have had.

    Args:
        run: The run, as read from this executor's store.
        program: The program.
        examples: The examples of a map that read more than 1,000 from an iterator; no other run
            needs them.
        retry_failures: Whether failed executions run again.
        budget: The most that the whole run may spend: recorded calls count, open ones as maybe
            billed.
        progress: Shows the progress: ``lf.bar``, ``lf.silent`` or a function of a
            ``ProgressUpdate``; a bar on a terminal and in a notebook if ``None``.

    Returns:
        The finished run.

    Raises:
        NotFound: This executor's store does not have the run.
        ReplayDiverged: Program, version, model or examples are not those of the recorded part, or
            the examples are missing.
        BudgetExceeded: The budget ended the run.
    """
    progress = chosen(progress)
    check_recorded(run)
    session = self._session
    _check_stored(session.recorder, run)
    if budget is not None:
        calls = (call for trace in run for call in trace.calls)
        prices = session.connections.prices
        session = session.within(budget, spent_on(calls, prices, measured=budget.measured))
    if examples is not None:
        places = session.model_places(program)
        going_on = functools.partial(
            _going_on, session, program, places, retry_failures=retry_failures
        )
        return await resume_long(session, run, program, examples, going_on, progress)
    if is_streamed(run):
        raise needs_examples(run)
    check_resumable(run)
    rules, places = session.connections.adapter_rules, session.model_places(program)
    if isinstance(run.items, Paged) or isinstance(run.wanted, Paged):
        going_on = functools.partial(
            _going_on, session, program, places, retry_failures=retry_failures
        )
        return await resume_planned(session, run, program, going_on, progress)
    version = functools.cache(session.recorder.version)
    todo = remaining(run, program, version, places, retry_failures=retry_failures, rules=rules)
    return await complete_run(session, run, todo, progress)


def _going_on(  # noqa: PLR0913 - what there is, and what is to be done
    session: Session,
    program: Program,
    places: Callable[[Version], Mapping[str, Any]],
    label: str,
    trace: Trace,
    *,
    retry_failures: bool,
) -> Rollout | None:
    """Return the rollout that goes on with an execution, ``None`` if it has ended for good."""
    if trace.done and not (retry_failures and trace.failure is not None):
        return None
    case = replay_case(trace, program, None, places, session.connections.adapter_rules)
    return _continued(case, label, retry_failures=retry_failures)


def _check_stored(recorder: Recorder, run: Run) -> None:
    """Raise ``NotFound`` if a run is from another store: only its own can take what it lacks."""
    runs: Callable[[int, str], Sequence[Run]] | None = getattr(recorder, "runs", None)
    if runs is None:
        return
    try:
        runs(1, run.id)  # those before it: nothing of the run is read
    except NotFound as missing:
        fix = "Give the executor the store that the run is from; a saved run is one, too."
        raise NotFound(missing.store, f"no run {run.id!r} to finish", fix) from None


def reruns(  # noqa: PLR0913 - what was recorded, and what it runs with now
    recorded: Trace | Run,
    program: Program,
    version: Version | None,
    places: Callable[[Version], Mapping[str, Any]],
    *,
    at: str = "",
    rules: AdapterRules | None = None,
) -> list[Rollout]:
    """Make one rollout for each recorded execution, answered by it wherever its requests are the
    same.

    ``places`` maps the model names in a version to resolved models; ``rules`` choose adapters. With
    ``at`` everything from that address on is sent again; executions of a run that never came to it
    are answered throughout. Raises ``NotRecorded`` if none came to it.
    """
    items = labelled_traces(recorded)
    check_recorded_at((trace for _, trace in items), at)
    making = Reruns(program, version, places, at, rules)
    return [making.of(label, trace) for label, trace in items]


def remaining(  # noqa: PLR0913 - as in reruns
    run: Run,
    program: Program,
    version: Callable[[str], Version],
    places: Callable[[Version], Mapping[str, Any]],
    *,
    retry_failures: bool = False,
    rules: AdapterRules | None = None,
) -> dict[int, Rollout]:
    """Return the rollouts that a run lacks, by position: executions that were cut off, with their
    recorded calls as answers, and executions that never began.

    ``retry_failures`` adds the failed ones, without the calls that failed. Raises
    ``ReplayDiverged`` before anything is sent if the recorded requests are not those that would be
    sent now, and for an evaluation or optimization, which finds out only as it runs what it needs.
    """
    check_resumable(run)
    traces = dict(run.items)
    rollouts: dict[int, Rollout] = {}
    for position, execution in enumerate(run.wanted or _recorded_executions(run)):
        trace = traces.get(execution.label)
        if trace is None:
            pending = program(**execution.inputs).sampled(execution.sample)
            rollouts[position] = Rollout(pending, version(execution.version), execution.label)
        elif not trace.done or (retry_failures and trace.failure is not None):
            case = replay_case(trace, program, None, places, rules)
            rollouts[position] = _continued(case, execution.label, retry_failures=retry_failures)
    return rollouts


# `simulate` walks the recorded part offline before anything is sent, so a program or version that
# changed since is refused for free instead of after some paid calls.
def _continued(case: ReplayCase, label: str, *, retry_failures: bool) -> Rollout:
    """Make the rollout that goes on with an unfinished trace."""
    trace = case.trace
    reuse = resume_answers(trace, case.cached_answers.places, retry_failures=retry_failures)
    simulate(case, reuse)
    return Rollout(pending_again(trace, case.program), trace.version, label, reuse, trace)


def _recorded_executions(run: Run) -> tuple[PlannedExecution, ...]:
    return tuple(
        PlannedExecution(label, trace.inputs, trace.version.id, trace.sample)
        for label, trace in run.items
    )


def check_resumable(run: Run) -> None:
    """Raise ``ReplayDiverged`` for an evaluation or optimization, which finds out only as it runs
    what it needs.
    """
    if run.kind in {"optimize", "evaluate"}:
        fix = (
            f"Begin it again over the same store, `ex.{run.kind}(..., of=run.id)`:"
            " it pays for nothing twice."
        )
        raise ReplayDiverged(
            f"run {run.id}", "executions that it was begun for", f"an {run.kind} run", fix
        )
