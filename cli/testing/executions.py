"""Executions of a test beside the recorded ones: which answers which, and how they differ."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import attrs

from lmflow.errors import LmflowError
from lmflow.execution.rollout import Rollout
from lmflow.replays.differences import Divergence
from lmflow.replays.divergence import diverge
from lmflow.traces.trace import Trace
from lmflow.values.record import pretty

_LONGEST = 2000  # characters of inputs that are compared


@attrs.frozen(eq=False)
class Execution:
    """An execution of the test, and the recorded one that answers it, ``None`` if none does; then
    ``nearest`` is the recorded one that is compared with it, if there is one.
    """

    rollout: Rollout
    recorded: Trace | None
    nearest: Trace | None = None


def matches(trace: Trace, rollout: Rollout) -> bool:
    """Return whether a trace is of a rollout's program, sample and inputs (unknown if redacted).

    Args:
        trace: A recorded execution.
        rollout: An execution that the test starts.

    Returns:
        ``True`` if the trace may answer the rollout.
    """
    return bool(
        trace.name == str(rollout.program)
        and trace.sample == (rollout.pending.sample or 0)
        and (trace.world.get("redacted") or trace.inputs == rollout.pending.inputs)
    )


def nearness(trace: Trace, rollout: Rollout) -> tuple[bool, bool]:
    """Return how near a trace that matches a rollout is to it: of the same program and version.

    Args:
        trace: A recorded execution.
        rollout: An execution that the test starts.

    Returns:
        A value that is greater for nearer traces.
    """
    return trace.program == rollout.program.key, trace.version.tree == rollout.version.tree


def nearest_to(rollout: Rollout, traces: Iterable[Trace]) -> Trace | None:
    """Return the trace whose inputs are most like a rollout's: of its program if one is, else of
    another one that takes the same inputs.

    Args:
        rollout: An execution that the test starts.
        traces: Recorded executions.

    Returns:
        The trace; ``None`` if none takes the same inputs.
    """
    inputs = pretty(rollout.pending.inputs)[:_LONGEST]
    names = rollout.pending.inputs.keys()
    comparable = [trace for trace in traces if trace.inputs.keys() == names]
    # A chain is named by its steps, so one with another step has another name.
    same_program = [trace for trace in comparable if trace.name == str(rollout.program)]

    def likeness(trace: Trace) -> float:
        text = pretty(trace.inputs)[:_LONGEST]
        return difflib.SequenceMatcher(None, inputs, text, autojunk=False).ratio()

    return max(same_program or comparable, key=likeness, default=None)


def diverge_to(rollout: Rollout, trace: Trace) -> Divergence:
    """Return how a rollout differs from a recorded execution, as if that had its inputs.

    Args:
        rollout: An execution that the test starts.
        trace: A recorded execution of its program.

    Returns:
        The differences, call by call.
    """
    expected = attrs.evolve(trace, inputs=rollout.pending.inputs)
    return diverge(expected, rollout.program, rollout.version)


def divergence_of(execution: Execution) -> Divergence | None:
    """Return how an execution differs from the recorded one.

    Args:
        execution: The execution.

    Returns:
        The differences; ``None`` if there is nothing to compare with, or it can't be compared.
    """
    recorded = execution.recorded or execution.nearest
    if recorded is None:
        return None
    try:
        return diverge_to(execution.rollout, recorded)
    except LmflowError:
        return None
