"""Facts as short words: times, durations and amounts."""

from __future__ import annotations

import datetime as dt
import math

LINE_WIDTH = 100
"""The characters of a line that shows a value."""


def when(at: int) -> str:
    """Return a time in nanoseconds as local date and time; empty for 0."""
    if not at:
        return ""
    return dt.datetime.fromtimestamp(at / 1e9, tz=dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 call``, ``2 calls``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def dollars(nano: int) -> str:
    """Return nano-dollars as dollars, with two digits that count: ``$0.00042``, ``$1,234.50``."""
    amount = nano / 1e9
    if not nano or amount >= 1:
        return f"${amount:,.2f}"
    decimals = 1 - math.floor(math.log10(amount))
    return f"${amount:.{max(2, decimals)}f}"
