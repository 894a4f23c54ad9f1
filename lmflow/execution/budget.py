"""Budgets as values: what may be spent, what is spent, and what a call may cost at worst."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import attrs

from lmflow.errors import BudgetExceeded, Unbounded
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, Outcome, Usage
from lmflow.messages.requests import ChatRequest, EmbedRequest, ModelRequest
from lmflow.traces.trace import CallAttempt
from lmflow.values.record import pretty

NANO = 1_000_000_000
PER_REQUEST = 64
PER_MESSAGE = 32
PER_TOOLSET = 512

Prices = Callable[[str, Usage, int], int | None]
"""The cost in nano-dollars of a model's usage at a time (ns since the epoch), ``None`` where no
price is known.
"""


def unpriced(model: str, usage: Usage, at: int) -> int | None:
    """No price is known."""
    del model, usage, at
    return None


@attrs.frozen
class Spent:
    """Calls of models (every attempt), tokens (prompt and completion) and nano-dollars.

    ``unknown`` counts the calls whose tokens or price nobody told: in a budget they count as their
    worst case.
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
        words = [_many(self.calls, "call")]
        words += [_many(self.tokens, "token")] if self.tokens else []
        words += [_dollars(self.cost)] if self.cost else []
        return ", ".join(words)


NOTHING = Spent()
ONE = Spent(1)


@attrs.frozen
class Left:
    """What a budget still allows; ``None`` where it sets no limit."""

    calls: int | None = None
    tokens: int | None = None
    usd: float | None = None

    def __str__(self) -> str:
        return _limits(self.calls, self.tokens, self.usd) or "no limit"


def _from_zero(holder: object, field: Any, value: float | Decimal | None) -> None:
    del holder
    if value is not None and (isinstance(value, bool) or not 0 <= value < NANO**2):
        msg = f"Budget({field.name}=...) must be 0 or more, found {value!r}"
        raise ValueError(msg)


@attrs.frozen
class Budget:
    """The most that may be spent: calls of models (every attempt counts), tokens (prompt and
    completion), dollars.

    The worst case of a call is reserved before it is sent, so no limit is ever passed, at any
    concurrency. ``tokens`` and ``usd`` need ``max_tokens`` in each step's options, ``usd`` a known
    price too (``Unbounded`` otherwise). ``ValueError`` for a negative limit.
    """

    calls: int | None = attrs.field(default=None, validator=_from_zero)
    tokens: int | None = attrs.field(default=None, validator=_from_zero)
    usd: float | Decimal | None = attrs.field(default=None, validator=_from_zero)

    def __str__(self) -> str:
        return f"the budget of {_limits(self.calls, self.tokens, self.usd) or 'no limit'}"

    @property
    def cost(self) -> int | None:
        """``usd`` in nano-dollars."""
        return None if self.usd is None else int(Decimal(str(self.usd)) * NANO)

    @property
    def limited(self) -> bool:
        """Whether it sets any limit."""
        return self.calls is not None or self.measured

    @property
    def measured(self) -> bool:
        """Whether it limits more than the number of calls, so that the worst case of each must be
        known.
        """
        return self.tokens is not None or self.usd is not None

    def holds(self, spent: Spent) -> bool:
        """Whether that much is within it."""
        return (
            (self.calls is None or spent.calls <= self.calls)
            and (self.tokens is None or spent.tokens <= self.tokens)
            and (self.cost is None or spent.cost <= self.cost)
        )

    def left(self, spent: Spent) -> Left:
        """What it still allows after that much, never less than nothing."""
        calls = None if self.calls is None else max(0, self.calls - spent.calls)
        tokens = None if self.tokens is None else max(0, self.tokens - spent.tokens)
        usd = None if self.cost is None else max(0, self.cost - spent.cost) / NANO
        return Left(calls, tokens, usd)


@attrs.frozen
class Ledger:
    """A budget, what is spent of it, and what is reserved for calls that are open."""

    budget: Budget = Budget()
    spent: Spent = NOTHING
    reserved: Spent = NOTHING

    def fits(self, worst: Spent) -> bool:
        """Whether a call may be sent now, whatever the open ones cost."""
        return self.budget.holds(self.spent + self.reserved + worst)

    def may_fit(self, worst: Spent) -> bool:
        """Whether it may fit once the open calls have ended cheaper than their worst case."""
        open_calls = Spent(calls=self.reserved.calls)
        return self.reserved != NOTHING and self.budget.holds(self.spent + open_calls + worst)

    def reserving(self, worst: Spent) -> Ledger:
        """With that reserved."""
        return attrs.evolve(self, reserved=self.reserved + worst)

    def settling(self, worst: Spent, actual: Spent) -> Ledger:
        """With what was reserved released, and what was spent added."""
        left = self.reserved - worst if worst is not NOTHING else self.reserved
        return Ledger(self.budget, self.spent + actual, left)

    def refusal(self, worst: Spent) -> BudgetExceeded:
        """The error for a call that doesn't fit."""
        return BudgetExceeded(self.budget, self.spent, self.budget.left(self.spent), worst)


