"""Examples that a model makes up, kept if the metric accepts the teacher's answers to them."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from typing import Any

import attrs

from lmflow.errors import MissingInput, ProgramError
from lmflow.library.proposers import inventor
from lmflow.optimizers.parts.bootstrap import Teacher, TeacherSource, is_success
from lmflow.optimizers.parts.checks import Requirement
from lmflow.optimizers.parts.instructions import Proposers, describe_examples, describe_task
from lmflow.optimizers.parts.needs import Need, PlannedRollout, need_rollouts
from lmflow.optimizers.parts.plan import Task
from lmflow.optimizers.parts.scoring import Best, ScoredRollout, score_rollouts
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Predict, Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record, canonical, plain
from lmflow.versions.version import Version


@attrs.define(eq=False)
class Inventor:
    """Has examples made up for one plan, and remembers their inputs, so that none comes twice.

    The proposer ``writer`` reads the task and ``examples`` training examples.
    """

    task: Task
    writer: Predict
    proposers: Proposers
    examples: int
    known: set[str]

    @classmethod
    def of(
        cls, task: Task, proposer: Predict | None, proposers: Proposers, examples: int
    ) -> Inventor:
        """Make the inventor of a task, which knows the inputs of all its data."""
        writer = proposer or inventor(task.program)
        return cls(task, writer, proposers, examples, _known_inputs(task))

    def accepted(
        self, turns: range, teacher: Teacher, threshold: float | None, rng: random.Random
    ) -> Generator[Need, tuple[Trace, ...], list[ScoredRollout]]:
        """Have an example made up in each turn; return the runs of the teacher that the metric
        accepts.
        """
        inputs = {
            turn: _inventor_inputs(self.task, self.writer, self.examples, rng) for turn in turns
        }
        rollouts = [self.proposers.rollout(self.writer, inputs[turn], turn) for turn in turns]
        label = f"invent[{turns.start}]"
        invented = yield from _invent(self.task, rollouts, self.known, label)
        checks = [teacher.rollout(example, 0) for example in invented]
        label = f"check[{turns.start}]"
        return (yield from _accepted(self.task, checks, threshold, label))


def can_invent(proposer: Predict | None, teacher: TeacherSource) -> Requirement:
    """Make the check that a proposer can make up examples of a program for a teacher."""

    def requires(program: Program, traces: Any) -> None:
        del traces
        _check_inventor(program, proposer or inventor(program))
        if isinstance(teacher, Version):
            complete_params(program, teacher)

    return requires


def _check_inventor(program: Program, writer: Predict) -> None:
    """Raise ``ProgramError`` if a proposer cannot make examples of the program up: it has two
    inputs, for the task and for examples, and gives the program's inputs.
    """
    if len(writer.signature.inputs) != 2:  # noqa: PLR2004 - the task and the examples
        msg = f"{writer} must have two inputs, the task and some examples, to make examples up"
        raise ProgramError(msg)
    outputs = [field.name for field in writer.signature.outputs]
    for field in program.signature.inputs:
        if field.required and field.name not in outputs:
            raise MissingInput(str(program), field.name, tuple(outputs))


def _invent(
    task: Task, rollouts: Sequence[PlannedRollout], known_inputs: set[str], label: str
) -> Generator[Need, tuple[Trace, ...], list[Record]]:
    """Have examples made up; return those with new inputs, and add these to ``known_inputs``."""
    traces = yield need_rollouts(label, rollouts, task.version, phase="make examples up")
    invented: list[Record] = []
    for trace in traces:
        if trace.outputs is None:
            continue
        inputs = _canonical_inputs(task.program, trace.outputs)
        if inputs not in known_inputs:
            known_inputs.add(inputs)
            invented.append(trace.outputs)
    return invented


def _accepted(
    task: Task, checks: Sequence[PlannedRollout], threshold: float | None, label: str
) -> Generator[Need, tuple[Trace, ...], list[ScoredRollout]]:
    """Run the teacher on examples that were made up; return the runs that the metric accepts."""
    rows = yield from score_rollouts(task, checks, label, Best(task.version), "check")
    return [row for row in rows if is_success(row, threshold)]


def _inventor_inputs(
    task: Task, writer: Predict, most: int, rng: random.Random
) -> dict[str, object]:
    """Describe the task and some training examples, under the names of the proposer's two
    inputs.
    """
    rows = rng.sample(list(task.data.train), min(most, len(task.data.train)))
    signature = task.program.signature
    names = [field.name for field in (*signature.inputs, *signature.outputs)]
    first, second = (field.name for field in writer.signature.inputs)
    examples = describe_examples(row.only(*names) for row in rows)
    return {first: describe_task(task.program), second: examples}


def _known_inputs(task: Task) -> set[str]:
    rows = (*task.data.train, *task.data.select, *task.data.held)
    return {_canonical_inputs(task.program, row) for row in rows}


def _canonical_inputs(program: Program, example: Record) -> str:
    """Write an example's inputs in canonical form."""
    names = (field.name for field in program.signature.inputs if field.required)
    return canonical(plain(example.only(*names)))
