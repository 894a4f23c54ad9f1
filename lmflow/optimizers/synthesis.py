"""Demonstrations from examples that a model makes up, kept if the metric accepts the teacher's
answers to them.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence

from lmflow.data.dataset import Data
from lmflow.errors import MissingInput, ProgramError
from lmflow.library.proposers import inventor
from lmflow.optimizers.parts.bootstrap import (
    TeacherSource,
    is_success,
    make_teacher,
    success_of,
)
from lmflow.optimizers.parts.checks import Requirement
from lmflow.optimizers.parts.demos import (
    Success,
    fill_with_labelled,
    labelled_demos,
    sample_demos,
    with_demos,
)
from lmflow.optimizers.parts.instructions import Proposers, describe_examples, describe_task
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.needs import Need, PlannedRollout, need_rollouts
from lmflow.optimizers.parts.plan import Plan, PlanOptimizer, Task, Traces, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import Best, ScoredRollout, score_rollouts
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Predict, Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record, canonical, plain
from lmflow.versions.version import Version


def synthesize(  # noqa: PLR0913 - each is an option
    *, count: int = 4, attempts: int = 16, examples: int = 3, max_labeled: int = 4,
    threshold: float | None = None, teacher: TeacherSource = None, proposer: Predict | None = None,
    model: str = "", seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Make demonstrations of every step from examples that a model makes up, each step's from its
    own calls; then labelled ones. ``only("answer.*", synthesize())`` makes those of one step.

    An example is kept only if the metric accepts the teacher's answer to its inputs, with the
    example's own answer as the label. An example whose inputs equal those of another, or of any in
    the data, is dropped, so no selection example gets into a prompt. The proposer reads the task
    and some training examples; as many examples are made up side by side as are still wanted.
    Needs at most ``attempts`` proposals and as many rollouts.
    Rejection sampling as in Khattab et al. 2023, arXiv 2310.03714, section 4, over inputs that a
    model writes as in Wang et al. 2022, arXiv 2212.10560, section 2 (Self-Instruct).

    Args:
        count: The number of accepted examples wanted.
        attempts: The most examples that are made up.
        examples: The number of training examples, drawn at random, that the proposer reads.
        max_labeled: The most demonstrations a step, labelled ones included.
        threshold: The score that counts as success; any score above 0 if ``None``.
        teacher: A version, a program or a model (``provider/model``) instead of the start version.
        proposer: The program that makes examples up, instead of the shipped one.
        model: The proposer's model, instead of the program's own.
        seed: The seed of all random choices.

    Returns:
        An optimizer that requires no part of the data.
    """
    options = {
        "count": count, "attempts": attempts, "examples": examples, "max_labeled": max_labeled,
        "threshold": threshold, "teacher": teacher, "proposer": proposer, "model": model,
        "seed": seed,
    }  # fmt: skip
    proposers = Proposers(model)

    def plan(task: Task) -> Plan:
        rng = randomness(task.version, "synthesize", seed)
        pool = labelled_demos(task.program, task.data.train)
        shown = sample_demos(rng, pool, max_labeled)
        teaching = make_teacher(task.program, task.version, teacher, shown)
        writer = proposer or inventor(task.program)
        known_inputs = _known_inputs(task)
        successes, done = list[Success](), 0
        while len(successes) < count and done < attempts:
            turns = range(done, min(attempts, done + count - len(successes)))
            inputs = {turn: _inventor_inputs(task, writer, examples, rng) for turn in turns}
            rollouts = [proposers.rollout(writer, inputs[turn], turn) for turn in turns]
            invented = yield from _invent(task, rollouts, known_inputs, f"invent[{done}]")
            checks = [teaching.rollout(example, 0) for example in invented]
            accepted = yield from _accepted(task, checks, threshold, f"check[{done}]")
            successes += [success_of(task.program, row, rng) for row in accepted]
            done = turns.stop
        chosen = fill_with_labelled(successes, pool, max_labeled, rng)
        note = f"demonstrations from {len(successes)} examples that were made up"
        return with_demos(task.version, chosen, note)

    def bound(program: Program, data: Data) -> Bound:
        del program, data
        return Bound(attempts, attempts)

    requires = _can_invent(proposer, teacher)
    return plan_optimizer("synthesize", options, plan, bound, requires=requires)


def _can_invent(proposer: Predict | None, teacher: TeacherSource) -> Requirement:
    def requires(program: Program, traces: Traces) -> None:
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
