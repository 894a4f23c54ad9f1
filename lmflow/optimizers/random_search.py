"""Random search over sets of demonstrations."""

from __future__ import annotations

from collections.abc import Generator

from lmflow.data.dataset import Data
from lmflow.optimizers.few_shot import Who, noted, taught
from lmflow.optimizers.parts.demos import (
    Bootstrap,
    bare,
    bootstrapped,
    filled,
    labelled,
    sampled,
    with_demos,
)
from lmflow.optimizers.parts.plan import (
    SELECT,
    Bound,
    Need,
    Plan,
    PlanOptimizer,
    Task,
    randomness,
    plan_optimizer,
)
from lmflow.optimizers.parts.scoring import Best, concluded, tried
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.versions.version import Version

_PLAIN = 4  # candidates that aren't at random: the start, no demonstrations, labelled ones, the first bootstrap


def random_search(  # noqa: C901, PLR0913 - each is an option
    *, candidates: int = 16, max_bootstrapped: int = 4, max_labeled: int = 16, rounds: int = 1,
    threshold: float | None = None, teacher: Who = None, stop_at: float | None = None, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """The best of ``candidates`` bootstrapped sets of demonstrations, of no and of labelled
    demonstrations, and of the start version, by their mean on the selection data. Ties go to the
    earlier; ``stop_at`` ends the search early.

    Demonstrations come from the training data alone, so none is scored on the example that it
    shows. Asks for ``(candidates + 3) * select`` rollouts, ``select`` more where the start version
    has demonstrations, and for those of ``candidates + 1`` bootstraps.

    DSPy's ``BootstrapFewShotWithRandomSearch`` (Khattab et al. 2023, arXiv 2310.03714, section 4).
    """
    options = {
        "candidates": candidates, "max_bootstrapped": max_bootstrapped, "max_labeled": max_labeled, "rounds": rounds,
        "threshold": threshold, "teacher": teacher, "stop_at": stop_at, "seed": seed,
    }  # fmt: skip

    def plan(task: Task) -> Plan:
        best, seen = Best(task.version), set[str]()
        for at in range(_PLAIN + candidates):
            version = yield from _candidate(task, at, best)
            if version.tree in seen:
                continue
            seen.add(version.tree)
            _, best = yield from tried(
                task, version, f"cand[{at}]", best, f"candidate {at + 1} of {_PLAIN + candidates}"
            )
            if stop_at is not None and best.mean >= stop_at:
                break
        return (yield from concluded(best))

    def _candidate(task: Task, at: int, best: Best) -> Generator[Need, tuple[Trace, ...], Version]:
        pool, rng = (
            labelled(task.program, task.data.train),
            randomness(task.version, "random_search", seed, at),
        )
        labels = sampled(rng, pool, max_labeled)
        if at == 0:
            return task.version
        if at == 1:
            return bare(task.program, task.version, "no demonstrations")
        if at == 2:  # noqa: PLR2004 - the third
            return with_demos(task.version, labels, "labelled demonstrations")
        train, want = list(task.data.train), max_bootstrapped
        if at >= _PLAIN:
            rng.shuffle(train)
            want = rng.randint(1, max_bootstrapped)
        teach = taught(task.program, task.version, teacher, labels)
        how = Bootstrap(want, rounds, threshold)
        boot = yield from bootstrapped(task, teach, train, how, f"bootstrap[{at}]", best, rng)
        return with_demos(task.version, filled(boot, pool, max_labeled, rng), noted(boot))

    def bound(program: Program, data: Data) -> Bound:
        del program
        boots = (candidates + 1) * rounds * len(data.train)
        return Bound((candidates + _PLAIN) * len(data.select) + boots)

    return plan_optimizer("random_search", options, plan, bound, SELECT)
