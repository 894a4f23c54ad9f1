"""The laws of JSON from servers: what is cut is told from what is broken, and pairs are joined."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.models.transport.json_text import is_cut_json, join_surrogates, scrub

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=5), VALUES, min_size=1, max_size=3)


@given(OBJECTS, st.booleans(), st.data())
def test_every_beginning_of_an_object_is_cut(
    value: dict[str, Any],
    ascii_only: bool,  # noqa: FBT001 - drawn
    data: st.DataObject,
) -> None:
    """Wherever an object is cut, the text shows it."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    end = data.draw(st.integers(1, len(text) - 1))
    assert is_cut_json(text[:end])


@given(VALUES)
def test_a_whole_value_is_not_cut(value: Any) -> None:
    """A value that can be read has its end."""
    assert not is_cut_json(json.dumps(value))


@pytest.mark.parametrize(
    "text", ["", "  ", "not json", '{"city": Paris}', '{"a": 1}}', "{'a': 1}", '{"a": "b\nc"}']
)
def test_a_broken_value_is_not_cut(text: str) -> None:
    """A text that no end would mend is broken, not cut; raw line breaks are neither."""
    assert not is_cut_json(text)


@given(st.text(), st.integers(0, 40))
def test_a_pair_in_two_pieces_is_its_character(text: str, at: int) -> None:
    """Surrogates that come one by one are joined to the text that was meant."""
    units = text.encode("utf-16-le")
    halves = (units[: 2 * at], units[2 * at :])
    pieces = [half.decode("utf-16-le", "surrogatepass") for half in halves]
    assert text == join_surrogates("".join(pieces))


def test_half_a_pair_is_a_question_mark() -> None:
    """A surrogate without its other half can't be encoded, so it is replaced."""
    assert "a?b?" == join_surrogates("a\ud83db\ude00")


def test_a_value_nested_too_deep_is_refused() -> None:
    """A value that no store could encode is an error of values, not of the interpreter."""
    value: Any = "deep"
    for _ in range(5000):
        value = [value]
    with pytest.raises(ValueError, match="nested too deep"):
        scrub(value, "")
