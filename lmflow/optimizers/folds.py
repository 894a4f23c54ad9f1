"""Judging an optimizer by folds, where data is too scarce to hold some back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from typing import Any

import attrs

from lmflow.data.dataset import Data, Dataset, example_id
from lmflow.optimizers.combinators import map_needs, prefix_labels
from lmflow.optimizers.parts.checks import runs_on
from lmflow.optimizers.parts.evidence import Evidence
from lmflow.optimizers.parts.limits import Bound, Limits
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import (
    Plan,
    PlanOptimizer,
    Task,
    check_optimizers,
    plan_optimizer,
)
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import Best, score_side_by_side
from lmflow.optimizers.parts.verdict import judge_differences
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

_FEWEST = 2
_SEARCH_SHARE = 0.6  # of a budget that is for the runs of the optimizer; the rest judges them


def cross_fit(optimizer: PlanOptimizer, *, folds: int = 5, seed: int = 0) -> PlanOptimizer:
    """Run an optimizer on all examples, and keep its version only if the same optimizer, run
    without each fold in turn, does better than the start on the rows that it did not see.

    What is judged is the optimizer, not its one version: that is as much as can be known without
    holding data back. The examples of ``train`` and ``select`` are divided into folds; each is left
    out once, and the version that comes of the others is scored on it, beside the start. The
    differences on all rows are judged as ``guard`` judges, and the reason says what they are.

    Args:
        optimizer: The optimizer; a number of calls that it takes is for each of its runs.
        folds: The number of folds, 2 or more.
        seed: The seed by which the examples are divided.

    Returns:
        An optimizer that needs what ``folds + 1`` runs of ``optimizer`` do, and two rollouts for
        each example.

    Raises:
        TypeError: ``optimizer`` is not an optimizer.
        ValueError: ``folds`` is less than 2.
    """
    check_optimizers(optimizer)
    if folds < _FEWEST:
        msg = f"cross_fit(folds=...) must be {_FEWEST} or more, found {folds}"
        raise ValueError(msg)

    def plan(task: Task) -> Plan:
        differences: list[float] = []
        for number, fold in enumerate(_divide(task, folds, seed)):
            label = f"fold[{number}]"
            version = yield from _at_start(
                task, prefix_labels(optimizer.plan(_without(task, fold)), label)
            )
            differences += yield from _differences(task, version, fold, label)
        version = yield from _at_start(task, prefix_labels(optimizer.plan(task), "all"))
        verdict = judge_differences(differences, differences)
        answer = version if verdict.is_better else task.version
        reason = f"{folds} folds: {optimizer.name} is {verdict}"
        yield Need((), (), answer, phase="done", reason=reason)
        return answer

    def bound(program: Program, data: Data) -> Bound:
        rollouts = 2 * (len(data.train) + len(data.select))
        runs = [optimizer.bound(program, data) for _ in range(folds + 1)]
        return sum(runs, Bound(rollouts, calls=rollouts * len(program.predictors)))

    def words(program: Program, data: Data, metric: Any) -> str:
        inner = optimizer.words(program, data, metric)
        return inner and f"makes {folds + 1} searches, each of which {inner}"

    fit = optimizer.fit
    return plan_optimizer(
        "cross_fit",
        {"optimizer": optimizer, "folds": folds, "seed": seed},
        plan,
        bound,
        requires=runs_on("train", "select"),
        inner=(optimizer,),
        fit=None if fit is None else functools.partial(_fitted, fit, folds, seed),
        words=words,
    )


def _fitted(
    fit: Callable[[Limits], PlanOptimizer], folds: int, seed: int, limits: Limits
) -> PlanOptimizer:
    """Fit each run of the optimizer to its share of the limits."""
    share = _SEARCH_SHARE / (folds + 1)
    own = Limits(
        None if limits.calls is None else max(1, int(share * limits.calls)),
        None if limits.tokens is None else max(1, int(share * limits.tokens)),
        None if limits.usd is None else share * limits.usd,
    )
    return cross_fit(fit(own), folds=folds, seed=seed)


def _divide(task: Task, folds: int, seed: int) -> list[list[Record]]:
    """Divide the examples at random into folds of equal size, those of both parts alike."""
    rng, rows = randomness(task.version, "cross_fit", seed), list[Record]()
    for part in (task.data.train, task.data.select):
        shuffled = list(part)
        rng.shuffle(shuffled)
        rows += shuffled
    parts = [rows[number::folds] for number in range(folds)]
    return [part for part in parts if part]


def _without(task: Task, fold: Sequence[Record]) -> Task:
    """Return the task on the examples outside a fold, with scores of its own."""
    hidden = {example_id(row) for row in fold}

    def rest(part: Dataset) -> Dataset:
        return Dataset(part.name, [row for row in part if example_id(row) not in hidden])

    data = attrs.evolve(task.data, train=rest(task.data.train), select=rest(task.data.select))
    return attrs.evolve(task, data=data, evidence=Evidence())


def _at_start(task: Task, plan: Plan) -> Plan:
    """Run a plan of which nothing is known to be better than the start yet."""
    return map_needs(plan, lambda need: attrs.evolve(need, best=task.version, reason=""))


def _differences(
    task: Task, version: Version, fold: Sequence[Record], label: str
) -> Generator[Need, tuple[Trace, ...], list[float]]:
    """Score the start and a version on a fold; return by how much the version is better."""
    own = attrs.evolve(task, evidence=Evidence())
    jobs = [(f"{label}/before", task.version, fold), (f"{label}/after", version, fold)]
    before, after = yield from score_side_by_side(own, jobs, Best(task.version), "judge a fold")
    old, new = before.values, after.values
    return [new[row] - score for row, score in old.items() if row in new]
