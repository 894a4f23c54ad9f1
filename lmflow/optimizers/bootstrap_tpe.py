"""Demonstrations picked one by one from a bootstrapped pool, by a Bayesian model of the scores."""

from __future__ import annotations

from collections.abc import Mapping

from lmflow.data.dataset import Data
from lmflow.optimizers.few_shot import Who, taught
from lmflow.optimizers.parts.demos import (
    Bootstrap,
    Demo,
    DemoSet,
    bootstrapped,
    filled,
    labelled,
    sampled,
    with_demos,
)
from lmflow.optimizers.parts.plan import (
    SELECT,
    Bound,
    Plan,
    PlanOptimizer,
    Task,
    randomness,
    plan_optimizer,
)
from lmflow.optimizers.parts.scoring import Best, concluded, tried
from lmflow.optimizers.parts.tpe import Tpe
from lmflow.programs.program import Program


def bootstrap_optuna(  # noqa: PLR0913 - each is an option
    *, trials: int = 16, max_bootstrapped: int = 4, factor: int = 4, max_labeled: int = 16, rounds: int = 1,
    threshold: float | None = None, teacher: Who = None, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """``max_bootstrapped`` demonstrations for each step out of a pool of ``factor`` times as many,
    chosen together for all steps by a tree-structured Parzen estimator in ``trials`` trials; the
    best mean on the selection data wins, the start version among them, ties to the earlier.

    The pool is one bootstrap of the training data, filled up with labelled examples; a place may
    stay empty. The teacher is shown ``max_labeled`` labelled demonstrations. Needs the extra
    ``optuna``. Asks for ``(1 + trials) * select`` rollouts and those of the bootstrap, at most
    ``rounds * train``.

    DSPy's ``BootstrapFewShotWithOptuna`` (Khattab et al. 2023, arXiv 2310.03714, section 4), which
    picks one demonstration a step and isn't seeded.
    """
    options = {
        "trials": trials, "max_bootstrapped": max_bootstrapped, "factor": factor, "max_labeled": max_labeled,
        "rounds": rounds, "threshold": threshold, "teacher": teacher, "seed": seed,
    }  # fmt: skip

    def plan(task: Task) -> Plan:
        rng, labels = (
            randomness(task.version, "bootstrap_optuna", seed),
            labelled(task.program, task.data.train),
        )
        teach = taught(task.program, task.version, teacher, sampled(rng, labels, max_labeled))
        how, most = (
            Bootstrap(max_bootstrapped * factor, rounds, threshold),
            max_bootstrapped * factor,
        )
        _, best = yield from tried(task, task.version, "start", Best(task.version))
        boot = yield from bootstrapped(task, teach, task.data.train, how, "bootstrap", best, rng)
        pool = filled(boot, labels, most, rng)
        space = {
            _place(step, k): 1 + len(pool[step])
            for step in pool
            if pool[step]
            for k in range(max_bootstrapped)
        }
        tpe = Tpe(space, seed=rng.randrange(2**32))
        for turn in range(trials if space else 0):
            chosen = _chosen(pool, tpe.ask(), max_bootstrapped)
            version = with_demos(task.version, chosen, "demonstrations chosen together")
            mean, best = yield from tried(
                task, version, f"trial[{turn}]", best, f"trial {turn + 1} of {trials}"
            )
            tpe.tell(mean)
        return (yield from concluded(best))

    def bound(program: Program, data: Data) -> Bound:
        del program
        return Bound((1 + trials) * len(data.select) + rounds * len(data.train))

    return plan_optimizer("bootstrap_optuna", options, plan, bound, SELECT)


def _place(step: str, k: int) -> str:
    return f"{step}.demos[{k}]"


def _chosen(pool: DemoSet, point: Mapping[str, int], most: int) -> dict[str, tuple[Demo, ...]]:
    """Each step's demonstrations at a point, in the order of the pool; 0 is an empty place, the
    same twice is one.
    """
    places = {step: {point.get(_place(step, k), 0) for k in range(most)} - {0} for step in pool}
    return {
        step: tuple(pool[step][at - 1] for at in sorted(found)) for step, found in places.items()
    }
