"""Prices of models, and the cost of a call's usage in whole nano-dollars."""

from __future__ import annotations

import datetime as dt
import functools
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs

from lmflow.messages.replies import Usage

FREE = frozenset({"local", "scripted"})
"""Providers that cost nothing, since they send nothing anywhere."""
_NANO_PER_TOKEN = 1000  # a dollar a million tokens, in nano-dollars a token
_PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure",
    "openrouter": "openrouter",
}
_MINUTE = 60 * 10**9
_LISTED_FIELDS = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
_LITELLM_PROVIDERS = {
    "gemini": "google",
    "vertex_ai": "google",
    "xai": "x-ai",
    "bedrock": "aws",
    "together_ai": "together",
}

Prices = Callable[[str, Usage, int], int | None]


def _dollars(value: Decimal | float | str) -> Decimal:
    # By its text: Decimal(0.1) is 0.1000000000000000055, and costs would round up by it.
    return Decimal(str(value))


@attrs.frozen
class Price:
    """Prices in dollars a million tokens.

    Args:
        input: The price of prompt tokens.
        output: The price of completion tokens.
        cached: The price of tokens that are read from a cache, by default that of ``input``.
        written: The price of tokens that are written to a cache, by default that of ``input``.
    """

    input: Decimal = attrs.field(converter=_dollars)
    output: Decimal = attrs.field(converter=_dollars)
    cached: Decimal | None = attrs.field(
        default=None, converter=attrs.converters.optional(_dollars)
    )
    written: Decimal | None = attrs.field(
        default=None, converter=attrs.converters.optional(_dollars)
    )

    def cost(self, usage: Usage) -> int | None:
        """Computes the cost of a usage.

        Args:
            usage: The tokens of one call.

        Returns:
            Whole nano-dollars, rounded up; ``None`` if the usage doesn't say how many tokens.
        """
        cached, written = usage.cached or 0, usage.written or 0
        if usage.prompt is None or usage.completion is None or cached + written > usage.prompt:
            return None
        # Fractions, since sums of floats or rounded decimals would depend on the order of parts.
        parts = (
            (usage.prompt - cached - written, self.input),
            (cached, self.input if self.cached is None else self.cached),
            (written, self.input if self.written is None else self.written),
            (usage.completion, self.output),
        )
        return math.ceil(sum(tokens * Fraction(price) for tokens, price in parts) * _NANO_PER_TOKEN)


