"""Waits that servers ask for, in headers or in the body of an error."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
_SECONDS = ("retry-after", "x-retry-after", "x-ratelimit-reset-after")
# Names in a body, in lower case and without separators.
_BODY_SECONDS = frozenset({
    "retryafter", "retryafterseconds", "retrydelay", "xretryafter", "xratelimitreset",
})  # fmt: skip
_BODY_MILLISECONDS = frozenset({"retryafterms", "retryaftermilliseconds"})
_DEEPEST, _MOST_PARTS = 6, 100
_EPOCH = 1e9
"""A greater number is a time: seconds since 1970, or milliseconds if it is greater than 1e12."""
_LONGEST = 7 * 24 * 3600.0
"""A longer wait, or one that isn't a number, is taken for nonsense."""
_UNITS = {"ms": 0.001, "mil": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|mil|[smhd])", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"\s*\d{1,30}(?:\.\d{0,30})?\s*", re.ASCII)
_WORDS = re.compile(
    r"(?:try again|retry|wait|resets?)\D{0,40}?"
    r"((?:\d+(?:\.\d+)?(?:ms|[smhd]))+\b|\d+(?:\.\d+)?\s*(?:milli)?(?:sec|min|hour)\w*)",
    re.ASCII | re.IGNORECASE,
)
_SEARCHED_CHARACTERS = 2000


def retry_seconds(headers: Mapping[str, str], body: Any, words: str) -> float | None:
    """The seconds until a retry makes sense, ``None`` if the server doesn't say.

    ``headers`` have lower-case names. In their order: a header in milliseconds, ``Retry-After`` in
    seconds or as a date (RFC 9110, 10.2.3), a field of the body (Google's ``RetryInfo``,
    ``retry_after``), and the error's words ("Please try again in 1m2.5s").
    """
    return next(filter(_is_possible, _candidates(headers, body, words)), None)


def _is_possible(seconds: float | None) -> bool:
    return seconds is not None and 0.0 <= seconds <= _LONGEST


def _candidates(headers: Mapping[str, str], body: Any, words: str) -> Iterator[float | None]:
    for name in _MILLISECONDS:
        yield _scaled(_number(headers.get(name)), 0.001)
    for name in _SECONDS:
        yield _seconds(headers.get(name))
    yield from _in_fields(body)
    yield _in_words(words[:_SEARCHED_CHARACTERS])


def _in_fields(body: Any) -> Iterator[float | None]:
    """The waits in the fields of a body, the outer ones first."""
    parts: list[Any] = [body]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for part in parts[:_MOST_PARTS]:
            if isinstance(part, Mapping):
                yield from _in_members(part)
                inner += part.values()
            elif isinstance(part, list):
                inner += part
        parts = inner


def _in_members(part: Mapping[str, Any]) -> Iterator[float | None]:
    for name, value in part.items():
        plain_name = re.sub(r"[_-]", "", str(name)).lower()
        if plain_name in _BODY_MILLISECONDS:
            yield _scaled(_number(value), 0.001)
        elif plain_name in _BODY_SECONDS:
            # Google's durations in protobuf are objects.
            yield _seconds(value.get("seconds") if isinstance(value, Mapping) else value)


def _in_words(words: str) -> float | None:
    match = _WORDS.search(words)
    return None if match is None else _parts_of(match.group(1))


def _seconds(value: Any) -> float | None:
    """The seconds of a number, of a duration such as ``20s`` or ``1m2.5s``, or until a time."""
    number = _number(value)
    if number is not None and number > _EPOCH:
        return _until(number if number < _EPOCH * 1000 else number / 1000)
    if number is None and isinstance(value, str):
        if _DURATION.fullmatch(value.strip()):
            return _parts_of(value)
        return _until_date(value)
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


def _until_date(value: str) -> float | None:
    """The seconds until a date, as HTTP or ISO 8601 write it; 0 if the date has passed."""
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return _until(moment.timestamp())
    except (ValueError, OverflowError):
        return None


def _until(moment: float) -> float:
    return max(0.0, moment - time.time())
