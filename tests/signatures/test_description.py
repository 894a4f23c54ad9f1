"""The laws of shapes: what a model is told of a type."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Annotated, Any, Literal

import attrs
import pytest
from hypothesis import given
from strategies import Pair, typed

from lmflow.signatures.description import hint, object_sketch, type_in_words, type_sketch
from lmflow.signatures.fields import Field


@attrs.frozen
class Point:
    """A class."""

    x: Annotated[int, Field(ge=0, le=9, description="east")]
    tags: tuple[str, ...] = ()


@attrs.frozen
class Tree:
    """Holds itself."""

    name: str
    inside: tuple[Tree, ...] = ()


class Size(enum.Enum):
    """Choices."""

    S = "s"
    L = "l"


@pytest.mark.parametrize(
    ("expected", "kind"),
    [
        ("", str),
        ("a whole number", int),
        ("a whole number from 0 to 5", Annotated[int, Field(ge=0, le=5)]),
        ("a number > 0", Annotated[float, Field(gt=0)]),
        ("a whole number, or null", int | None),
        ("text of at most 9 characters", Annotated[str, Field(max_length=9)]),
        ("text matching ^a+$", Annotated[str, Field(pattern="^a+$")]),
        ("text, or null", str | None),
        ("one of: a, b", Literal["a", "b"]),
        ("one of: s, l", Size),
        ("a date, YYYY-MM-DD", dt.date),
        ("a list, one item a line", list[str]),
        ("a list, one item a line, of at most 3 items", Annotated[list[str], Field(max_length=3)]),
        ("JSON: [integer, ...]", list[int]),
        ('JSON: {"x": integer from 0 to 9 (east), "tags"?: [string, ...]}', Point),
    ],
)
def test_a_type_is_told_in_few_words(expected: str, kind: Any) -> None:
    """Plain types are told in words, nested ones as JSON is sketched; limits with both."""
    assert expected == type_in_words(kind)


@pytest.mark.parametrize(
    ("expected", "kind"),
    [
        ("string", str),
        ('"s" | "l"', Size),
        ('"a" | 1 | null', Literal["a", 1, None]),  # noqa: PYI061
        ("[string, integer]", tuple[str, int]),
        ("{string: [number, ...], ...}", dict[str, list[float]]),
        ("[any, ...]", list),
        ("integer | string", int | str),
        ("[string, ...] of 1 to 3 items", Annotated[list[str], Field(min_length=1, max_length=3)]),
        ('Tree {"name": string, "inside"?: [Tree, ...]}', Tree),
        ('"YYYY-MM-DD" | null', dt.date | None),
    ],
)
def test_a_nested_type_is_sketched_as_json(expected: str, kind: Any) -> None:
    """The notation of JSON with types in place of values."""
    assert expected == type_sketch(kind)


def test_a_description_stands_before_the_type() -> None:
    """A field is told by its description and its type."""
    assert "stars (a whole number)" == hint(Field(name="a", type=int, description="stars"))
    assert "stars" == hint(Field(name="a", description="stars"))


def test_members_are_told_with_their_descriptions() -> None:
    """An object's fields are told in order; one that may be left out has a question mark."""
    fields = (Field(name="a", description="why"), Field(name="b", type=int, default=0))
    assert '{"a": string (why), "b"?: integer}' == object_sketch(fields)


@given(typed)
def test_every_type_can_be_told(pair: Pair) -> None:
    """Whatever has a codec has words, the same each time."""
    assert type_in_words(pair[0]) == type_in_words(pair[0])
    assert type_sketch(pair[0])
