"""Fits an optimizer's schedule to the budget of its run."""

from __future__ import annotations

from lmflow.data.dataset import Data
from lmflow.evaluation.judges import Judge
from lmflow.execution.budget import Budget
from lmflow.execution.jobs.judging import plan_judging
from lmflow.metrics import Metric
from lmflow.optimizers.parts.limits import Limits
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.programs.program import Program

# The start version is judged once, and of tokens and dollars twice as much is reserved for the new
# version, whose prompts may be longer.
_RESERVED = 3


def fit_to_budget(  # noqa: PLR0913, PLR0917 - the parts of an optimization
    optimizer: PlanOptimizer,
    program: Program,
    data: Data,
    metric: Metric | Judge,
    budget: Budget | None,
    judge_rows: int | None = None,
) -> PlanOptimizer:
    """Return the optimizer with its schedule fitted to what a budget leaves beside the judging; the
    optimizer itself if there is no budget, or if its options set a size already.

    It depends on nothing that was recorded or spent, so that a resumed search takes the same way.
    """
    if budget is None or not budget.limited or optimizer.fit is None:
        return optimizer
    # A guard judges by all held-back data itself, and the report reuses what that took.
    rows = None if "held" in optimizer.parts else judge_rows
    judging = plan_judging(program, data.held, metric, rows)
    calls = None if budget.calls is None else max(1, budget.calls - judging.calls)
    usd = None if budget.usd is None else float(budget.usd)
    return optimizer.fit(Limits(calls, budget.tokens, usd, _RESERVED * judging.rows))
