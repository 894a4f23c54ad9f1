"""Fitting a search's schedule to a number of calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lmflow.data.dataset import Data, Dataset
from lmflow.evaluation.judges import Judge
from lmflow.optimizers.parts.allowance import within_calls
from lmflow.optimizers.parts.limits import Limits
from lmflow.optimizers.parts.plan import Plan, PlanOptimizer, Task
from lmflow.optimizers.parts.randomness import randomness
from lmflow.programs.program import Program

_FEWEST_ROWS = 10


def rollout_calls(program: Program, metric: Any) -> int:
    """Return the calls that a scored rollout takes as a rule: one a step, those of a judge too."""
    judge = len(metric.program.predictors) if isinstance(metric, Judge) else 0
    return max(1, len(program.predictors) + judge)


def rows_for(rollouts: int, data: Data, *, least: int = 2 * _FEWEST_ROWS) -> int:
    """Return how many selection examples versions are best chosen by: a tenth of the rollouts. With
    more, few versions are scored; with fewer, the best of them is the luckiest.
    """
    return max(min(len(data.select), max(least, rollouts // 10)), 1)


def fitted_plan(
    plan: Callable[[Task], Plan], rows: Callable[[Task], int], calls: int, seed: int
) -> Callable[[Task], Plan]:
    """Make a plan that chooses by so many of the selection examples, drawn at random, and ends with
    its best version before it exceeds a number of calls.
    """

    def fitted(task: Task) -> Plan:
        select, count = task.data.select, rows(task)
        if count < len(select):
            some = randomness(task.version, "rows", seed).sample(list(select), count)
            data = attrs.evolve(task.data, select=Dataset(select.name, some))
            task = attrs.evolve(task, data=data)
        return within_calls(plan(task), calls)

    return fitted


def fit_by(
    make: Callable[..., PlanOptimizer], options: Mapping[str, Any], sizes: Mapping[str, Any]
) -> Callable[[Limits], PlanOptimizer] | None:
    """Return what fits an optimizer to limits of calls; ``None`` if one of its sizes is given."""
    if any(size is not None for size in sizes.values()):
        return None

    def fit(limits: Limits) -> PlanOptimizer:
        if limits.calls is None:
            return make(**options)
        return make(**options, calls=limits.calls)

    return fit
