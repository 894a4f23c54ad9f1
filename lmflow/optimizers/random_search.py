"""Random search over sets of demonstrations."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import attrs

from lmflow.data.dataset import Data
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.optimizers.parts.bootstrap import (
    Bootstrap,
    TeacherSource,
    bootstrap_demos,
    bootstrap_note,
    make_teacher,
)
from lmflow.optimizers.parts.checks import runs_on
from lmflow.optimizers.parts.demos import (
    fill_with_labelled,
    labelled_demos,
    sample_demos,
    with_demos,
    without_demos,
)
from lmflow.optimizers.parts.fitting import fit_by, fitted_plan, rollout_calls, rows_for
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import SELECT, Plan, PlanOptimizer, Task, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import Best, conclude, score_candidate
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.versions.version import Version

# The candidates that are not drawn at random, by position: the start version, no demonstrations,
# labelled ones, and a bootstrap of the training data in its order.
_START, _NO_DEMOS, _LABELLED, _IN_ORDER = range(4)
_FIXED = 4

_CANDIDATES = 16
_TRIES = 8  # training examples that a bootstrap of a few demonstrations tries, roughly


@explains_options(OPTIMIZER_OPTIONS)
def random_search(  # noqa: PLR0913 - each is an option
    *, candidates: int | None = None, max_bootstrapped: int = 4, max_labeled: int = 16,
    rounds: int = 1, threshold: float | None = None, teacher: TeacherSource = None,
    stop_at: float | None = None, seed: int = 0, calls: int | None = None,
) -> PlanOptimizer:  # fmt: skip
    """Choose the best of bootstrapped sets of demonstrations, labelled ones, none, and the start
    version, by the mean on the selection data.

    Ties go to the earlier candidate. Demonstrations come from the training data alone, so no
    candidate is scored on an example that it shows. Needs ``(candidates + 3) * select`` rollouts,
    ``select`` more if the start version has demonstrations, and those of ``candidates + 1``
    bootstraps.
    DSPy's ``BootstrapFewShotWithRandomSearch`` (Khattab et al. 2023, arXiv 2310.03714, section 4).

    Args:
        candidates: The number of bootstraps of the shuffled training data, 16 by default.
        max_bootstrapped: The most successes of a bootstrap.
        max_labeled: The most demonstrations a step, labelled ones included.
        rounds: The most tries an example, from the second on at temperature 1.
        threshold: The score that counts as success; any score above 0 if ``None``.
        teacher: A version, a program or a model (``provider/model``) instead of the start version.
        stop_at: The mean score at which the search ends early.
        seed: The seed of all random choices.
        calls: The most model calls. With it candidates are drawn as long as calls remain, and each
            is scored on as many selection examples as suit that number.

    Returns:
        An optimizer that requires the data part ``select``.
    """
    others = {
        "max_bootstrapped": max_bootstrapped, "max_labeled": max_labeled, "rounds": rounds,
        "threshold": threshold, "teacher": teacher, "stop_at": stop_at, "seed": seed,
    }  # fmt: skip
    fit = fit_by(random_search, others, {"candidates": candidates, "calls": calls})
    if candidates is None:
        candidates = _CANDIDATES if calls is None else max(1, calls)
    options = {"candidates": candidates, **others}
    if calls is not None:
        options["calls"] = calls
    source = _CandidateSource(
        max_bootstrapped, max_labeled, rounds, threshold, teacher, seed, calls
    )

    def plan(task: Task) -> Plan:
        best, scored_trees, count = Best(task.version), set[str](), _FIXED + candidates
        for at in range(count):
            version = yield from source.candidate(task, at, best)
            if version.tree in scored_trees:
                continue
            scored_trees.add(version.tree)
            _, best = yield from score_candidate(
                task, version, f"cand[{at}]", best, f"candidate {at + 1} of {count}"
            )
            if stop_at is not None and best.mean >= stop_at:
                break
        return (yield from conclude(best))

    def bound(program: Program, data: Data) -> Bound:
        del program
        bootstraps = (candidates + 1) * rounds * len(data.train)
        return Bound((candidates + _FIXED) * len(data.select) + bootstraps).within(calls)

    requires = runs_on("select", "train", teacher=teacher)
    return plan_optimizer(
        "random_search",
        options,
        plan if calls is None else fitted_plan(plan, source.rows, calls, seed),
        bound,
        SELECT,
        requires=requires,
        fit=fit,
        words=source.words,
    )


@attrs.frozen
class _CandidateSource:
    """Makes the candidates of a random search by their positions."""

    max_bootstrapped: int
    max_labeled: int
    rounds: int
    threshold: float | None
    teacher: TeacherSource
    seed: int
    calls: int | None = None

    def candidate(
        self, task: Task, at: int, best: Best
    ) -> Generator[Need, tuple[Trace, ...], Version]:
        """Make the candidate at a position; it depends on the position and the seed alone."""
        if at == _START:
            return task.version
        if at == _NO_DEMOS:
            return without_demos(task.program, task.version, "no demonstrations")
        rng = randomness(task.version, "random_search", self.seed, at)
        pool = labelled_demos(task.program, task.data.train)
        labelled = sample_demos(rng, pool, self.max_labeled)
        if at == _LABELLED:
            return with_demos(task.version, labelled, "labelled demonstrations")
        train, count = list(task.data.train), self.max_bootstrapped
        if at != _IN_ORDER:
            rng.shuffle(train)
            count = rng.randint(1, self.max_bootstrapped) if self.max_bootstrapped else 0
        successes = yield from bootstrap_demos(
            task,
            make_teacher(task.program, task.version, self.teacher, labelled),
            train,
            Bootstrap(count, self.rounds, self.threshold, self._examples(task)),
            f"bootstrap[{at}]",
            best,
            rng,
        )
        chosen = fill_with_labelled(successes, pool, self.max_labeled, rng)
        return with_demos(task.version, chosen, bootstrap_note(successes))

    def rows(self, task: Task) -> int:
        """Return how many selection examples candidates are scored on within the budget."""
        return rows_for(self._rollouts(task.program, task.metric), task.data)

    def words(self, program: Program, data: Data, metric: Any) -> str:
        """Say how many candidates the budget buys."""
        if self.calls is None:
            return ""
        rollouts = self._rollouts(program, metric)
        rows = rows_for(rollouts, data)
        return f"buys about {rollouts // (rows + _TRIES)} candidates, each scored on {rows} rows"

    def _examples(self, task: Task) -> int | None:
        """Return the most examples that a bootstrap tries: within a budget fewer than its candidate
        is scored on.
        """
        if self.calls is None:
            return None
        return max(_TRIES, self._rollouts(task.program, task.metric) // 20)

    def _rollouts(self, program: Program, metric: Any) -> int:
        return (self.calls or 0) // rollout_calls(program, metric)
