"""The steps of a recorded execution with their inputs and outputs, found by running it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.adapters.adapter import Adapter
from lmflow.errors.calling import CallError
from lmflow.errors.replaying import ReplayDiverged
from lmflow.interpreter.act import Act
from lmflow.interpreter.driver import Frame, drive_pure
from lmflow.interpreter.predict import step_adapter
from lmflow.programs.effects import Pending
from lmflow.programs.environment import Env
from lmflow.programs.program import Predict, Program
from lmflow.replays.exact import recall
from lmflow.replays.reuse import recorded_env
from lmflow.traces.foreign import foreign_facts
from lmflow.traces.trace import Trace
from lmflow.values.record import EMPTY, Record


@attrs.frozen
class RecordedStep:
    """A step of an execution: the predictor's full name, its frame's address, inputs and outputs.

    The name is the one that the step's parameter paths begin with. ``adapter`` is the one that its
    outputs were asked for by, ``None`` for an agent's step. A failed step has no
    outputs, and its error in words as ``failure``.
    """

    step: str
    address: str
    inputs: Record
    outputs: Record
    failure: str = ""
    adapter: Adapter | None = None


def completed_steps(trace: Trace, program: Program) -> tuple[RecordedStep, ...]:
    """Return the predictors' steps of an execution that gave outputs, in the order they ended.

    Nothing is sent. Raises ``ReplayDiverged`` if the program isn't the one that was recorded.
    """
    return tuple(step for step in all_steps(trace, program) if not step.failure)


def all_steps(trace: Trace, program: Program) -> tuple[RecordedStep, ...]:
    """Return the completed and the failed steps of an execution; see ``completed_steps``.

    Those of an imported trace are the ones that were bound when it was imported.
    """
    facts = foreign_facts(trace)
    if facts is not None:
        return _bound_steps(facts, program)
    steps: list[RecordedStep] = []

    def watch(pending: Pending, frame: Frame, ending: Record | CallError) -> None:
        step: Any = pending.program
        if not isinstance(step, Predict):
            return
        name = frame.env.prefix + step.name
        if isinstance(ending, CallError):
            failure = f"{type(ending).__name__}: {ending}"
            steps.append(RecordedStep(name, frame.at, pending.inputs, EMPTY, failure))
            return
        adapter = None if isinstance(step, Act) else step_adapter(step, frame.env)
        record = RecordedStep(name, frame.at, pending.inputs, ending, adapter=adapter)
        steps.append(record)

    env = recorded_env(trace, program)
    try:
        drive_pure(program(**trace.inputs), env, recall(trace), trace.choices, on_end=watch)
    except ReplayDiverged:
        raise
    except Exception:
        if trace.failure is None:  # the recorded execution succeeded, so this one must too
            raise
    return tuple(steps)


def _bound_steps(facts: Mapping[str, Any], program: Program) -> tuple[RecordedStep, ...]:
    """Return the steps of an imported trace that the program has; their addresses name the spans
    that they come from.
    """
    found: list[RecordedStep] = []
    for bound in facts.get("steps", ()):
        step = program.predictors.get(bound["step"])
        if step is None:
            continue
        inputs, outputs = Record(bound["inputs"]), Record(bound["outputs"])
        defaults = program.defaults
        own = {f"{step.name}.{slot}": defaults[f"{bound['step']}.{slot}"] for slot in step.slots}
        adapter = None if isinstance(step, Act) else step_adapter(step, Env(Record(own)))
        found.append(
            RecordedStep(bound["step"], bound["address"], inputs, outputs, adapter=adapter)
        )
    return tuple(found)
