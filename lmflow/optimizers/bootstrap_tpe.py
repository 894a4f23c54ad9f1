"""Demonstrations picked one by one from a bootstrapped pool, by a Bayesian model of the scores."""

from __future__ import annotations

from collections.abc import Mapping

from lmflow.data.dataset import Data
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.optimizers.parts.bootstrap import (
    Bootstrap,
    TeacherSource,
    bootstrap_demos,
    make_teacher,
)
from lmflow.optimizers.parts.checks import runs_on
from lmflow.optimizers.parts.demos import (
    Demo,
    DemoSet,
    fill_with_labelled,
    labelled_demos,
    sample_demos,
    with_demos,
)
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.plan import SELECT, Plan, PlanOptimizer, Task, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import Best, conclude, score_candidate
from lmflow.optimizers.parts.tpe import Tpe, import_optuna
from lmflow.programs.program import Program


@explains_options(OPTIMIZER_OPTIONS)
def bootstrap_optuna(  # noqa: PLR0913 - each is an option
    *, trials: int = 16, max_bootstrapped: int = 4, factor: int = 4, max_labeled: int = 16,
    rounds: int = 1, threshold: float | None = None, teacher: TeacherSource = None, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Choose the demonstrations of all steps together out of a pool by a tree-structured Parzen
    estimator.

    The pool is one bootstrap of the training data, filled up with labelled examples; a place in a
    step's list may stay empty. The best mean on the selection data wins, the start version among
    the candidates; ties go to the earlier. Needs the extra ``optuna``, ``(1 + trials) * select``
    rollouts, and at most ``rounds * train`` for the bootstrap.
    DSPy's ``BootstrapFewShotWithOptuna`` (Khattab et al. 2023, arXiv 2310.03714, section 4), which
    picks one demonstration a step and is not seeded.

    Args:
        trials: The number of choices that are scored.
        max_bootstrapped: The most demonstrations a step.
        factor: The size of the pool, in multiples of ``max_bootstrapped``.
        max_labeled: The number of labelled demonstrations that the teacher is shown.
        rounds: The most tries an example, from the second on at temperature 1.
        threshold: The score that counts as success; any score above 0 if ``None``.
        teacher: A version, a program or a model (``provider/model``) instead of the start version.
        seed: The seed of all random choices.

    Returns:
        An optimizer that requires the data part ``select``.
    """
    options = {
        "trials": trials, "max_bootstrapped": max_bootstrapped, "factor": factor,
        "max_labeled": max_labeled, "rounds": rounds, "threshold": threshold, "teacher": teacher,
        "seed": seed,
    }  # fmt: skip

    def plan(task: Task) -> Plan:
        rng = randomness(task.version, "bootstrap_optuna", seed)
        labelled = labelled_demos(task.program, task.data.train)
        shown = sample_demos(rng, labelled, max_labeled)
        teaching = make_teacher(task.program, task.version, teacher, shown)
        bootstrap = Bootstrap(max_bootstrapped * factor, rounds, threshold)
        _, best = yield from score_candidate(task, task.version, "start", Best(task.version))
        successes = yield from bootstrap_demos(
            task, teaching, task.data.train, bootstrap, "bootstrap", best, rng
        )
        pool = fill_with_labelled(successes, labelled, bootstrap.count, rng)
        space = _space(pool, max_bootstrapped)
        tpe = Tpe(space, seed=rng.randrange(2**32))
        for turn in range(trials if space else 0):
            chosen = _chosen_demos(pool, tpe.ask(), max_bootstrapped)
            version = with_demos(task.version, chosen, "demonstrations chosen together")
            mean, best = yield from score_candidate(
                task, version, f"trial[{turn}]", best, f"trial {turn + 1} of {trials}"
            )
            tpe.tell(mean)
        return (yield from conclude(best))

    def bound(program: Program, data: Data) -> Bound:
        del program
        return Bound((1 + trials) * len(data.select) + rounds * len(data.train))

    requires = runs_on("select", "train", teacher=teacher, extra=import_optuna)
    return plan_optimizer("bootstrap_optuna", options, plan, bound, SELECT, requires=requires)


def _space(pool: DemoSet, places: int) -> dict[str, int]:
    """Return the number of choices of each place: a demonstration of the pool, or none."""
    steps = {step: demos for step, demos in pool.items() if demos}
    return {_place(step, k): 1 + len(demos) for step, demos in steps.items() for k in range(places)}


def _place(step: str, k: int) -> str:
    return f"{step}.demos[{k}]"


def _chosen_demos(
    pool: DemoSet, point: Mapping[str, int], most: int
) -> dict[str, tuple[Demo, ...]]:
    """Return each step's demonstrations at a point, in the order of the pool; 0 is an empty place,
    and a demonstration chosen twice is shown once.
    """
    chosen = {}
    for step, demos in pool.items():
        numbers = {point.get(_place(step, k), 0) for k in range(most)} - {0}
        chosen[step] = tuple(demos[number - 1] for number in sorted(numbers))
    return chosen
