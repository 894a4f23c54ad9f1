"""Pools of demonstrations for steps that choose among them at run time."""

from __future__ import annotations

from lmflow.data import Data
from lmflow.errors import ProgramError
from lmflow.optimize import Bound, Plan, Staged, Task, randomness, staged
from lmflow.optimizers.demos import Bootstrap, DemoSet, bootstrapped, filled, labelled, predictors, sampled, with_demos
from lmflow.optimizers.few_shot import Who, noted, taught
from lmflow.optimizers.scoring import Best
from lmflow.program import Program


def knn_few_shot(  # noqa: PLR0913 - each is an option
    *, size: int = 200, bootstrap: bool = True, max_labeled: int = 4, rounds: int = 1, threshold: float | None = None,
    teacher: Who = None, seed: int = 0,
) -> Staged:  # fmt: skip
    """The pool of each ``lf.nearest`` step: what the teacher did in the training examples that it does well, then
    labelled ones that are not among them, up to ``size`` in all; the program chooses among them for each input.

    The teacher is shown ``max_labeled`` labelled demonstrations, none of the example that it is asked. Without
    ``bootstrap`` the pool is labelled examples alone and costs nothing. Asks for at most ``rounds * train`` rollouts,
    once: at run time a choice costs no call. ``ProgramError`` where no step of the program has a pool.

    Liu et al. 2022, arXiv 2101.06804, section 3; DSPy's ``KNNFewShot``.
    """
    options = {
        "size": size, "bootstrap": bootstrap, "max_labeled": max_labeled, "rounds": rounds, "threshold": threshold,
        "teacher": teacher, "seed": seed,
    }  # fmt: skip

    def plan(task: Task) -> Plan:
        pooled = _pooled(task.program)
        rng, shown = randomness(task.version, "knn_few_shot", seed), labelled(task.program, task.data.train)
        teach = taught(task.program, task.version, teacher, sampled(rng, shown, max_labeled))
        how = Bootstrap(size if bootstrap else 0, rounds, threshold)
        boot = yield from bootstrapped(task, teach, task.data.train, how, "bootstrap", Best(task.version), rng)
        found = filled(boot, shown, size, rng)
        chosen: DemoSet = {name: found[name] for name in pooled}
        return with_demos(task.version, chosen, f"{noted(boot)}, to choose from", slot="pool")

    def bound(program: Program, data: Data) -> Bound:
        del program
        return Bound(rounds * len(data.train) if bootstrap else 0)

    return staged("knn_few_shot", options, plan, bound)


def _pooled(program: Program) -> list[str]:
    found = [name for name, step in predictors(program).items() if step.nearest]
    if not found:
        first = next(iter(predictors(program)), "step")
        msg = f"no step of {program} chooses its demonstrations; make one that does: lf.nearest({first}, k=4)"
        raise ProgramError(msg)
    return found
