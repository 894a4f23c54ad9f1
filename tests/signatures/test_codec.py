"""The laws of codecs: JSON values as values of a type, and what no type can say."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from typing import Annotated, Any, Literal, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import Pair, typed

import lmflow as lf
from lmflow.errors import BadSignature
from lmflow.signatures.codec import convert
from lmflow.signatures.fields import Field
from lmflow.values.record import Record, plain


@attrs.frozen
class Cat:
    """Told from a dog by its kind."""

    name: str
    kind: Literal["cat"] = "cat"


@attrs.frozen
class Dog:
    """Told from a cat by its kind."""

    name: str
    kind: Literal["dog"] = "dog"


@attrs.frozen
class Node:
    """Holds itself."""

    name: str
    inside: tuple[Node, ...] = ()


def _stripped(text: str) -> str:
    return text.strip()


@attrs.frozen
class Rated:
    """Limits in metadata and annotation; a converter and a validator of its own."""

    name: str = attrs.field(
        converter=_stripped, metadata={"min_length": 2, "description": "a title"}
    )
    stars: Annotated[int, Field(ge=0, le=5)] = attrs.field(default=0)
    even: int = attrs.field(default=0)

    @even.validator  # type: ignore[attr-defined, unused-ignore]  # pyright: ignore[reportAttributeAccessIssue]
    def _is_even(self, _: Any, value: int) -> None:
        if value % 2:
            raise KeyError("odd")


class Struct(msgspec.Struct, frozen=True):
    """A frozen msgspec struct."""

    x: int
    y: str = "b"


class Model(pydantic.BaseModel):
    """A frozen pydantic model."""

    model_config = pydantic.ConfigDict(frozen=True)
    title: str = pydantic.Field(min_length=1, description="its name")
    count: int = pydantic.Field(default=0, ge=0)
    tags: list[str] = []


class Both(TypedDict, total=False):
    """Two keys that may be left out."""

    a: int
    b: str


class Deep(pydantic.BaseModel):
    """A field that JSON can't hold."""

    x: uuid.UUID


class Tags(pydantic.RootModel[list[str]]):
    """A model that is no object."""


@attrs.frozen
class Hidden:
    """A field that can't be given."""

    x: int = attrs.field(init=False, default=1)


class Odd(enum.Enum):
    """A value that JSON lacks."""

    A = object()


@given(typed, st.data())
def test_a_value_is_read_back_from_its_json(pair: Pair, data: st.DataObject) -> None:
    """What is stored of a value of any type is JSON that converts to the value."""
    kind, values = pair
    value = data.draw(values)
    again = convert(json.loads(json.dumps(plain(value))), kind)
    assert (value, type(value)) == (again, type(again))


@given(typed, st.data())
def test_converting_a_value_changes_nothing(pair: Pair, data: st.DataObject) -> None:
    """A value of the type itself converts to itself."""
    kind, values = pair
    value = data.draw(values)
    assert value == convert(value, kind)


@pytest.mark.parametrize(
    ("expected", "value", "kind"),
    [
        (Dog("rex"), {"name": "rex", "kind": "dog"}, Cat | Dog),
        (Cat("tom"), {"name": "tom"}, Cat | Dog),
        (
            (Dog("a"), Cat("b")),
            [{"name": "a", "kind": "dog"}, {"name": "b", "kind": "cat"}],
            list[Cat | Dog],
        ),
        (Node("a", (Node("b"),)), {"name": "a", "inside": [{"name": "b"}]}, Node),
        (dt.date(2026, 1, 2), "2026-01-02", dt.date | str),
        ("soon", "soon", str | dt.date),
        ((1,), [1], list[int] | list[str]),
        (("a",), ["a"], list[int] | list[str]),
        (3, 3, Annotated[int | None, Field(ge=0)]),
        (True, True, Literal[True, "maybe"]),
        (Rated("ab", 5), {"name": " ab ", "stars": 5}, Rated),
        (Struct(1), {"x": 1}, Struct),
        (Model(title="t", tags=["a"]), {"title": "t", "tags": ["a"]}, Model),
        (Record(a=1), {"a": 1}, Both),
        (frozenset({1, 2}), [1, 2], set[int]),
        ((1, "a"), [1, "a"], tuple[int, str]),
    ],
)
def test_every_kind_of_type_converts(expected: Any, value: Any, kind: Any) -> None:
    """Classes by their own __init__, unions by what fits, limits where they are met; the value
    itself converts too.
    """
    found = convert(value, kind)
    assert (expected, type(expected)) == (found, type(found))
    assert expected == convert(expected, kind)


