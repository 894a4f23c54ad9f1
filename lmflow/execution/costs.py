"""The cost of calls: at worst before they are sent, in fact once they have ended."""

from __future__ import annotations

import time
from collections.abc import Iterable

import attrs

from lmflow.errors import Unbounded
from lmflow.execution.account import Account
from lmflow.execution.budget import NOTHING, ONE, Prices, Spent, unpriced
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, Outcome, ToolReply, Usage
from lmflow.messages.requests import (
    ChatRequest,
    EmbedRequest,
    ModelRequest,
    Request,
    ToolRequest,
)
from lmflow.models.base import Exchange
from lmflow.models.lanes.base import BATCH
from lmflow.models.lanes.model import WaveExchange
from lmflow.models.prices import in_batch
from lmflow.programs.effects import Call
from lmflow.programs.program import Program
from lmflow.programs.tool import Tool
from lmflow.traces.trace import CallAttempt
from lmflow.values.record import EMPTY, pretty

PER_REQUEST = 64
PER_MESSAGE = 32
PER_TOOLSET = 512
_MAYBE_BILLED = frozenset({408, 499, 504})  # the time was over, or the client had gone
_FIRST_ERROR = 400

_PRICE_FIX = (
    "Set no usd in the budget, or give the price:"
    " Executor(prices=lambda model, usage, at: nano_dollars)."
)

_UNPRICED = "runs a job whose price isn't known"
_JOB_FIX = "Set no usd in the budget, or give the trainer its price."


def worst_case(
    step: str, request: ModelRequest, prices: Prices, at: int, *, priced: bool = False
) -> Spent:
    """Return the most that a call can cost.

    A token is at least one byte of what is sent, so the prompt has at most as many tokens as its
    UTF-8 bytes, tools and schema included, plus what chat templates add: 32 a message, 64 a
    request, 512 if there are tools. The completion has at most ``max_tokens`` (or
    ``max_completion_tokens``) for each of ``n`` choices. Writing to a prompt cache may cost more
    than reading the prompt: the dearer counts.

    Args:
        step: The step's name, for the error.
        request: The request, with its resolved model.
        prices: The prices.
        at: The time of the price, in nanoseconds since the epoch.
        priced: Whether a price must be known. Without a price the cost is 0 and ``unknown`` is 1.

    Returns:
        One call, with the bounds of its tokens and nano-dollars.

    Raises:
        Unbounded: The step sets no ``max_tokens``, sends pictures, sounds or files (the providers
            do not say how many tokens these are), or has no price though one is needed.
    """
    if isinstance(request, ChatRequest) and request.attaches:
        raise unbounded_media(step)
    prompt, completion = prompt_bound(request), _completion_bound(step, request)
    plain = prices(request.model, Usage(prompt, completion), at)
    cache_write = prices(request.model, Usage(prompt, completion, 0, prompt), at)
    costs = [cost for cost in (plain, cache_write) if cost is not None]
    if priced and not costs:
        model = request.model or "the default model"
        raise Unbounded(step, f"asks {model}, whose price isn't known", _PRICE_FIX)
    return Spent(1, prompt + completion, max(costs, default=0), int(not costs))


def to_reserve(
    account: Account, step: str, request: ModelRequest, prices: Prices, exchange: Exchange
) -> Spent:
    """Return the most that an attempt can cost, as far as its account must know it; by a wave it
    costs the price of a batch.
    """
    if not account.measured:
        return ONE
    tier = in_batch(prices) if isinstance(exchange, WaveExchange) else prices
    return worst_case(step, request, tier, time.time_ns(), priced=account.priced)


def tool_price(step: str, call: Call, *, priced: bool) -> Spent:
    """Return what a tool's call costs, which is no call of a model.

    Raises:
        Unbounded: Nobody can tell its price though one is needed.
    """
    request = call.request
    if call.price is None or not isinstance(request, ToolRequest):
        return NOTHING
    cost = call.price(request.inputs)
    if cost is None and priced:
        raise Unbounded(step, _UNPRICED, _JOB_FIX)
    return Spent(cost=cost) if cost else NOTHING


def check_prices(program: Program, *, priced: bool) -> None:
    """Raise ``Unbounded`` if a tool of a program runs jobs whose price must be known and isn't."""
    for name, step in program.steps.items():
        if priced and isinstance(step, Tool) and step.price and step.price(EMPTY) is None:
            raise Unbounded(name, _UNPRICED, _JOB_FIX)


def unbounded_media(step: str) -> Unbounded:
    """Return the error for a step that sends pictures, sounds or files."""
    return Unbounded(
        step, "sends pictures, sounds or files, whose tokens have no bound", "Bound it by calls."
    )


