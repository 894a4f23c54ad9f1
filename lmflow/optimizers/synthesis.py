"""Demonstrations from examples that a model makes up, kept if the metric accepts the teacher's
answers to them.
"""

from __future__ import annotations

from lmflow.data.dataset import Data
from lmflow.optimizers.parts.bootstrap import TeacherSource, make_teacher, success_of
from lmflow.optimizers.parts.demos import (
    Success,
    fill_with_labelled,
    labelled_demos,
    sample_demos,
    with_demos,
)
from lmflow.optimizers.parts.instructions import Proposers
from lmflow.optimizers.parts.inventing import Inventor, can_invent
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.plan import Plan, PlanOptimizer, Task, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.programs.program import Predict, Program


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
        source = Inventor.of(task, proposer, proposers, examples)
        successes, done = list[Success](), 0
        while len(successes) < count and done < attempts:
            turns = range(done, min(attempts, done + count - len(successes)))
            accepted = yield from source.accepted(turns, teaching, threshold, rng)
            successes += [success_of(task.program, row, rng) for row in accepted]
            done = turns.stop
        chosen = fill_with_labelled(successes, pool, max_labeled, rng)
        note = f"demonstrations from {len(successes)} examples that were made up"
        return with_demos(task.version, chosen, note)

    def bound(program: Program, data: Data) -> Bound:
        del program, data
        return Bound(attempts, attempts)

    requires = can_invent(proposer, teacher)
    return plan_optimizer("synthesize", options, plan, bound, requires=requires)
