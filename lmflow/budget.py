"""Limits on what calls may cost, and what recorded calls have cost."""

from lmflow.execution.budget import Budget, Spent
from lmflow.execution.costs import spent_on

__all__ = ["Budget", "Spent", "spent_on"]
