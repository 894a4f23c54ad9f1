"""The budget that the options of a command say."""

from __future__ import annotations

from lmflow.execution.budget import Budget


def budget_of(calls: int | None, usd: float | None) -> Budget | None:
    """Return the budget of ``--budget-calls`` and ``--budget-usd``, ``None`` without a limit."""
    budget = Budget(calls=calls, usd=usd)
    return budget if budget.limited else None
