"""Waits that servers ask for, in headers or in the body of an error."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
_SECONDS = ("retry-after", "x-retry-after", "x-ratelimit-reset-after")
_BODY_SECONDS = ("retry_after", "retryAfter", "retry_after_seconds", "retryDelay", "retry_delay")
_BODY_MILLISECONDS = ("retry_after_ms", "retryAfterMs")
_LONGEST = 7 * 24 * 3600.0
"""A longer wait, or one that isn't a number, is taken for nonsense."""
_UNITS = {"ms": 0.001, "mil": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|mil|[smhd])", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"\s*\d{1,30}(?:\.\d{0,30})?\s*", re.ASCII)
_WORDS = re.compile(
    r"(?:try again|retry|wait)\D{0,40}?"
    r"((?:\d+(?:\.\d+)?(?:ms|[smhd]))+\b|\d+(?:\.\d+)?\s*(?:milli)?(?:sec|min|hour)\w*)",
    re.ASCII | re.IGNORECASE,
)
_SEARCHED_CHARACTERS = 2000


def retry_seconds(headers: Mapping[str, str], error: Mapping[str, Any], words: str) -> float | None:
    """The seconds until a retry makes sense, ``None`` if the server doesn't say.

    ``headers`` have lower-case names. In their order: a header in milliseconds, ``Retry-After`` in
    seconds or as an HTTP date (RFC 9110, 10.2.3), a field of the error object (Google's
    ``RetryInfo``, ``retry_after``), and the error's words ("Please try again in 1m2.5s").
    """
    return next(filter(_is_possible, _candidates(headers, error, words)), None)


def _is_possible(seconds: float | None) -> bool:
    return seconds is not None and 0.0 <= seconds <= _LONGEST


def _candidates(
    headers: Mapping[str, str], error: Mapping[str, Any], words: str
) -> Iterator[float | None]:
    for name in _MILLISECONDS:
        yield _scaled(_number(headers.get(name)), 0.001)
    for name in _SECONDS:
        value = headers.get(name)
        yield _seconds(value)
        yield _until_date(value)
    yield from _in_fields(error)
    yield _in_words(words[:_SEARCHED_CHARACTERS])


def _in_fields(error: Mapping[str, Any]) -> Iterator[float | None]:
    """The waits in an error object, its ``details`` and its ``metadata``."""
    details = error.get("details")
    parts = [error, error.get("metadata"), *(details if isinstance(details, list) else [details])]
    for part in parts:
        if not isinstance(part, Mapping):
            continue
        for name in _BODY_MILLISECONDS:
            yield _scaled(_number(part.get(name)), 0.001)
        for name in _BODY_SECONDS:
            yield _seconds(part.get(name))


def _in_words(words: str) -> float | None:
    match = _WORDS.search(words)
    return None if match is None else _parts_of(match.group(1))


def _seconds(value: Any) -> float | None:
    """The seconds of a number, or of a duration such as ``20s`` or ``1m2.5s``."""
    number = _number(value)
    if number is None and isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        return _parts_of(value)
    return number


def _parts_of(duration: str) -> float:
    return sum(float(number) * _UNITS[unit.lower()] for number, unit in _PART.findall(duration))


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return None
    if not isinstance(value, (int, float, str)):
        return None
    number = float(value) if isinstance(value, (float, str)) or value < 2**63 else math.inf
    return number if math.isfinite(number) else None


def _scaled(number: float | None, unit: float) -> float | None:
    return None if number is None else number * unit


def _until_date(value: str | None) -> float | None:
    """The seconds until an HTTP date, 0 if the date has passed."""
    try:
        moment = parsedate_to_datetime(value or "")
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
