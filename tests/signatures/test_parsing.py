"""The laws of types: their text, conversion and the lax reading of what models write."""

from __future__ import annotations

import ast
import datetime as dt
import enum
from typing import Annotated, Any, Literal, Optional

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import types

from lmflow.signatures.parsing import convert, fit, read, type_of_node, type_text
from lmflow.values.record import Record


class Colour(enum.Enum):
    """Two colours."""

    RED = "r"
    BLUE = "b"


@attrs.frozen
class Point:
    """A point."""

    x: int
    label: str = ""


@given(types)
def test_a_type_reads_what_it_writes(kind: Any) -> None:
    """Reading a type's text gives the type."""
    assert kind == type_of_node(ast.parse(type_text(kind), mode="eval").body, {})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("None", None),
        ("None", type(None)),
        ("int | None", int | None),
        ("int | None", Optional[int]),  # noqa: UP045
        ("Literal['a', 1]", Literal["a", 1]),
        ("list[dict[str, int]]", list[dict[str, int]]),
        ("tuple[int, ...]", tuple[int, ...]),
        ("Point(x: int, label: str)", Point),
        ("Colour('r', 'b')", Colour),
        ("Any", Any),
    ],
)
def test_a_type_is_written_as_in_code(text: str, kind: Any) -> None:
    """A type's text is the same on every Python."""
    assert text == type_text(kind)


@pytest.mark.parametrize(
    ("expected", "text", "kind"),
    [
        (42, "42", int),
        (42, " 42.0 ", int),
        (-7, '"-7"', int),
        (4.5, "4.5", float),
        (5.0, "5", float),
        (1e3, "1e3", float),
        (True, "Yes", bool),
        (False, "false", bool),
        ("a b", " a b\n", str),
        ("a", "'A'.", Literal["a", "b"]),
        ("(A)", "(A) It was the boss", Literal["(A)", "(B)"]),
        ("(B)", "**(B)** because (a) is wrong, (B)", Literal["(A) x", "(B)"]),
        ("B", "b) Paris", Literal["A", "B"]),
        ("no", "No. It isn't", Literal["yes", "no"]),
        ("good", "good - it is\nwell made", Literal["good", "bad"]),
        (True, "Yes, it is true", bool),
        (2, "2", Literal[1, 2]),
        (Colour.RED, "red", Colour),
        (Colour.BLUE, "b", Colour),
        ((1, 2, 3), "1, 2, 3", list[int]),
        ((1, 2), "[1, 2]", list[int]),
        ((1, 2), "- 1\n- 2", list[int]),
        (("a", "b, c"), "1. a\n2) b, c", list[str]),
        (("a, b",), "a, b", list[str]),
        ((), "[]", list[str]),
        (("a", "b c"), "[a, 'b c']", list[str]),
        (("a",), "['a']", list[str]),
        (("a",), "[a]", list[str]),
        ((1, 2), "```json\n[1, 2]\n```", list[int]),
        (Record(a=1), '{"a": 1}', dict[str, int]),
        (None, "none", int | None),
        (3, "3", int | None),
        (3, "3", str | int),
        ("three", "three", str | int),
        ("yes, it is", "yes, it is", str | bool),
        ("yes, it is", "yes, it is", Annotated[str, "a remark"] | bool),
        (Point(1, "p"), '{"x": 1, "label": "p"}', Point),
    ],
)
def test_reading_is_lax_where_the_meaning_is_plain(expected: Any, text: str, kind: Any) -> None:
    """What a model or a person plainly meant is read."""
    assert expected == read(text, kind)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1,000", int),
        ("4.5", int),
        ("four", int),
        ("", int),
        ("nan", float),
        ("1_000", int),
        ("maybe", bool),
        ("c", Literal["a", "b"]),
        ("no idea", Literal["yes", "no"]),
        ("not good", Literal["good", "bad"]),
        ("good-ish", Literal["good", "bad"]),
        ("good/bad", Literal["good", "bad"]),
        ("yes, and no", Literal["yes", "no"]),
        ("(A) or (B)", Literal["(A)", "(B)"]),
        ("A.M.", Literal["A", "B"]),
        ("Yes, but no", bool),
        ("green", Colour),
        ("1, x", list[int]),
        ("not json", dict[str, int]),
        ('{"a": "x"}', dict[str, int]),
        ('{"label": "p"}', Point),
        ('{"x": 1, "z": 2}', Point),
        ("[1]", Point),
        ("x", int | None),
    ],
)
def test_reading_never_guesses(text: str, kind: Any) -> None:
    """What could mean something else is a ValueError with a sentence."""
    with pytest.raises(ValueError, match=r"\w"):
        read(text, kind)


