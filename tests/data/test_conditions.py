"""The laws of conditions: a field, an operator, a literal; read, never evaluated."""

from __future__ import annotations

import contextlib
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.data.conditions import (
    CALL_KINDS,
    RUN_KINDS,
    STATUSES,
    condition,
    members,
    step_names,
)
from lmflow.errors import BadCondition
from lmflow.traces.calls import CallKind, CallStatus
from lmflow.traces.trace import RunKind, RunStatus
from lmflow.values.moments import iso_text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("score>0.8", ("score", "", ">", 0.8)),
        (" score.helpful  >= 1 ", ("score", "helpful", ">=", 1)),
        ("program=rag", ("program", "", "=", "rag")),
        ("input.lang != en", ("input", "lang", "!=", "en")),
        ('output.answer ~ "a = b"', ("output", "answer", "~", "a = b")),
        ("output.ok = true", ("output", "ok", "=", True)),
        ("output.none = null", ("output", "none", "=", None)),
        ("started >= 2026-11-01", ("started", "", ">=", "2026-11-01")),
        ("output.answer = rewrite >> answer", ("output", "answer", "=", "rewrite >> answer")),
        ("output.list = [1]", ("output", "list", "=", "[1]")),
        ("output.x = 'a\nb", ("output", "x", "=", "'a\nb")),
        ("cost>$0.01", ("cost", "", ">", 0.01)),
        ("version=1e10", ("version", "", "=", "1e10")),
        ("version=main~2", ("version", "", "=", "main~2")),
        ('label="7"', ("label", "", "=", "7")),
        ("started<2026-11-23 10:00+01:00", ("started", "", "<", "2026-11-23T09:00")),
        ("error~rate = 5", ("error", "", "~", "rate = 5")),
    ],
)
def test_a_condition_is_read(text: str, parts: tuple[Any, ...]) -> None:
    """Field, name, operator and literal are what stands there; spaces around them don't count."""
    found = condition(text)
    assert parts == (found.field, found.name, found.operator, found.literal)
    assert type(parts[3]) is type(found.literal)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no field, operator"),
        ("score", "no field, operator"),
        ("score >", "no field, operator"),
        ("> 1", "no field, operator"),
        ("scor > 1", "Did you mean 'score'"),
        ("input = 1", "Did you mean input.FIELD"),
        ("program.x = 1", "'program.x' is not a field"),
        ("secnds > 5", "Did you mean 'seconds'"),
        ("status = faild", "Did you mean 'failed'"),
        ("kind = evalute", "Did you mean 'evaluate'"),
        ("reused = maybe", "reused is one of true, false"),
        ("seconds > soon", "seconds is a number, 'soon' is none"),
        ("cost ~ 1", "cost is a number"),
        ("started > soon", "'soon' is not a time: write 2026-11-23"),
        ("started > 2026-13-01", "month must be in 1..12"),
        ("__import__('os') = 1", "no field, operator"),
        ("score) OR (1 = 1", "no field, operator"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, said: str) -> None:
    """What can't be read is told with what could."""
    with pytest.raises(BadCondition, match=r"Write FIELD OPERATOR LITERAL") as caught:
        condition(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("score>0.8", 0.9, True),
        ("score>0.8", 0.8, False),
        ("score>=1", 1.0, True),
        ("score = 1", 1.0, True),
        ("score = 1", True, False),
        ("score < 1", True, False),
        ("score < 1", "0", False),
        ("output.x = 1", "1", False),
        ('output.x = "1"', "1", True),
        ("output.x = true", True, True),
        ("output.x = true", 1, False),
        ("output.x = null", None, True),
        ("output.x = Paris", "Paris", True),
        ("output.x = Paris", "paris", False),
        ("output.x ~ PAR", "Paris", True),
        ("output.x ~ Paris", ("London", "Paris"), True),
        ("output.x ~ 4", 42, True),
        ("started > 2026-11-24", "2026-11-25T10:00:00", True),
        ("started > 2026-11-26", "2026-11-25T10:00:00", False),
        ("started = 2026-11-25", "2026-11-25T10:00:00", True),
        ("started != 2026-11-25", "2026-11-25T10:00:00", False),
        ("started > 2026-11-25", "2026-11-25T10:00:00", False),
        ("started <= 2026-11-25", "2026-11-25T10:00:00", True),
        ("started >= 2026-11-25T11", "2026-11-25T10:00:00", False),
        ("started ~ -25T10", "2026-11-25T10:00:00", True),
    ],
)
def test_a_condition_holds(text: str, value: Any, *, holds: bool) -> None:
    """Numbers compare as numbers, texts as texts, and neither with the other."""
    assert holds == condition(text).holds([value])


def test_an_age_counts_from_now() -> None:
    """``7d`` is a week ago; without a present there are no ages."""
    now = 1_795_000_000 * 10**9
    week_ago = iso_text(now - 7 * 86_400 * 10**9)
    assert week_ago == condition("started >= 7d", now).literal
    assert iso_text(now)[:10] == condition("started = today", now).literal
    with pytest.raises(BadCondition, match="'7d' is not a time"):
        condition("started >= 7d")


def test_the_kinds_are_those_of_runs_and_calls() -> None:
    """A condition knows each kind of run and call, and each state."""
    assert get_args(RunKind) == RUN_KINDS
    assert get_args(CallKind) == CALL_KINDS
    assert {*get_args(RunStatus), *get_args(CallStatus)} == set(STATUSES)


def test_inner_fields_are_read() -> None:
    """A name with dots is a field, or one inside another."""
    record = {"place": {"city": {"name": "Paris"}}, "a.b": 1, "a": {"b": 2}}
    assert ["Paris"] == members(record, "place.city.name")
    assert [1] == members(record, "a.b")
    assert [] == members(record, "place.town")
    assert [] == members(record, "place.city.name.first")


def test_a_step_is_named_by_its_frames() -> None:
    """The innermost frame alone, or after those that it is in."""
    assert ["answer", "draft.answer"] == step_names("draft[0]/answer[2]/call[0]")
    assert [] == step_names("call[0]")


def test_of_several_values_one_is_enough() -> None:
    """An execution that asked two models fits either; ``!=`` means neither."""
    assert condition("model = b").holds(["a", "b"])
    assert not condition("model != b").holds(["a", "b"])
    assert condition("model != c").holds(["a", "b"])


def test_what_is_not_there_equals_nothing() -> None:
    """Without a value nothing holds but ``!=``."""
    assert [False] * 6 == [
        condition(f"output.x {op} 1").holds([]) for op in ("=", ">", ">=", "<", "<=", "~")
    ]
    assert condition("output.x != 1").holds([])


@given(st.text(), st.sampled_from(["=", "!=", ">", ">=", "<", "<=", "~"]))
def test_any_text_is_read_or_refused(text: str, operator: str) -> None:
    """Whatever is written, nothing else than ``BadCondition`` comes of it."""
    for whole in (text, f"input.x {operator} {text}"):
        with contextlib.suppress(BadCondition):
            condition(whole).holds([text, 1, None, True, ("x",)])


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_order_is_that_of_numbers(a: float, b: float) -> None:
    """``>`` and ``<=`` part the numbers."""
    assert (a > b) == condition(f"score > {b!r}").holds([a])
    assert condition(f"score > {b!r}").holds([a]) != condition(f"score <= {b!r}").holds([a])