def worst_case(
    step: str, request: ModelRequest, prices: Prices, at: int, *, priced: bool = False
) -> Spent:
    """The most that a call can cost. ``Unbounded`` where it has no upper bound.

    A token is at least one byte of what is sent, so the prompt has at most as many tokens as its
    UTF-8 bytes, tools and schema included, plus what chat templates add: 32 a message, 64 a
    request, 512 where there are tools. The completion has at most ``max_tokens`` (or
    ``max_completion_tokens``) for each of ``n`` choices. Writing to a prompt cache may cost more
    than reading the prompt: the dearer is taken. Where no price is known ``cost`` is 0 and
    ``unknown`` 1, or, where one must be (``priced``), it is ``Unbounded`` too. Pictures, sounds and
    files have no bound: how many tokens they are is the provider's secret.
    """
    if isinstance(request, ChatRequest) and request.attaches:
        raise unbounded_media(step)
    prompt, completion = prompt_bound(request), _completion_bound(step, request)
    plain = prices(request.model, Usage(prompt, completion), at)
    written = prices(request.model, Usage(prompt, completion, 0, prompt), at)
    known = [cost for cost in (plain, written) if cost is not None]
    if priced and not known:
        raise Unbounded(
            step, f"asks {request.model or 'the default model'}, whose price isn't known", _PRICE
        )
    return Spent(1, prompt + completion, max(known, default=0), int(not known))


def unbounded_media(step: str) -> Unbounded:
    """The error for a step that sends pictures, sounds or files."""
    return Unbounded(
        step, "sends pictures, sounds or files, whose tokens have no bound", "Bound it by calls."
    )


def prompt_bound(request: ModelRequest) -> int:
    """An upper bound of the prompt's tokens, from its bytes."""
    if isinstance(request, EmbedRequest):
        return PER_REQUEST + sum(_bytes(text) + PER_MESSAGE for text in request.texts)
    turns = sum(
        _bytes(m.content) + sum(_bytes(c.name + c.arguments) for c in m.calls)
        for m in request.messages
    )
    more = [pretty(tool) for tool in request.tools] + (
        [pretty(request.schema)] if request.schema is not None else []
    )
    fixed = (
        PER_REQUEST + PER_MESSAGE * len(request.messages) + (PER_TOOLSET if request.tools else 0)
    )
    return turns + sum(map(_bytes, more)) + fixed


def actual_or_worst(outcome: Outcome | None, cost: int | None, worst: Spent) -> Spent:
    """What a call counts as once it has ended, ``None`` for one that was stopped.

    What a server refused with an error status wasn't billed. What nobody can tell (stopped, lost on
    the way, no usage in the reply) counts as its worst case: it may be billed.
    """
    if isinstance(outcome, (ChatReply, EmbedReply)):
        prompt, completion = outcome.usage.prompt, outcome.usage.completion
        completion = 0 if isinstance(outcome, EmbedReply) and completion is None else completion
        told = prompt is not None and completion is not None
        tokens = (
            prompt + completion if prompt is not None and completion is not None else worst.tokens
        )
        return Spent(1, tokens, worst.cost if cost is None else cost, int(not told or cost is None))
    if isinstance(outcome, Failure) and outcome.data.get("status") is not None:
        return Spent(1)
    return attrs.evolve(worst, calls=1, unknown=1)


def spent_on(
    calls: Iterable[CallAttempt], prices: Prices = unpriced, *, measured: bool = False
) -> Spent:
    """What recorded calls count as: reused ones and tools nothing, orphans as maybe billed.

    With ``measured`` what nobody told counts as its worst case (``Unbounded`` where there is none).
    """
    total = NOTHING
    for call in calls:
        if isinstance(call.request, (ChatRequest, EmbedRequest)) and not call.source:
            worst = (
                worst_case(call.address, call.request, prices, call.started)
                if measured
                else Spent(1)
            )
            total += actual_or_worst(call.outcome, call.cost, worst)
    return total


_PRICE = "Set no usd in the budget, or give the price: Executor(prices=lambda model, usage, at: nano_dollars)."


def _completion_bound(step: str, request: ModelRequest) -> int:
    if isinstance(request, EmbedRequest):
        return 0
    found = [request.options.get(name) for name in ("max_completion_tokens", "max_tokens")]
    limits = [limit for limit in found if type(limit) is int and limit >= 0]
    if not limits:
        raise Unbounded(
            step,
            "has no max_tokens",
            f'Give it one: options={{"max_tokens": 512}} (path {step}.options).',
        )
    choices = request.options.get("n", 1)
    return max(limits) * (choices if type(choices) is int else 1)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _dollars(cost: int) -> str:
    return f"${cost / NANO:.6f}".rstrip("0").rstrip(".")


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _limits(calls: int | None, tokens: int | None, usd: float | Decimal | None) -> str:
    words = [_many(calls, "call")] if calls is not None else []
    words += [_many(tokens, "token")] if tokens is not None else []
    words += [f"${float(usd):g}"] if usd is not None else []
    return ", ".join(words)