def prompt_bound(request: ModelRequest) -> int:
    """Return an upper bound of the prompt's tokens, from its bytes."""
    if isinstance(request, EmbedRequest):
        return PER_REQUEST + sum(_byte_count(text) + PER_MESSAGE for text in request.texts)
    bound = PER_REQUEST + PER_MESSAGE * len(request.messages)
    for message in request.messages:
        bound += _byte_count(message.content)
        for call in message.calls:
            bound += _byte_count(call.name + call.arguments)
            bound += 0 if call.state is None else _byte_count(pretty(call.state))
    if request.tools:
        bound += PER_TOOLSET + sum(_byte_count(pretty(tool)) for tool in request.tools)
    if request.schema is not None:
        bound += _byte_count(pretty(request.schema))
    return bound


def actual_price(call: Call, request: Request, outcome: Outcome, prices: Prices) -> int | None:
    """Return the price of an outcome in nano-dollars, ``None`` if it is unknown."""
    if isinstance(request, ToolRequest):
        price = call.price if isinstance(outcome, ToolReply) else None
        return price and price(request.inputs)
    if isinstance(outcome, (ChatReply, EmbedReply)):
        if outcome.tier == BATCH:
            prices = in_batch(prices)
        return prices(request.model, outcome.usage, time.time_ns())
    return None


# A server that answers with an error status does not bill, unless it gave up after it had begun.
# Everything else that nobody can tell (stopped, lost on the way, a reply that can't be read or has
# no usage) may be billed: counted as free, it would take a run past its budget.
def actual_or_worst(outcome: Outcome | None, cost: int | None, worst: Spent) -> Spent:
    """Return what an ended call counts as; its worst case if nobody can tell what it cost.

    Args:
        outcome: The reply or failure; ``None`` for a call that was stopped.
        cost: The price of the reply in nano-dollars, ``None`` if it is unknown.
        worst: The worst case that was reserved.

    Returns:
        One call, its tokens and its cost.
    """
    if isinstance(outcome, (ChatReply, EmbedReply)):
        tokens = _token_count(outcome)
        return Spent(
            1,
            worst.tokens if tokens is None else tokens,
            worst.cost if cost is None else cost,
            int(tokens is None or cost is None),
        )
    if isinstance(outcome, ToolReply):
        return worst if cost is None else attrs.evolve(worst, cost=cost)
    if isinstance(outcome, Failure) and _is_unbilled(outcome):
        return Spent(1)
    is_tool = worst.cost > 0 and not worst.calls
    return attrs.evolve(worst, calls=int(not is_tool), unknown=1)


def spent_on(
    calls: Iterable[CallAttempt], prices: Prices = unpriced, *, measured: bool = False
) -> Spent:
    """Add up what recorded calls count as in a budget.

    Reused calls and tools cost nothing; calls that never ended may be billed.

    Args:
        calls: The calls, as recorded.
        prices: The prices, for the worst cases.
        measured: Whether calls whose cost nobody told count as their worst case.

    Returns:
        Calls, tokens and cost; ``unknown`` counts the calls whose cost nobody told.

    Raises:
        Unbounded: A worst case is needed and the call has none.

    Example:
        >>> print(spent_on([]))
        0 calls
    """
    total = NOTHING
    for call in calls:
        if isinstance(call.request, (ChatRequest, EmbedRequest)) and not call.source:
            worst = Spent(1)
            if measured:
                worst = worst_case(call.address, call.request, prices, call.started)
            total += actual_or_worst(call.outcome, call.cost, worst)
        elif isinstance(call.request, ToolRequest) and call.cost and not call.source:
            total += Spent(cost=call.cost)
    return total


def _is_unbilled(failure: Failure) -> bool:
    return failure.data.get("kind") == "expired" or _is_free(failure.data.get("status"))


def _is_free(status: object) -> bool:
    """Tell whether a failure of that HTTP status was surely not billed."""
    return isinstance(status, int) and status >= _FIRST_ERROR and status not in _MAYBE_BILLED


def _token_count(reply: ChatReply | EmbedReply) -> int | None:
    prompt, completion = reply.usage.prompt, reply.usage.completion
    if completion is None and isinstance(reply, EmbedReply):
        completion = 0
    return None if prompt is None or completion is None else prompt + completion


def _completion_bound(step: str, request: ModelRequest) -> int:
    if isinstance(request, EmbedRequest):
        return 0
    options = [request.options.get(name) for name in ("max_completion_tokens", "max_tokens")]
    limits = [limit for limit in options if type(limit) is int and limit >= 0]
    if not limits:
        fix = f'Give it one: options={{"max_tokens": 512}} (path {step}.options).'
        raise Unbounded(step, "has no max_tokens", fix)
    choices = request.options.get("n", 1)
    return max(limits) * (choices if type(choices) is int else 1)


def _byte_count(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
