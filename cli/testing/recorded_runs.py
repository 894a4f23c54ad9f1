"""Recordings as runs that do not depend on time: the same answers make the same file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from lmflow.messages.replies import Failure
from lmflow.programs.program import Program
from lmflow.replays.exact import replay
from lmflow.replays.reuse import exact_answers
from lmflow.replays.simulate import ReplayCase, simulate
from lmflow.traces.trace import CallAttempt, Run, Trace


def recorded_run(test: str, traces: Iterable[Trace]) -> Run:
    """Return executions as a run without times: ids count, times are 0, so the same answers give
    an equal run.

    Args:
        test: The test's id.
        traces: The executions, in order.

    Returns:
        The run, which is done.
    """
    items = tuple(
        (f"ex[{position}]", _timeless(trace, f"{position:04d}-{trace.root[-12:]}"))
        for position, trace in enumerate(traces)
    )
    return Run("recording", "test", test, items, status="done")


def _timeless(trace: Trace, name: str) -> Trace:
    calls = tuple(attrs.evolve(call, started=0, ended=0, source="") for call in trace.calls)
    return attrs.evolve(trace, id=name, calls=calls, started=0, ended=0)


def replayable(trace: Trace, program: Program, recorded: Mapping[str, Trace]) -> Trace:
    """Return a trace as it is stored: reused calls as they were recorded, in program order.

    Args:
        trace: The trace of an execution of a test.
        program: Its program.
        recorded: The traces of the recording, by id.

    Returns:
        The trace, which replays exactly.

    Raises:
        ReplayDiverged: If the trace can't be replayed.
    """
    whole = attrs.evolve(trace, calls=tuple(_recorded_calls(trace.calls, recorded)))
    replay(whole, program)
    return attrs.evolve(whole, calls=tuple(_in_program_order(whole, program)))


def _recorded_calls(
    calls: Sequence[CallAttempt], recorded: Mapping[str, Trace]
) -> Iterable[CallAttempt]:
    """Yield each call; a reused one with all attempts that its recording has."""
    for call in calls:
        source = recorded.get(call.source)
        if source is None:
            yield call
        else:
            yield from (past for past in source.calls if past.address == call.address)


def _in_program_order(trace: Trace, program: Program) -> list[CallAttempt]:
    simulation = simulate(ReplayCase(trace, program, trace.version), exact_answers(trace))
    order = {call.address: position for position, call in enumerate(simulation.calls)}
    last = len(order)
    return sorted(
        trace.calls, key=lambda call: (order.get(call.address, last), call.address, call.attempt)
    )


def fully_answered(trace: Trace) -> bool:
    """Return whether a trace ended and each of its calls has a reply or a lasting failure.

    Args:
        trace: The trace of an execution of a test.

    Returns:
        ``False`` if a call never ended or its model failed, which may pass when it is sent again.
    """
    failures = (
        call.outcome for call in trace.answers.values() if isinstance(call.outcome, Failure)
    )
    return (
        trace.done
        and not trace.orphans
        and all(failure.kind != "ModelFailed" for failure in failures)
    )
