"""The rollouts that drive a recording again: under another version, from an address on, or what a
run lacks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from lmflow.adapters.registry import Choices
from lmflow.errors import ReplayDiverged
from lmflow.execution.rollout import Rollout
from lmflow.programs.program import Program
from lmflow.replays.divergence import labelled_traces
from lmflow.replays.reuse import resume_answers
from lmflow.replays.simulate import ReplayCase, plan_answers, simulate
from lmflow.traces.events import RunOpened
from lmflow.traces.trace import PlannedExecution, Run, Trace
from lmflow.versions.version import Version


def reruns(  # noqa: PLR0913 - what was recorded, and what it is driven with now
    recorded: Trace | Run,
    program: Program,
    version: Version | None,
    places: Callable[[Version], Mapping[str, Any]],
    *,
    at: str = "",
    choices: Choices | None = None,
) -> list[Rollout]:
    """One rollout for each recorded execution, answered by it as far as it can be; from the address
    ``at`` on anew.

    Of a run, executions that never came to ``at`` are answered throughout. ``NotRecorded`` where
    none did.
    """
    cases = [
        (label, _case(trace, program, version, places, choices))
        for label, trace in labelled_traces(recorded)
    ]
    answered = plan_answers([case for _, case in cases], at)
    return [
        Rollout(
            case.program(**case.trace.inputs).sampled(case.trace.sample), case.version, label, reuse
        )
        for (label, case), (reuse, _) in zip(cases, answered, strict=True)
    ]


def planned(rollouts: Iterable[Rollout]) -> tuple[PlannedExecution, ...]:
    """What a run of these rollouts is begun for."""
    return tuple(
        PlannedExecution(r.label, r.pending.inputs, r.version.id, r.pending.sample or 0)
        for r in rollouts
    )


def remaining(  # noqa: PLR0913 - as above
    run: Run,
    program: Program,
    version: Callable[[str], Version],
    places: Callable[[Version], Mapping[str, Any]],
    *,
    retry_failures: bool = False,
    choices: Choices | None = None,
) -> dict[int, Rollout]:
    """What a run lacks, by position: executions that were cut off, with what they have, and those
    never begun.

    ``retry_failures`` adds the failed ones, without their failures. ``ReplayDiverged`` where what
    was recorded isn't what would be asked now, and for a run that grows as it finds out what it
    needs: checked before anything is sent.
    """
    if run.kind in {"optimize", "evaluate"}:
        fix = f"Begin it again over the same store, `ex.{run.kind}(..., of=run.id)`: it pays for nothing twice."
        raise ReplayDiverged(
            f"run {run.id}", "executions that it was begun for", f"an {run.kind} run", fix
        )
    traces = dict(run.items)
    found: dict[int, Rollout] = {}
    for position, wanted in enumerate(run.wanted or _begun(run)):
        trace = traces.get(wanted.label)
        if trace is None:
            pending = program(**wanted.inputs).sampled(wanted.sample)
            found[position] = Rollout(pending, version(wanted.version), wanted.label)
        elif not trace.done or (retry_failures and trace.failure is not None):
            case = _case(trace, program, None, places, choices)
            found[position] = _cut_off(case, wanted.label, retry_failures=retry_failures)
    return found


def run_opened(run: Run, rollouts: Iterable[Rollout]) -> RunOpened:
    """The beginning of a run, with the versions that it is for."""
    return RunOpened(
        run, tuple({rollout.version.id: rollout.version for rollout in rollouts}.values())
    )


def run_closed(run: Run, made: Mapping[str, Trace]) -> Run:
    """The run with what was made of it now and before, in the order in which it was begun."""
    traces = {**dict(run.items), **made}
    order = [wanted.label for wanted in run.wanted] or list(traces)
    items = tuple((label, traces[label]) for label in order)
    failed = run.kind in {"run", "serve"} and any(trace.failure for trace in traces.values())
    return attrs.evolve(
        run, items=items, status="failed" if failed else "done", ended=time.time_ns()
    )


def _cut_off(case: ReplayCase, label: str, *, retry_failures: bool) -> Rollout:
    trace = case.trace
    reuse = resume_answers(trace, case.open.places, retry_failures=retry_failures)
    simulate(case, reuse)
    return Rollout(
        case.program(**trace.inputs).sampled(trace.sample), trace.version, label, reuse, trace
    )


def _begun(run: Run) -> tuple[PlannedExecution, ...]:
    return tuple(
        PlannedExecution(label, trace.inputs, trace.version.id, trace.sample)
        for label, trace in run.items
    )


def _case(
    trace: Trace, program: Program, version: Version | None, places: Callable[[Version], Mapping[str, Any]],
    choices: Choices | None,
) -> ReplayCase:  # fmt: skip
    found = version or trace.version
    return ReplayCase(trace, program, found, places(found), choices)
