"""Facts as short words: times, durations and amounts."""

from __future__ import annotations

import datetime as dt

_MINUTES_FROM = 90  # seconds
_HOURS_FROM = 90  # minutes

LINE_WIDTH = 100
"""The characters of a line that shows a value."""


def when(at: int) -> str:
    """Return a time in nanoseconds as date and time of UTC, as in all lists; empty for 0."""
    if not at:
        return ""
    return dt.datetime.fromtimestamp(at / 1e9, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 call``, ``2 calls``; ``plural`` if it is no ``s`` more."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def took(nanoseconds: float) -> str:
    """Return a duration in the unit that suits it: ``9 ms``, ``1.24 s``, ``3 min 5 s``."""
    seconds = nanoseconds / 1e9
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < _MINUTES_FROM:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"  # noqa: PLR2004
    minutes, rest = divmod(round(seconds), 60)
    if minutes < _HOURS_FROM:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
