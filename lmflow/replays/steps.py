"""Credit: what each step of a recorded execution was given and gave, found by driving it again
against its calls.
"""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.errors import CallError, ReplayDiverged
from lmflow.interpreter.driver import Frame, drive_pure
from lmflow.programs.effects import Pending
from lmflow.programs.program import Predict, Program
from lmflow.replays.exact import recall
from lmflow.replays.reuse import recorded_env
from lmflow.traces.trace import Trace
from lmflow.values.record import EMPTY, Record


@attrs.frozen
class Taken:
    """One step of an execution: the predictor's name as parameter paths begin with it, where it
    ran, what it read and gave; nothing and ``failure``, in words, where it failed.
    """

    step: str
    address: str
    inputs: Record
    outputs: Record
    failure: str = ""


def completed_steps(trace: Trace, program: Program) -> tuple[Taken, ...]:
    """The predictors' steps of an execution, in the order in which they ended; of a failed one,
    those before it failed.

    Nothing goes outside. ``ReplayDiverged`` where the program isn't the one that was recorded.
    """
    return tuple(step for step in all_steps(trace, program) if not step.failure)


def all_steps(trace: Trace, program: Program) -> tuple[Taken, ...]:
    """The same with the steps that failed."""
    steps: list[Taken] = []

    def watch(pending: Pending, frame: Frame, came_to: Record | CallError) -> None:
        step: Any = pending.program
        if isinstance(step, Predict):
            failure = (
                f"{type(came_to).__name__}: {came_to}" if isinstance(came_to, CallError) else ""
            )
            outputs = EMPTY if isinstance(came_to, CallError) else came_to
            steps.append(
                Taken(frame.env.prefix + step.name, frame.at, pending.inputs, outputs, failure)
            )

    env = recorded_env(trace, program)
    try:
        drive_pure(program(**trace.inputs), env, recall(trace), trace.choices, watch=watch)
    except ReplayDiverged:
        raise
    except Exception:
        if trace.failure is None:  # it ended well then, so it must now
            raise
    return tuple(steps)
