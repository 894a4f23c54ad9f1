"""Facts as short words: times, durations and amounts."""

from __future__ import annotations

import datetime as dt

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