def test_a_thousands_separator_is_named() -> None:
    """A number with a thousands separator is refused with the number to write."""
    with pytest.raises(ValueError, match="write 1000000"):
        read("1,000,000", int)


@given(st.integers())
def test_whole_numbers_are_read_back(number: int) -> None:
    """Every whole number is read from its text."""
    assert number == read(str(number), int)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_back(number: float) -> None:
    """Every finite number is read from its repr."""
    assert repr(number) == repr(read(repr(number), float))


@pytest.mark.parametrize(
    ("value", "kind"), [("3", int), (True, int), (1, str), ([1], list[str]), ("c", Literal["a"])]
)
def test_converting_is_strict(value: Any, kind: Any) -> None:
    """A value of another type is not converted."""
    with pytest.raises(ValueError, match=r"expected|invalid"):
        convert(value, kind)


def test_converting_builds_classes() -> None:
    """An object becomes the class by its own __init__, also from an instance."""
    assert Point(1, "p") == convert({"x": 1, "label": "p"}, Point) == convert(Point(1, "p"), Point)


def test_converting_names_an_unknown_key() -> None:
    """A key that the class lacks is named."""
    with pytest.raises(ValueError, match="Point has no field 'z'"):
        convert({"x": 1, "z": 2}, Point)


def test_an_unknown_name_is_a_lookup_error() -> None:
    """A name that is no known type is the error's argument."""
    with pytest.raises(LookupError, match="Quux"):
        type_of_node(ast.parse("list[Quux]", mode="eval").body, {})


@pytest.mark.parametrize(
    ("expected", "value", "kind"),
    [
        (3, "3", int),
        (3, 3.0, int),
        ("3", 3, str),
        ("true", True, str),
        ((1, 2), ["1", 2.0], list[int]),
        ((1, "2"), ["1", 2], tuple[int, str]),
        (Point(1), {"x": "1", "label": None}, Point),
        ((Point(1),), [{"x": 1}], tuple[Point, ...]),
        (Record(a=1), {"a": "1"}, dict[str, int]),
        (None, None, int | None),
        (Colour.RED, "RED", Colour),
        ("3", "3", str | int),
        (3, "3", int | None),
        (dt.date(2026, 1, 2), "2026-01-02", dt.date | None),
    ],
)
def test_a_json_value_is_fitted_where_its_meaning_is_plain(
    expected: Any, value: Any, kind: Any
) -> None:
    """Numbers in quotes, whole floats, null for a default, names of choices: as lax as text."""
    found = fit(value, kind)
    assert (expected, type(expected)) == (found, type(found))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3.5, int),
        ("x", int),
        ([1], str),
        (None, str),
        (True, int),
        ({"x": None}, Point),
        (5, list[int]),
    ],
)
def test_a_json_value_is_not_bent(value: Any, kind: Any) -> None:
    """What means something else is a ValueError."""
    with pytest.raises(ValueError, match=r"\w"):
        fit(value, kind)


def test_dates_are_read_bare_and_in_quotes() -> None:
    """A date in a text is ISO 8601, with or without quotes."""
    assert dt.date(2026, 1, 2) == read('"2026-01-02"', dt.date) == read("2026-01-02", dt.date)
    with pytest.raises(ValueError, match="date"):
        read("tomorrow", dt.date)


def test_items_of_a_fixed_tuple_are_read_by_their_own_types() -> None:
    """A list of lines for a tuple of several types: each line is read as the type in its place."""
    assert ("a", dt.date(2000, 1, 1), 3) == read(
        "[1] a\n[2] 2000-01-01\n[3] 3", tuple[str, dt.date, int]
    )


@given(
    choices=st.lists(st.sampled_from(["(A)", "(B)", "yes", "no", "a b", "C++", "C", "1"]), min_size=2, unique=True),
    at=st.integers(0, 7), words=st.text("xyz .,:;!?()\n-", max_size=20),
)  # fmt: skip
def test_a_choice_that_is_explained_is_that_choice_or_none(
    choices: list[str], at: int, words: str
) -> None:
    """Whatever follows a choice, it is never read as another; with a mark after it, and no other in
    it, it is read.
    """
    wanted, kind = choices[at % len(choices)], Literal[tuple(choices)]
    try:
        assert wanted == read(wanted + words, kind)
    except ValueError:
        assert words
    assert wanted == read(f"{wanted}. {words}", kind)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("(A) It was", Literal["(A)", "(B)"]), ("Yes, it is", bool), ("No. 1", Colour)],
)
def test_a_value_of_a_file_has_no_words_about_it(text: str, kind: Any) -> None:
    """What people keep in data is the value itself, or wrong."""
    with pytest.raises(ValueError, match=r"\w"):
        read(text, kind, exact=True)
