"""Budgets as values: what may be spent, what is spent, and what is reserved."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs

from lmflow.errors import BudgetExceeded
from lmflow.errors.options import BUDGET_OPTIONS, explains_constructor
from lmflow.messages.replies import Usage

NANO = 1_000_000_000

Prices = Callable[[str, Usage, int], int | None]
"""Returns the cost in nano-dollars of a model's usage at a time (ns since the epoch), ``None`` if
no price is known.
"""


def unpriced(model: str, usage: Usage, at: int) -> int | None:
    """Return ``None``: no price is known."""
    del model, usage, at
    return None


@attrs.frozen
class Spent:
    """The cost of calls.

    Attributes:
        calls: Calls of models; every attempt counts.
        tokens: Prompt and completion tokens.
        cost: Nano-dollars.
        unknown: The calls whose tokens or price nobody told: in a budget of tokens or dollars they
            count as their worst case.
    """

    calls: int = 0
    tokens: int = 0
    cost: int = 0
    unknown: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.cost + other.cost,
            self.unknown + other.unknown,
        )

    def __sub__(self, other: Spent) -> Spent:
        return Spent(
            self.calls - other.calls,
            self.tokens - other.tokens,
            self.cost - other.cost,
            self.unknown - other.unknown,
        )

    def __str__(self) -> str:
        parts = [_counted(self.calls, "call")]
        if self.tokens:
            parts.append(_counted(self.tokens, "token"))
        if self.cost:
            parts.append(_dollars(self.cost))
        return ", ".join(parts)


NOTHING = Spent()
ONE = Spent(1)


@attrs.frozen
class Left:
    """The part of a budget that is not spent; ``None`` where it sets no limit."""

    calls: int | None = None
    tokens: int | None = None
    usd: float | None = None

    def __str__(self) -> str:
        return _limits_text(self.calls, self.tokens, self.usd) or "no limit"


def _check_limit(holder: object, field: Any, value: float | Decimal | None) -> None:
    del holder
    if value is not None and (isinstance(value, bool) or not 0 <= value < NANO**2):
        msg = f"Budget({field.name}=...) must be 0 or more, found {value!r}"
        raise ValueError(msg)


@explains_constructor(BUDGET_OPTIONS)
@attrs.frozen
class Budget:
    """The most that may be spent.

    The worst case of a call is reserved before it is sent, so no limit is ever passed, at any
    concurrency. ``tokens`` and ``usd`` need ``max_tokens`` in each step's options, ``usd`` a known
    price too (``Unbounded`` otherwise).

    Args:
        calls: Calls of models; every attempt counts.
        tokens: Prompt and completion tokens.
        usd: Dollars.

    Raises:
        ValueError: A limit is negative.

    Example:
        >>> print(Budget(calls=100, usd=0.5))
        the budget of 100 calls, $0.5
    """

    calls: int | None = attrs.field(default=None, validator=_check_limit)
    tokens: int | None = attrs.field(default=None, validator=_check_limit)
    usd: float | Decimal | None = attrs.field(default=None, validator=_check_limit)

    def __str__(self) -> str:
        return f"the budget of {_limits_text(self.calls, self.tokens, self.usd) or 'no limit'}"

    @property
    def cost(self) -> int | None:
        """``usd`` in nano-dollars."""
        return None if self.usd is None else int(Decimal(str(self.usd)) * NANO)

    @property
    def limited(self) -> bool:
        """Tell whether the budget sets any limit."""
        return self.calls is not None or self.measured

    @property
    def measured(self) -> bool:
        """Tell whether tokens or dollars are limited: then each call's worst case must be known."""
        return self.tokens is not None or self.usd is not None

    def holds(self, spent: Spent) -> bool:
        """Return whether that much is within the budget.

        Args:
            spent: Calls, tokens and cost.

        Returns:
            Whether no limit is passed.

        Example:
            >>> Budget(calls=2).holds(Spent(calls=3))
            False
        """
        return (
            (self.calls is None or spent.calls <= self.calls)
            and (self.tokens is None or spent.tokens <= self.tokens)
            and (self.cost is None or spent.cost <= self.cost)
        )

    def left(self, spent: Spent) -> Left:
        """Return what the budget still allows after that much.

        Args:
            spent: Calls, tokens and cost.

        Returns:
            Each limit less what is spent of it, never below 0; ``None`` where there is no limit.

        Example:
            >>> print(Budget(calls=5).left(Spent(calls=3)))
            2 calls
        """
        calls = None if self.calls is None else max(0, self.calls - spent.calls)
        tokens = None if self.tokens is None else max(0, self.tokens - spent.tokens)
        usd = None if self.cost is None else max(0, self.cost - spent.cost) / NANO
        return Left(calls, tokens, usd)


@attrs.frozen
class Ledger:
    """A budget, what is spent of it, and what is reserved for open calls."""

    budget: Budget = Budget()
    spent: Spent = NOTHING
    reserved: Spent = NOTHING

    def fits(self, worst: Spent) -> bool:
        """Return whether a call fits now, whatever the open calls turn out to cost."""
        return self.budget.holds(self.spent + self.reserved + worst)

    # Open calls give tokens and dollars back when they end cheaper than their worst case, but each
    # of them stays one call: waiting for a limit of calls would be waiting for nothing.
    def may_fit(self, worst: Spent) -> bool:
        """Return whether a call may fit once open calls have cost less than their worst case."""
        open_calls = Spent(calls=self.reserved.calls)
        return self.reserved != NOTHING and self.budget.holds(self.spent + open_calls + worst)

    def reserving(self, worst: Spent) -> Ledger:
        """Return the ledger with a call's worst case reserved."""
        return attrs.evolve(self, reserved=self.reserved + worst)

    def settling(self, worst: Spent, actual: Spent) -> Ledger:
        """Return the ledger with a call's reservation released and its actual cost spent."""
        reserved = self.reserved - worst if worst is not NOTHING else self.reserved
        return Ledger(self.budget, self.spent + actual, reserved)

    def refusal(self, worst: Spent) -> BudgetExceeded:
        """Return the error for a call that does not fit."""
        return BudgetExceeded(self.budget, self.spent, self.budget.left(self.spent), worst)


def _dollars(cost: int) -> str:
    return f"${cost / NANO:.6f}".rstrip("0").rstrip(".")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _limits_text(calls: int | None, tokens: int | None, usd: float | Decimal | None) -> str:
    parts = [_counted(calls, "call")] if calls is not None else []
    if tokens is not None:
        parts.append(_counted(tokens, "token"))
    if usd is not None:
        parts.append(f"${float(usd):g}")
    return ", ".join(parts)
