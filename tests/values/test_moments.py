"""The laws of times as people write them."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.values.moments import iso_text, period_end, period_text

NANO = 10**9
moments = st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2200, 1, 1))  # noqa: DTZ001 - UTC


@given(moments, st.sampled_from([4, 7, 10, 13, 16, 19]))
def test_a_period_holds_its_moments(moment: dt.datetime, size: int) -> None:
    """The beginning of a time's text is a period that the time is in, and its end is after it."""
    at = int(moment.replace(tzinfo=dt.UTC, microsecond=0).timestamp()) * NANO
    period = period_text(iso_text(at)[:size])
    assert iso_text(at).startswith(period)
    assert at < period_end(period)
    assert not iso_text(period_end(period)).startswith(period)


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("2026-11-23", "2026-11-23"),
        (" 2026-11-23 10:30 ", "2026-11-23T10:30"),
        ("2026-11-23T10:30Z", "2026-11-23T10:30"),
        ("2026-11-23T00:30+01:00", "2026-11-22T23:30"),
        ("2026-12-31T23-05:30", "2027-01-01T04"),
        ("2026", "2026"),
    ],
)
def test_a_time_is_read_in_utc(text: str, period: str) -> None:
    """An offset is taken away; without one a time is UTC."""
    assert period == period_text(text)


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-13", "2026-02-30", "26-01-01", "2026-11-23+01:00", "7d"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """A text that no calendar has is a ``ValueError``."""
    with pytest.raises(ValueError, match=r"."):
        period_text(text)


def test_ages_count_from_the_present() -> None:
    """Seconds to weeks ago, and the days today and yesterday."""
    now = 20_780 * 86_400 * NANO + 5 * NANO
    assert "2026-11-23T00:00:05" == period_text("0s", now)
    assert "2026-11-22T00:00:05" == period_text("24h", now)
    assert "2026-11-09T00:00:05" == period_text("2w", now)
    assert "2026-11-23" == period_text("today", now)
    assert "2026-11-22" == period_text("Yesterday", now)
    assert "1970-01-01T00:00:00" == period_text("999999w", now)
