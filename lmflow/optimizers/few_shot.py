"""Few-shot optimizers: demonstrations from labels, from a teacher's good runs, from runs that are
recorded already.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from lmflow.data.dataset import Data, example_id
from lmflow.optimizers.parts.demos import (
    Bootstrap,
    DemoSet,
    Success,
    Teacher,
    adapted,
    bootstrapped,
    filled,
    labelled,
    sampled,
    succeeded,
    success,
    with_demos,
)
from lmflow.optimizers.parts.plan import (
    PRIOR,
    TRAIN,
    Bound,
    Plan,
    PlannedRollout,
    PlanOptimizer,
    Task,
    traces_of_examples,
    randomness,
    plan_optimizer,
)
from lmflow.optimizers.parts.scoring import Best, by_function
from lmflow.programs.program import Program, completed, init
from lmflow.versions.version import Version

Who = Version | Program | str | None


def labeled_few_shot(*, k: int = 16, seed: int = 0) -> PlanOptimizer:
    """``k`` labelled examples as demonstrations of each step that they show something to, at
    random. Costs nothing.

    DSPy's ``LabeledFewShot`` (Khattab et al. 2023, arXiv 2310.03714, section 4).
    """

    def plan(task: Task) -> Plan:
        yield from ()
        rng = randomness(task.version, "labeled_few_shot", seed)
        chosen = sampled(rng, labelled(task.program, task.data.train), k)
        most = max(map(len, chosen.values()), default=0)
        return with_demos(task.version, chosen, f"{most} labelled demonstrations a step")

    return plan_optimizer("labeled_few_shot", {"k": k, "seed": seed}, plan, parts=TRAIN)


def bootstrap_few_shot(  # noqa: PLR0913 - each is an option
    *, max_bootstrapped: int = 4, max_labeled: int = 16, rounds: int = 1, threshold: float | None = None,
    teacher: Who = None, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Demonstrations from what a teacher did in the first ``max_bootstrapped`` examples that it
    does well, each step's from its own calls; then labelled ones, up to ``max_labeled`` in all.

    The teacher is the start version with labelled demonstrations, but for those of the example that
    it is asked; or another version, program or model (``provider/model``). It does well where the
    metric gives at least ``threshold``, more than 0 without one; it is asked at most ``rounds``
    times an example, from the second on at temperature 1. Asks for ``max_bootstrapped`` to
    ``rounds`` times train rollouts.

    Khattab et al. 2023, arXiv 2310.03714, section 4, BootstrapFewShot.
    """
    options = {
        "max_bootstrapped": max_bootstrapped, "max_labeled": max_labeled, "rounds": rounds, "threshold": threshold,
        "teacher": teacher, "seed": seed,
    }  # fmt: skip

    def plan(task: Task) -> Plan:
        pool = labelled(task.program, task.data.train)
        rng = randomness(task.version, "bootstrap_few_shot", seed)
        teach = taught(task.program, task.version, teacher, sampled(rng, pool, max_labeled))
        how = Bootstrap(max_bootstrapped, rounds, threshold)
        boot = yield from bootstrapped(
            task, teach, task.data.train, how, "bootstrap", Best(task.version), rng
        )
        return with_demos(task.version, filled(boot, pool, max_labeled, rng), noted(boot))

    def bound(program: Program, data: Data) -> Bound:
        del program
        return Bound(rounds * len(data.train))

    return plan_optimizer("bootstrap_few_shot", options, plan, bound, TRAIN)


def harvest(*, max_demos: int = 4, threshold: float | None = None, seed: int = 0) -> PlanOptimizer:
    """Demonstrations from traces that are recorded already and went well, at no cost.

    A prior trace, ``ex.optimize(..., prior=store.run(ID))``, counts where its inputs are those of a
    training example, whose labels the metric needs; where none went well, the start version stays.
    ``BadData`` where there are none.
    """

    def plan(task: Task) -> Plan:
        yield from ()
        found = _harvested(task, threshold, randomness(task.version, "harvest", seed))[:max_demos]
        chosen = {
            step: tuple(d for one in found for d in one.demos.get(step, ()))
            for step in task.program.predictors
        }
        note = f"demonstrations from {len(found)} examples that went well on record"
        return with_demos(task.version, chosen, note) if found else task.version

    return plan_optimizer(
        "harvest",
        {"max_demos": max_demos, "threshold": threshold, "seed": seed},
        plan,
        parts=TRAIN | PRIOR,
    )


def taught(program: Program, start: Version, who: Who, demos: DemoSet) -> Teacher:
    """The teacher that ``who`` names. One with demonstrations of its own is given no others."""
    version = start
    if isinstance(who, Program):
        return Teacher(who, init(who), {})
    if isinstance(who, Version):
        version = who
    if isinstance(who, str):
        version = adapted(
            program,
            start,
            {f"{step}.model": who for step in program.predictors},
            f"taught by {who}",
        )
    full = completed(program, version)
    own = {step for step in program.predictors if full[f"{step}.demos"]}
    return Teacher(program, version, {} if own else demos)


def noted(boot: Sequence[Success]) -> str:
    """What a version says of its bootstrapped demonstrations."""
    return f"demonstrations from {len(boot)} examples that went well"


def _harvested(task: Task, threshold: float | None, rng: random.Random) -> list[Success]:
    found: dict[str, Success] = {}
    for example, trace in traces_of_examples(task.program, task.data.train, task.prior):
        row = by_function(
            task.metric, PlannedRollout(task.program, trace.version, example, trace.sample), trace
        )
        if example_id(example) not in found and succeeded(row, threshold):
            found[example_id(example)] = success(task.program, row, rng)
    return [found[name] for example in task.data.train if (name := example_id(example)) in found]
