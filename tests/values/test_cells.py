"""The laws of values that can be changed: a record holds a copy, and gives a fresh one each time."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import msgspec
import pydantic
import pytest

from lmflow.errors import BadValue
from lmflow.values.record import Record, canonical, freeze, plain


class Model(pydantic.BaseModel):
    """A pydantic model."""

    tags: list[str]


class FrozenModel(pydantic.BaseModel):
    """A frozen model whose list can be changed."""

    model_config = pydantic.ConfigDict(frozen=True)
    tags: list[str]


@dataclasses.dataclass
class Data:
    """A dataclass."""

    tags: list[str]


@dataclasses.dataclass(frozen=True)
class FrozenData:
    """A frozen dataclass whose list can be changed."""

    tags: list[str]


class Named(NamedTuple):
    """A named tuple whose list can be changed."""

    tags: list[str]


@attrs.define
class Defined:
    """An attrs class."""

    tags: list[str]


class Struct(msgspec.Struct):
    """A msgspec struct."""

    tags: list[str]


@attrs.define
class Outer:
    """Holds something that can't be written."""

    raw: Any


KINDS: list[Callable[[list[str]], Any]] = [
    lambda tags: Model(tags=tags),
    lambda tags: FrozenModel(tags=tags),
    Data,
    FrozenData,
    Named,
    Defined,
    Struct,
]
every = pytest.mark.parametrize("make", KINDS)


@every
def test_a_copy_goes_in(make: Callable[[list[str]], Any]) -> None:
    """A change of an object after a record was made of it changes nothing in the record."""
    value = make(["a"])
    record = Record(x=value, xs=[value], deep={"x": value})
    value.tags.append("b")
    assert [make(["a"])] * 3 == [record.x, record.xs[0], record.deep.x]


@every
def test_a_fresh_object_comes_out(make: Callable[[list[str]], Any]) -> None:
    """A change of what a record gave changes neither the record nor what it gives next."""
    record = Record(x=make(["a"]), xs=(make(["a"]),))
    digest = record.digest
    readings: list[Any] = [record.x, record["x"], record.get("x"), dict(record)["x"]]
    readings += [record.xs[0], *(item for item in record.values() if not isinstance(item, tuple))]
    readings += [item for name, item in record.items() if name == "x"]
    for value in readings:
        value.tags.append("b")
    assert make(["a"]) == record.x == record.xs[0]
    assert digest == Record(record).digest == (record | {}).digest


@every
def test_an_object_is_its_fields_in_json(make: Callable[[list[str]], Any]) -> None:
    """Records of an object and of its fields have one canonical form, and are equal."""
    record, fields = Record(x=make(["a"])), Record(x={"tags": ["a"]})
    assert ({"x": {"tags": ["a"]}}, canonical(fields)) == (plain(record), canonical(record))
    assert record == fields


@every
def test_a_record_of_objects_is_copied_and_pickled(make: Callable[[list[str]], Any]) -> None:
    """A record is immutable, so a deep copy is itself; a pickle has equal objects."""
    record = Record(x=make(["a"]))
    assert record is copy.deepcopy(record)
    again = Record(x=Data(["a"])) if make is not Data else pickle.loads(pickle.dumps(record))  # noqa: S301
    assert record == again


@every
def test_frozen_alone_it_is_a_record_of_its_fields(make: Callable[[list[str]], Any]) -> None:
    """Outside a record there is no place for a copy, so that ``freeze`` gives the fields."""
    assert (Record(tags=["a"]),) == freeze([make(["a"])])


def test_an_object_without_anything_to_change_is_shared() -> None:
    """A frozen object of frozen values is given as it is, never copied."""

    @dataclasses.dataclass(frozen=True)
    class Point:
        x: int

    point = Point(1)
    assert Record(x=point).x is point


@pytest.mark.parametrize("raw", [object(), b"x", threading.Lock(), {1: 2}])
def test_what_cannot_be_written_is_refused_by_its_path(raw: Any) -> None:
    """The error leads to the field, through lists, mappings and objects."""
    with pytest.raises(BadValue) as caught:
        Record(orders=[Outer(1), {"first": Outer([Outer(raw)])}])
    assert "orders[1].first.raw[0].raw" == caught.value.where


def test_what_cannot_be_copied_is_refused() -> None:
    """An object that Python can't copy can't be kept apart from its maker."""

    class Locked(pydantic.BaseModel):
        x: list[int] = []
        _lock: Any = pydantic.PrivateAttr(default_factory=threading.Lock)

    with pytest.raises(BadValue, match="can't be copied"):
        Record(x=Locked())