@pytest.mark.parametrize(
    ("problem", "value", "kind"),
    [
        ("expected one of cat, found 'cow'", {"name": "a", "kind": "cow"}, Cat),
        (
            "inside: [0]: name: expected `str`, got `a number`",
            {"name": "a", "inside": [{"name": 1}]},
            Node,
        ),
        ("Node needs 'name'", {}, Node),
        ("Node has no field 'nam'. Did you mean 'name'?", {"nam": "a"}, Node),
        ("expected an object with name, inside, found a list", [], Node),
        ("stars: expected `int` <= 5", {"name": "ab", "stars": 6}, Rated),
        ("name: expected `str` of length >= 2", {"name": "a"}, Rated),
        ("Rated: odd", {"name": "ab", "even": 1}, Rated),
        ("count: expected `int` >= 0", {"title": "t", "count": -1}, Model),
        ("x: expected `int`, got `str`", {"x": "1"}, Struct),
        ("expected 2 items, found 1", [Cat("a")], tuple[Cat, Dog]),
        ("expected a list, found null", None, list[Cat]),
        ("expected `int` >= 0", -1, Annotated[int | None, Field(ge=0)]),
        ("matching regex '^a+$'", "b", Annotated[str, Field(pattern="^a+$")]),
        ("length <= 1", ["a", "b"], Annotated[list[str], Field(max_length=1)]),
        ("length <= 1", [Cat("a"), Cat("b")], Annotated[list[Cat], Field(max_length=1)]),
        ("expected one of True, maybe, found '1'", 1, Literal[True, "maybe"]),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(problem: str, value: Any, kind: Any) -> None:
    """A ValueError says where and what; whatever a class of the user raises is one too."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        convert(value, kind)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        ("'a[...]': UUID can't be said in JSON", dict[str, uuid.UUID]),
        ("'a[].x': UUID can't be said in JSON", list[Deep]),
        ("Tags is a RootModel", Tags),
        ("Hidden.x has init=False", Hidden),
        ("UUID can't be said in JSON", dict[str, uuid.UUID]),
        ("the keys of dict[int, str] are no text", dict[int, str]),
        ("the keys of a dict must be text", dict[int, Cat]),
        ("can only set `ge` on a numeric type", Annotated[str, Field(ge=0)]),
        ("limits (ge) have no meaning", Annotated[Literal[1, 2], Field(ge=0)]),
        ("limits (ge) have no meaning", Annotated[int | str, Field(ge=0)]),
        ("Odd has values that JSON can't hold", Odd),
    ],
)
def test_what_cannot_be_said_is_refused_at_composition(problem: str, kind: Any) -> None:
    """A type that JSON can't carry is a BadSignature when the program is made, with what mends it."""
    with pytest.raises(BadSignature) as caught:
        lf.predict("p", "q -> a: Kind", types={"Kind": kind})
    assert problem in str(caught.value)


def test_classes_of_a_union_must_differ() -> None:
    """Two classes that one object could be are refused with the field that tells them apart."""
    twin: Any = attrs.make_class("Twin", {"name": attrs.field(type=str)}, frozen=True)
    other: Any = attrs.make_class("Other", {"name": attrs.field(type=str)}, frozen=True)
    with pytest.raises(BadSignature, match=r'`kind: Literal\["other"\] = "other"`'):
        lf.predict("p", "q -> a: Kind", types={"Kind": twin | other})


def test_a_record_keeps_models_as_they_are() -> None:
    """A frozen pydantic model or struct is a value: it is kept, compared and stored by its fields."""
    record = Record(model=Model(title="t"), struct=Struct(1))
    assert {"model": {"title": "t", "count": 0, "tags": []}, "struct": {"x": 1, "y": "b"}} == plain(
        record
    )
    assert record == Record(model=Model(title="t"), struct=Struct(1))
