"""The laws of JSON in text: found wherever it stands, mended where its meaning is plain, never
guessed.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from lmflow.values.json_text import candidates, load


@given(json_values)
def test_json_is_read_as_it_is(value: Any) -> None:
    """A text that is JSON is that value."""
    assert repr(value) == repr(load(json.dumps(value)))


@given(st.text(alphabet="{}[]\"':,\\ntrue1.e-` \ud800\0/*#", max_size=40), st.booleans())
def test_any_text_is_json_or_a_value_error(text: str, whole: bool) -> None:  # noqa: FBT001
    """Whatever the text, there is a JSON value in it, or a ValueError says that there is none."""
    try:
        json.dumps(load(text, whole=whole), allow_nan=False)
    except ValueError as problem:
        assert str(problem)  # noqa: PT017


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ({"a": 1}, '```json\n{"a": 1}\n```'),
        ({"a": 1}, 'Here it is:\n```\n{"a": 1}\n```\nDone.'),
        ({"a": 1}, 'Sure! {"a": 1} I hope that helps {you}.'),
        ({"a": {"b": 2}}, '{"a": {"b": 2}'),
        ({"a": "it's"}, "{'a': \"it's\"}"),
        ({"a": True, "b": None}, "{'a': True, 'b': None}"),
        ({"a": [1, 2]}, '{"a": [1, 2,],}'),
        ({"a": "one\ntwo"}, '{"a": "one\ntwo"}'),
        ({"b": [{"c": 1}]}, 'So: {"b": [{"c": 1}]'),
        ({"a": 1}, "{you} see: {a: 1}"),
        ([1, 2], "The list is [1, 2]."),
        ("text", '"text"'),
        (3, "3"),
    ],
)
def test_json_is_found_and_mended(expected: Any, text: str) -> None:
    """Fences, prose, quotes, commas, line ends and a missing brace are no obstacle."""
    assert expected == load(text)


@pytest.mark.parametrize(
    "text", ["", "no", "NaN", '{"a": Infinity}x', "[" * 5000, '{"a":' * 5000, "{" + "x" * 100_001]
)
def test_what_is_no_json_is_refused(text: str) -> None:
    """What has no JSON value, is nested too deeply or too long to be mended is a ValueError."""
    with pytest.raises(ValueError, match="JSON"):
        load(text)


def test_what_was_cut_is_not_made_up() -> None:
    """A reply that was cut is not completed."""
    with pytest.raises(ValueError, match="cut off"):
        load('{"a": [1, 2', whole=False)
    assert {"a": 1} == load('{"a": 1}', whole=False)


def test_the_candidates_come_in_order() -> None:
    """All values in a text are offered, and no part of one is another."""
    found = []
    with pytest.raises(ValueError, match=r"\w"):  # noqa: PT012 - what comes before it is what counts
        for value in candidates('{"a": {"b": 1}} {"c": 2}', whole=False):
            found.append(value)  # noqa: PERF402
    assert [{"a": {"b": 1}}, {"c": 2}] == found


@pytest.mark.parametrize("length", [7_500, 20_000])
@pytest.mark.parametrize(
    ("written", "broken"),
    [('"', "'"), ("},", "}"), ("}]", "},]"), ("}]", "}"), (": ", ":"), ('"a": ', "a: ")],
)
def test_ordinary_mistakes_are_mended_in_long_texts_too(
    length: int, written: str, broken: str
) -> None:
    """The bound on what mending costs leaves room for the mistakes that models make."""
    row = {"a": "some words of a sentence", "b": [1, 2.5, None], "c": {"d": True}}
    rows = [row] * (length // len(json.dumps(row)))
    assert rows == load(json.dumps(rows).replace(written, broken))
