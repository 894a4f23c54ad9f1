"""Times as people write them, in UTC: ``2026-11-23``, ``2026-11-23T10:30+01:00``, ``7d`` ago."""

from __future__ import annotations

import datetime as dt
import re

_AGO = re.compile(r"(\d{1,6})(s|m|h|d|w)")
_MOMENT = re.compile(
    r"(?P<text>\d{4}(?:-\d\d(?:-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d)?)?)?)?)?)"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?"
)
_LOWEST = "0001-01-01T00:00:00"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BILLION = 1_000_000_000


def iso_text(at: int) -> str:
    """Return nanoseconds since the epoch as ISO 8601 in UTC, to the second."""
    moment = dt.datetime.fromtimestamp(at // _BILLION, dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def period_text(text: str, now: int | None = None) -> str:
    """Return a time as the beginning of ISO 8601 texts in UTC: ``2026-11`` means that month.

    Args:
        text: A year, month, day, minute or second, with an offset from UTC if it has an hour; or,
            if ``now`` is given, ``today``, ``yesterday``, or an age such as ``7d`` or ``12h``.
        now: The present, in nanoseconds since the epoch, from which ages count.

    Raises:
        ValueError: If the text is no time.
    """
    relative = None if now is None else _relative_text(text.strip().lower(), now)
    if relative is not None:
        return relative
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        msg = f"{text!r} is not a time: write 2026-11-23, 2026-11-23T10:30 (UTC) or 7d (ago)"
        raise ValueError(msg)
    period = match["text"].replace(" ", "T")
    filled = _filled(period)
    if match["zone"] in {None, "Z"}:
        return period
    if len(period) <= len("2026-11-23"):
        msg = f"{text!r} has an offset from UTC and no hour"
        raise ValueError(msg)
    utc = filled.replace(tzinfo=dt.datetime.fromisoformat(f"{_LOWEST}{match['zone']}").tzinfo)
    return utc.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")[: len(period)]


def period_end(period: str) -> int:
    """Return the first nanosecond since the epoch after a period of ``period_text``."""
    start = _filled(period).replace(tzinfo=dt.UTC)
    size = len(period)
    if size == len("2026"):
        end = start.replace(year=start.year + 1)
    elif size == len("2026-11"):
        end = (start + dt.timedelta(days=31)).replace(day=1)
    else:
        lengths = {10: dt.timedelta(days=1), 13: dt.timedelta(hours=1), 16: dt.timedelta(minutes=1)}
        end = start + lengths.get(size, dt.timedelta(seconds=1))
    return int(end.timestamp()) * _BILLION


def _filled(period: str) -> dt.datetime:
    """Return the first moment of a period; ``ValueError`` if no calendar has it."""
    return dt.datetime.fromisoformat(period + _LOWEST[len(period) :])


def _relative_text(text: str, now: int) -> str | None:
    if text in {"today", "yesterday"}:
        days = 1 if text == "yesterday" else 0
        return iso_text(now - days * 86400 * _BILLION)[: len("2026-11-23")]
    match = _AGO.fullmatch(text)
    if match is None:
        return None
    age = int(match[1]) * _SECONDS[match[2]] * _BILLION
    return iso_text(max(0, now - age))
