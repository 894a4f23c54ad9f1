"""Money and scores in lists."""

from __future__ import annotations

from collections.abc import Mapping

UNKNOWN = "?"
"""What stands for a price that nobody knows."""

_LARGE = 100
"""Dollars from which on nobody counts the parts of a cent."""


def dollars(usd: float | None, unpriced: int = 0) -> str:
    """Return an amount in dollars; ``+?`` says that the price of some calls is unknown.

    Args:
        usd: The sum of the known prices, ``None`` if there is none.
        unpriced: The number of calls without a known price.
    """
    if usd is None:
        return UNKNOWN if unpriced else ""
    digits = 2 if usd >= _LARGE else 6
    whole, _, cents = f"{usd:.{digits}f}".partition(".")
    amount = f"${whole}.{cents.rstrip('0'):0<2}"
    return f"{amount}+{UNKNOWN}" if unpriced else amount


def mean_scores(means: Mapping[str, float]) -> str:
    """Return the means of scores by name: of a single score the number, else each with its name."""
    if len(means) == 1:
        return "".join(f"{mean:.3g}" for mean in means.values())
    return ", ".join(f"{name} {mean:.3g}" for name, mean in means.items())
