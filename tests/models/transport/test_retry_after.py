"""The laws of waits: wherever a server says how long, it is heeded, and nonsense is not."""

import time
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.models.transport.responses import Server
from lmflow.models.transport.retry_after import retry_seconds

RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "20s"}


@pytest.mark.parametrize(
    ("seconds", "headers"),
    [
        (20.0, {"retry-after": "20"}),
        (1.5, {"retry-after": "1.5"}),
        (0.0, {"retry-after": "0"}),
        (0.75, {"retry-after-ms": "750", "retry-after": "1"}),
        (2.5, {"x-ms-retry-after-ms": "2500"}),
        (62.5, {"retry-after": "1m2.5s"}),
        (3.0, {"retry-after-ms": "soon", "retry-after": "3"}),
        (0.0, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    ],
)
def test_headers_say_how_long(seconds: float, headers: dict[str, str]) -> None:
    """Milliseconds, seconds and durations are seconds; a date that has passed is now."""
    assert seconds == retry_seconds(headers, {}, "")


def test_a_date_is_a_wait_from_now() -> None:
    """``Retry-After`` may be an HTTP date (RFC 9110, 10.2.3)."""
    headers = {"retry-after": formatdate(time.time() + 20, usegmt=True)}
    seconds = retry_seconds(headers, {}, "")
    assert seconds is not None
    assert 18 <= seconds <= 20


@pytest.mark.parametrize("scale", [1, 1000])
def test_a_time_is_a_wait_from_now(scale: int) -> None:
    """A time in seconds or milliseconds since 1970 and an ISO date are waits, in headers or body."""
    moment = time.time() + 20
    times = (str(round(moment * scale)), datetime.fromtimestamp(moment, UTC).isoformat())
    for value in times:
        for headers, body in (({"retry-after": value}, {}), ({}, {"X-RateLimit-Reset": value})):
            assert 20 == pytest.approx(retry_seconds(headers, body, ""), abs=2)


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        # Gemini: "Rate limits", ai.google.dev; google.rpc.RetryInfo
        (20.0, {"details": [{"@type": "x"}, RETRY_INFO]}),
        (0.5, {"retry_after_ms": 500}),
        (7.0, {"retry_after": 7}),
        (7.25, {"retry_after": "7.25"}),
        (12.0, {"metadata": {"retry_after_seconds": 12}}),
        (17.0, {"error": {"message": "slow"}, "retry_after": 17}),
        (17.0, {"error": {"metadata": {"headers": {"Retry-After": "17"}}}}),
        (17.0, {"details": [{"retryDelay": {"seconds": 17, "nanos": 0}}]}),
    ],
)
def test_an_error_says_how_long(seconds: float, error: dict[str, Any]) -> None:
    """The error's own fields are heeded if no header says anything."""
    assert seconds == retry_seconds({}, error, "")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        # OpenAI, Groq: "Rate limit reached for ... Please try again in ..."
        (20.0, "Rate limit reached on requests per min. Limit: 3. Please try again in 20s."),
        (0.156, "Please try again in 156ms. Visit platform.openai.com"),
        (62.5, "Please try again in 1m2.5s."),
        (6.0, "Requests are limited. Please retry after 6 seconds."),
        (120.0, "Please wait 2 minutes before the next request."),
        (36.5, "Please retry in 36.5s."),
    ],
)
def test_words_say_how_long(seconds: float, words: str) -> None:
    """The words of an error are heeded last."""
    assert seconds == pytest.approx(retry_seconds({}, {}, words))


@pytest.mark.parametrize("value", ["", "soon", "-1", "nan", "inf", "9" * 400, "1e9", "١٢"])
def test_nonsense_is_no_wait(value: str) -> None:
    """A wait that isn't a possible number of seconds is none."""
    assert retry_seconds({"retry-after": value}, {"retry_after": value}, value) is None


@pytest.mark.parametrize("value", [True, None, [], {}, -1, 10**400, float("nan"), float("inf")])
def test_a_field_of_another_type_is_no_wait(value: Any) -> None:
    """Whatever stands in an error's field, it is a wait or none."""
    assert retry_seconds({}, {"retry_after": value, "details": value}, "") is None


@given(
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), st.text()),
    st.recursive(st.none() | st.floats() | st.text(), st.lists),
    st.text(),
)
def test_any_answer_has_a_wait_or_none(headers: dict[str, str], field: Any, words: str) -> None:
    """Whatever a server writes, a wait is a possible one."""
    seconds = retry_seconds(headers, {"retry_after": field, "details": field}, words)
    assert seconds is None or 0 <= seconds <= 7 * 24 * 3600


def test_a_failure_has_the_wait_of_its_body() -> None:
    """Gemini's errors come as a list of one, whose details say how long to wait."""
    error = {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED"}
    body = [{"error": {**error, "details": [RETRY_INFO]}}]
    failed = Server("openai/m", "host").failed(429, body, "", {})
    assert ("rate_limit", 20.0) == (failed.kind, failed.retry_after)
