"""Few-shot optimizers: demonstrations from labels, from a teacher's good runs, and from runs
recorded earlier.
"""

from __future__ import annotations

import random
from collections.abc import Generator

import toolz

from lmflow.data.dataset import Data, example_id
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.evaluation.judges import Judge
from lmflow.optimizers.parts.bootstrap import (
    Bootstrap,
    TeacherSource,
    bootstrap_demos,
    bootstrap_note,
    in_order_of,
    is_success,
    make_teacher,
    success_of,
)
from lmflow.optimizers.parts.checks import runs_on
from lmflow.optimizers.parts.demos import (
    Success,
    fill_with_labelled,
    labelled_demos,
    sample_demos,
    with_demos,
)
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.needs import Need, PlannedRollout, traces_of_examples
from lmflow.optimizers.parts.plan import (
    PRIOR,
    TRAIN,
    Plan,
    PlanOptimizer,
    Task,
    plan_optimizer,
)
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import Best, score_traces
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace


@explains_options(OPTIMIZER_OPTIONS)
def labeled_few_shot(*, k: int = 16, seed: int = 0) -> PlanOptimizer:
    """Choose labelled training examples at random as each step's demonstrations; needs no call.

    A step is shown only examples that have at least one of its inputs and one of its outputs.
    DSPy's ``LabeledFewShot`` (Khattab et al. 2023, arXiv 2310.03714, section 4).

    Args:
        k: The number of demonstrations a step.
        seed: The seed of the choice.

    Returns:
        An optimizer that requires the data part ``train``.
    """

    def plan(task: Task) -> Plan:
        yield from ()
        rng = randomness(task.version, "labeled_few_shot", seed)
        chosen = sample_demos(rng, labelled_demos(task.program, task.data.train), k)
        most = max(map(len, chosen.values()), default=0)
        return with_demos(task.version, chosen, f"{most} labelled demonstrations a step")

    return plan_optimizer("labeled_few_shot", {"k": k, "seed": seed}, plan, parts=TRAIN)


@explains_options(OPTIMIZER_OPTIONS)
def bootstrap_few_shot(  # noqa: PLR0913 - each is an option
    *, max_bootstrapped: int = 4, max_labeled: int = 16, rounds: int = 1,
    threshold: float | None = None, teacher: TeacherSource = None, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Make demonstrations from a teacher's good runs, each step's from its own calls, and fill up
    with labelled examples.

    The teacher runs on the training examples in order until ``max_bootstrapped`` succeed. By
    default it is the start version with labelled demonstrations, without those of the example that
    it runs on. Needs between ``max_bootstrapped`` and ``rounds * train`` rollouts.
    Khattab et al. 2023, arXiv 2310.03714, section 4 (BootstrapFewShot).

    Args:
        max_bootstrapped: The number of successes wanted.
        max_labeled: The most demonstrations a step, labelled ones included.
        rounds: The most tries an example, from the second on at temperature 1.
        threshold: The score that counts as success; any score above 0 if ``None``.
        teacher: A version, a program or a model (``provider/model``) instead of the default.
        seed: The seed of all random choices.

    Returns:
        An optimizer that requires the data part ``train``.
    """
    options = {
        "max_bootstrapped": max_bootstrapped, "max_labeled": max_labeled, "rounds": rounds,
        "threshold": threshold, "teacher": teacher, "seed": seed,
    }  # fmt: skip

    def plan(task: Task) -> Plan:
        pool = labelled_demos(task.program, task.data.train)
        rng = randomness(task.version, "bootstrap_few_shot", seed)
        shown = sample_demos(rng, pool, max_labeled)
        successes = yield from bootstrap_demos(
            task,
            make_teacher(task.program, task.version, teacher, shown),
            task.data.train,
            Bootstrap(max_bootstrapped, rounds, threshold),
            "bootstrap",
            Best(task.version),
            rng,
        )
        chosen = fill_with_labelled(successes, pool, max_labeled, rng)
        return with_demos(task.version, chosen, bootstrap_note(successes))

    def bound(program: Program, data: Data) -> Bound:
        del program
        return Bound(rounds * len(data.train))

    requires = runs_on("train", teacher=teacher)
    return plan_optimizer("bootstrap_few_shot", options, plan, bound, TRAIN, requires=requires)


def harvest(*, max_demos: int = 4, threshold: float | None = None, seed: int = 0) -> PlanOptimizer:
    """Make demonstrations from recorded traces that went well; needs no call but a judge's, at most
    one for each training example.

    A prior trace, ``ex.optimize(..., prior=store.run(ID))``, counts if its inputs are those of a
    training example, whose labels the metric reads. If none went well, the start version stays.

    Args:
        max_demos: The most examples that are shown.
        threshold: The score that counts as success; any score above 0 if ``None``.
        seed: The seed of all random choices.

    Returns:
        An optimizer that requires the data part ``train`` and prior traces.
    """
    options = {"max_demos": max_demos, "threshold": threshold, "seed": seed}

    def plan(task: Task) -> Plan:
        rng = randomness(task.version, "harvest", seed)
        recorded = yield from _recorded_successes(task, threshold, rng)
        successes = recorded[:max_demos]
        if not successes:
            return task.version
        chosen = {
            step: tuple(demo for success in successes for demo in success.demos.get(step, ()))
            for step in task.program.predictors
        }
        note = f"demonstrations from {len(successes)} examples that went well on record"
        return with_demos(task.version, chosen, note)

    def bound(program: Program, data: Data) -> Bound:
        del program
        return Bound(0, judgements=len(data.train))

    return plan_optimizer("harvest", options, plan, bound, TRAIN | PRIOR)


def _recorded_successes(
    task: Task, threshold: float | None, rng: random.Random
) -> Generator[Need, tuple[Trace, ...], tuple[Success, ...]]:
    """Find the first successful prior trace of each training example. A judge, whose calls cost,
    reads only the first trace of each.
    """
    pairs = [
        (PlannedRollout(task.program, trace.version, example, trace.sample), trace)
        for example, trace in traces_of_examples(task.program, task.data.train, task.prior)
    ]
    if isinstance(task.metric, Judge):
        pairs = list(toolz.unique(pairs, key=lambda pair: example_id(pair[0].example)))
    rows = yield from score_traces(task, pairs, "harvest", Best(task.version), "harvest")
    successes: dict[str, Success] = {}
    for row in rows:
        name = example_id(row.rollout.example)
        if name not in successes and is_success(row, threshold):
            successes[name] = success_of(task.program, row, rng)
    return in_order_of(task.data.train, successes)