def cost_of(model: str, usage: Usage, at: int) -> int | None:
    """Computes the cost of a usage by the price list of the package genai-prices as it is installed
    (nothing is fetched), with its tiers and its prices of cached and written tokens.

    Args:
        model: ``provider/model``.
        usage: The tokens of one call.
        at: The time of the call, in nanoseconds since the epoch: prices change.

    Returns:
        Whole nano-dollars, rounded up; 0 for local models; ``None`` if the price or the number of
        tokens is unknown.

    Example:
        >>> from lmflow.messages.replies import Usage
        >>> cost_of("local/smollm2-135m", Usage(prompt=10, completion=2), 0)
        0
    """
    if model.partition("/")[0] in FREE:
        return 0
    entry = _price_list_entry(model)
    if entry is None or usage.prompt is None or usage.completion is None:
        return None
    provider, listed = entry
    flat = _flat_price(model, at // _MINUTE)
    if flat is not None:
        return flat.cost(usage)
    if (usage.cached or 0) + (usage.written or 0) > usage.prompt:
        return None
    price = listed.calc_price(_genai_usage(usage), provider, genai_request_timestamp=_time(at))
    return math.ceil(Fraction(price.total_price) * 10**9)


def in_batch(prices: Prices) -> Prices:
    """Makes the function of costs of a batch lane: the listed price of batches, else half the
    price, which is what the providers charge for one.

    Args:
        prices: The function of live costs.

    Returns:
        A function like it, rounded up to whole nano-dollars.

    Example:
        >>> from lmflow.messages.replies import Usage
        >>> in_batch(priced({"vllm/qwen": Price(0.5, 1.5)}))("vllm/qwen", Usage(1000, 100), 0)
        325000
    """
    return _batch_cost if prices is cost_of else functools.partial(_half, prices)


def _half(prices: Prices, model: str, usage: Usage, at: int) -> int | None:
    cost = prices(model, usage, at)
    return None if cost is None else math.ceil(Fraction(cost, 2))


def _batch_cost(model: str, usage: Usage, at: int) -> int | None:
    cost, entry = cost_of(model, usage, at), _price_list_entry(model)
    if cost is None:
        return None
    half = math.ceil(Fraction(cost, 2))
    if entry is None or not entry[1].price_variants:
        return half
    price = entry[1].calc_price(
        _genai_usage(usage),
        entry[0],
        genai_request_timestamp=_time(at),
        price_context={"processing": "batch"},
    )
    # Without a batch price at that time the list gives the live one.
    listed = math.ceil(Fraction(price.total_price) * 10**9)
    return listed if listed < cost else half


def price_of(model: str, at: int) -> Price | None:
    """Finds the highest price at which a model's tokens may be charged, whatever the tier: budgets
    reserve by it.

    Args:
        model: ``provider/model``.
        at: The time of the call, in nanoseconds since the epoch.

    Returns:
        The price; a price of 0 for local models; ``None`` if no price is known.
    """
    if model.partition("/")[0] in FREE:
        return Price(0, 0)
    entry = _price_list_entry(model)
    if entry is None:
        return None
    listed = entry[1].get_prices(_time(at))
    top = {
        name: _highest(getattr(listed, f"{name}_mtok", None))
        for name in ("input", "output", "cache_read", "cache_write")
    }
    if top["input"] is None:
        return None
    return Price(top["input"], top["output"] or 0, top["cache_read"], top["cache_write"])


def priced(prices: Mapping[str, Price], others: Prices = cost_of) -> Prices:
    """Makes a function of costs that uses the given prices.

    Args:
        prices: Prices by model name (``provider/model``).
        others: Computes the cost of all other models, by default ``cost_of``.

    Returns:
        A function like ``cost_of``, for the executor's ``prices``.

    Example:
        >>> import lmflow as lf
        >>> cost = lf.priced({"vllm/qwen": lf.Price(0.5, 1.5)})
        >>> from lmflow.messages.replies import Usage
        >>> cost("vllm/qwen", Usage(prompt=1000, completion=100), 0)
        650000
    """

    def cost(model: str, usage: Usage, at: int) -> int | None:
        return prices[model].cost(usage) if model in prices else others(model, usage, at)

    return cost


@functools.lru_cache(maxsize=1024)
def _price_list_entry(model: str) -> tuple[Any, Any] | None:
    """The provider and the model in the price list; ``None`` if the list lacks one of them."""
    provider, _, name = model.partition("/")
    if provider == "litellm":
        provider, _, name = name.partition("/")
        provider = _LITELLM_PROVIDERS.get(provider, provider)
    else:
        provider = _PROVIDERS.get(provider, "")
    if not provider or not name:
        return None
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - slow to import

    try:
        return get_snapshot().find_provider_model(name, None, provider, None)
    except LookupError:
        return None


@functools.lru_cache(maxsize=1024)
def _flat_price(model: str, minute: int) -> Price | None:
    """The listed prices as one ``Price``; ``None`` if the list has tiers, or a fee a request."""
    # A shortcut for speed, since the package takes many times as long for the same sum. It is
    # cached by the minute, because listed prices change at whole minutes.
    entry = _price_list_entry(model)
    if entry is None:
        return None
    listed = entry[1].get_prices(_time(minute * _MINUTE))
    prices = [getattr(listed, name, None) for name in _LISTED_FIELDS]
    flat = all(price is None or isinstance(price, Decimal) for price in prices)
    if prices[0] is None or not flat or getattr(listed, "requests_kcount", None) is not None:
        return None
    return Price(prices[0], prices[1] or 0, prices[2], prices[3])


def _genai_usage(usage: Usage) -> Any:
    from genai_prices import Usage as GenaiUsage  # noqa: PLC0415 - see above

    return GenaiUsage(
        input_tokens=usage.prompt,
        output_tokens=usage.completion,
        cache_read_tokens=usage.cached or 0,
        cache_write_tokens=usage.written or 0,
    )


def _time(at: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at // 10**9, dt.UTC)


def _highest(price: Any) -> Decimal | None:
    if price is None or isinstance(price, Decimal):
        return price
    tiers: list[Decimal] = [price.base, *(tier.price for tier in price.tiers)]
    return max(tiers)
