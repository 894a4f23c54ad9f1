"""Times as other systems write them."""

from __future__ import annotations

import datetime as dt
from typing import Any


def nanoseconds(value: Any) -> int:
    """Return a time in nanoseconds since the epoch: of ISO 8601, or of a number of seconds,
    milliseconds, microseconds or nanoseconds; 0 of anything else.
    """
    if isinstance(value, bool):
        return 0
    if isinstance(value, (int, float)):
        return _of_number(value)
    if not isinstance(value, str):
        return 0
    try:
        moment = dt.datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        return 0
    return (since // dt.timedelta(microseconds=1)) * 1000


def _of_number(value: float) -> int:
    try:
        for limit, factor in ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3)):
            if abs(value) < limit:
                return int(value * factor)
        return int(value)
    except (OverflowError, ValueError):
        return 0
