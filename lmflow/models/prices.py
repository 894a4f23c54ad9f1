"""What a call costs: prices of models, and the cost of a usage in whole nano-dollars."""

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
_NANO = 1000  # nano-dollars a token for a dollar a million tokens
_PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure",
    "openrouter": "openrouter",
}
_MINUTE = 60 * 10**9
_PARTS = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
_RENAMED = {
    "gemini": "google",
    "vertex_ai": "google",
    "xai": "x-ai",
    "bedrock": "aws",
    "together_ai": "together",
}

Prices = Callable[[str, Usage, int], int | None]


def _dollars(value: Decimal | float | str | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _given(value: Decimal | float | str) -> Decimal:
    return Decimal(str(value))


@attrs.frozen
class Price:
    """Dollars a million tokens. Without a price of their own, cached and written tokens cost what
    others do.
    """

    input: Decimal = attrs.field(converter=_given)
    output: Decimal = attrs.field(converter=_given)
    cached: Decimal | None = attrs.field(default=None, converter=_dollars)
    written: Decimal | None = attrs.field(default=None, converter=_dollars)

    def cost(self, usage: Usage) -> int | None:
        """The cost in nano-dollars, a part of one rounded up; ``None`` where the usage doesn't say
        how many tokens.
        """
        cached, written = usage.cached or 0, usage.written or 0
        if usage.prompt is None or usage.completion is None or cached + written > usage.prompt:
            return None
        parts = (
            (usage.prompt - cached - written, self.input),
            (cached, self.input if self.cached is None else self.cached),
            (written, self.input if self.written is None else self.written),
            (usage.completion, self.output),
        )
        return math.ceil(sum(tokens * Fraction(price) for tokens, price in parts) * _NANO)


def cost_of(model: str, usage: Usage, at: int) -> int | None:
    """What a usage of ``provider/model`` cost at a time (ns since the epoch), in nano-dollars, a
    part rounded up.

    By the price list of the package genai-prices as it is installed (nothing is fetched), with its
    tiers and its prices of cached and written tokens. ``None`` where the price or the number of
    tokens isn't known; 0 for local models.
    """
    if model.partition("/")[0] in FREE:
        return 0
    known = _known(model)
    if known is None or usage.prompt is None or usage.completion is None:
        return None
    provider, listed = known
    if (flat := _flat(model, at // _MINUTE)) is not None:
        return flat.cost(usage)
    if (usage.cached or 0) + (usage.written or 0) > usage.prompt:
        return None
    found = listed.calc_price(_counted(usage), provider, genai_request_timestamp=_time(at))
    return math.ceil(Fraction(found.total_price) * 10**9)


def price_of(model: str, at: int) -> Price | None:
    """The highest price at which a model's tokens may be charged at a time, whatever the tier: what
    to reserve by.

    ``None`` where none is known; 0 for local models.
    """
    if model.partition("/")[0] in FREE:
        return Price(0, 0)
    known = _known(model)
    if known is None:
        return None
    listed = known[1].get_prices(_time(at))
    top = {
        name: _highest(getattr(listed, f"{name}_mtok", None))
        for name in ("input", "output", "cache_read", "cache_write")
    }
    if top["input"] is None:
        return None
    return Price(top["input"], top["output"] or 0, top["cache_read"], top["cache_write"])


def priced(prices: Mapping[str, Price], others: Prices = cost_of) -> Prices:
    """Costs by prices of one's own, for the model names that have one, else by ``others``."""

    def cost(model: str, usage: Usage, at: int) -> int | None:
        return prices[model].cost(usage) if model in prices else others(model, usage, at)

    return cost


@functools.lru_cache(maxsize=1024)
def _known(model: str) -> tuple[Any, Any] | None:
    """The provider and the model in the price list."""
    provider, _, name = model.partition("/")
    if provider == "litellm":
        provider, _, name = name.partition("/")
        provider = _RENAMED.get(provider, provider)
    else:
        provider = _PROVIDERS.get(provider, "")
    if not provider or not name:
        return None
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - slow to import, and only who pays needs it

    try:
        return get_snapshot().find_provider_model(name, None, provider, None)
    except LookupError:
        return None


@functools.lru_cache(maxsize=1024)
def _flat(model: str, minute: int) -> Price | None:
    """The listed prices as one price, ``None`` where they are more than that: tiers, or a fee for
    each request.

    Only to be quick: the package takes many times as long for the same sum. Listed prices change at
    whole minutes.
    """
    known = _known(model)
    if known is None:
        return None
    prices = known[1].get_prices(_time(minute * _MINUTE))
    parts = [getattr(prices, name, None) for name in _PARTS]
    plain = all(part is None or isinstance(part, Decimal) for part in parts)
    if parts[0] is None or not plain or getattr(prices, "requests_kcount", None) is not None:
        return None
    return Price(parts[0], parts[1] or 0, parts[2], parts[3])


def _counted(usage: Usage) -> Any:
    from genai_prices import Usage as Counted  # noqa: PLC0415 - see above

    return Counted(
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
