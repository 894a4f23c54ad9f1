"""The laws of records, of their canonical form and of digests."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import json
import math
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from reference_forms import reference_form
from strategies import json_values, records

from lmflow.errors import BadValue, short
from lmflow.values.canonical_text import Form
from lmflow.values.kept_forms import kept_form
from lmflow.values.record import (
    Record,
    canonical,
    digest,
    freeze,
    plain,
    pretty,
    same_form,
)

VECTOR = "v1:b2:40cb82752d0fc272f454deae0580ba2a53ed014a068239c08720b515bd8b5d73"


class Colour(enum.Enum):
    """A plain enum."""

    RED = "red"


@attrs.frozen
class Point:
    """A frozen class."""

    x: int
    y: int


@attrs.define
class Mutable:
    """A class that can change."""

    x: int


def same(a: Any, b: Any) -> bool:
    """Equal as JSON values: in type too, so that 1, 1.0 and True differ."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) and (not isinstance(a, float) or math.copysign(1, a) == math.copysign(1, b))


@given(json_values)
def test_the_canonical_form_is_read_by_json(value: Any) -> None:
    """Reading the canonical form as JSON gives the value back, with its types."""
    assert same(value, json.loads(canonical(value)))


@given(json_values, json_values)
def test_the_canonical_form_is_injective(a: Any, b: Any) -> None:
    """Two values have one canonical form exactly when they are the same."""
    assert same(a, b) == (canonical(a) == canonical(b))


@given(json_values)
def test_the_canonical_form_is_ascii(value: Any) -> None:
    """A canonical form is ASCII, whatever the value holds."""
    assert canonical(value).isascii()


@given(json_values)
def test_freezing_keeps_the_canonical_form(value: Any) -> None:
    """A frozen value has the canonical form of the value."""
    assert canonical(value) == canonical(freeze(value))


@given(json_values)
def test_freezing_twice_is_freezing_once(value: Any) -> None:
    """Freeze is idempotent."""
    once = freeze(value)
    assert canonical(once) == canonical(freeze(once))


@given(json_values)
def test_plain_makes_values_anew(value: Any) -> None:
    """Plain gives the JSON value that was frozen."""
    assert same(value, plain(freeze(value)))


@given(json_values)
def test_pretty_says_the_same_value(value: Any) -> None:
    """The readable form holds the same value as the canonical one."""
    assert canonical(value) == canonical(json.loads(pretty(value)))


@given(records)
def test_a_record_is_equal_to_its_copies(record: Record) -> None:
    """Pickles, copies and rebuilt records are equal, with equal hashes."""
    for again in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record), Record(plain(record))):  # noqa: S301
        assert (record, hash(record), record.digest) == (again, hash(again), again.digest)


@given(records)
def test_the_order_of_fields_is_no_part_of_a_record(record: Record) -> None:
    """Records with their fields in another order are equal."""
    assert record == Record(dict(reversed(list(record.items()))))


@given(records, records)
def test_or_takes_the_right_side(a: Record, b: Record) -> None:
    """A record or another holds the fields of both, the right one's where they meet."""
    assert Record({**plain(a), **plain(b)}) == a | b


@given(records, records)
def test_records_are_equal_by_canonical_form(a: Record, b: Record) -> None:
    """Two records are equal exactly when their canonical forms are."""
    assert (canonical(a) == canonical(b)) == (a == b)


class _Level(enum.IntEnum):
    LOW = 1


@attrs.frozen
class _Point:
    x: int


@given(json_values)
@example(Record(a=_Level.LOW, b=(_Point(1), dt.date(2026, 1, 2))))
@example([{"a": Record(b=1.0)}, {"a": (True, None, "\u20ac")}])
@example({"a": {"b": _Level.LOW}})
def test_the_quick_way_writes_as_the_slow(value: Any) -> None:
    """What is encoded without a copy has the form of the copy, byte by byte."""
    assert reference_form(value) == canonical(value)


@given(json_values)
def test_a_kept_form_is_the_canonical_form(value: Any) -> None:
    """A form that a record remembers is the one that it would be written with anew."""
    kept = Record(it=value)
    first = kept_form(kept)
    assert reference_form(kept) == first == kept_form(kept) == kept_form({"it": value})
    assert first == kept_form(copy.deepcopy(kept)) == kept_form(Record(plain(kept)))


@pytest.mark.parametrize("value", ["\udc80", ["\udc80"], {"\udc80": _Level.LOW}])
def test_the_canonical_form_keeps_lone_surrogates(value: Any) -> None:
    """A form that was recorded while values could hold lone surrogates keeps its digest."""
    assert "\\udc80" in canonical(value)


def nested(levels: int) -> Any:
    """A value that is nested so many levels deep, in lists and mappings by turns."""
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def test_nesting_has_a_limit() -> None:
    """A value may be nested 200 levels deep; a deeper one is refused before a walk ends badly."""
    assert canonical(freeze(nested(200))) == canonical(nested(200))
    for levels in (201, 1000):
        with pytest.raises(BadValue, match="nested more than 200 levels deep"):
            freeze(nested(levels))


def test_nesting_without_end_has_no_canonical_form() -> None:
    """A value that holds itself is refused."""
    endless: list[Any] = []
    endless.append(endless)
    for refused in (canonical, freeze, plain, Record().__or__):
        with pytest.raises(BadValue, match="nested more than"):
            refused({"a": endless})


@pytest.mark.parametrize("made", [canonical, freeze, plain])
@pytest.mark.parametrize("digits", [4300, 5000])
def test_long_numbers_are_refused(made: Any, digits: int) -> None:
    """A number of more digits than Python writes is refused; one digit less is exact."""
    for value in (10**digits, -(10**digits)):
        with pytest.raises(BadValue, match="whole number of more than 4,300 digits"):
            made([value])
    assert made([10**4299])


@pytest.mark.parametrize(
    "value", [{1: 2}, [{"a": {2: 3}}], math.nan, [math.inf], {"a": [math.nan]}, object()]
)
def test_what_has_no_canonical_form_is_refused_anywhere(value: Any) -> None:
    """Keys that are no text and numbers that are none are refused, however deep."""
    with pytest.raises(BadValue):
        canonical(value)


@given(records)
def test_a_record_of_a_record_is_that_record(record: Record) -> None:
    """Made of a record alone it is equal, and no copy is made of its values."""
    again = Record(record)
    assert (record, record.digest) == (again, again.digest)
    assert all(record[name] is again[name] for name in record)


def test_a_digest_is_stable() -> None:
    """The digest of a fixed record never changes."""
    assert VECTOR == Record(question="é?", n=1, f=1.0, no=None, xs=[True, {"a": -0.5}]).digest


def test_a_digest_names_its_kind() -> None:
    """The same value as two kinds has two digests."""
    assert digest("a", 1) != digest("b", 1)


@pytest.mark.parametrize(
    ("a", "b"), [(1, 1.0), (1, True), (1.0, True), (0, False), (0.0, -0.0), ("1", 1), ((), {})]
)
def test_numbers_and_truths_differ(a: Any, b: Any) -> None:
    """Values that Python calls equal, but JSON writes differently, make different records."""
    assert Record(x=a) != Record(x=b)


def test_absent_is_not_null() -> None:
    """A record without a field differs from one whose field is None."""
    assert Record() != Record(x=None)


def test_keys_are_sorted_by_code_point() -> None:
    """The canonical form sorts keys by code point, without spaces."""
    assert '{"B":1,"a":[1,2],"\\u00e9":null}' == canonical({"é": None, "a": (1, 2), "B": 1})


def test_dates_and_enums_have_a_canonical_form() -> None:
    """Dates stand as ISO text, enums as their values, frozen classes as objects, sets sorted."""
    value = {"d": dt.date(2020, 1, 2), "c": Colour.RED, "p": Point(1, 2), "s": {3, 1}}
    assert '{"c":"red","d":"2020-01-02","p":{"x":1,"y":2},"s":[1,3]}' == canonical(value)


def test_fields_are_read_as_attributes() -> None:
    """A field is read by its name, as attribute and as key."""
    record = Record(answer="42")
    assert "42" == record.answer == record["answer"]


def test_an_unknown_field_is_named() -> None:
    """An unknown attribute names what the record has."""
    with pytest.raises(AttributeError, match="no field 'anwser'; it has answer"):
        _ = Record(answer="42").anwser


def test_setting_a_field_is_refused() -> None:
    """A record is immutable, and says what to do instead."""
    with pytest.raises(
        AttributeError, match=r"immutable: make another, `record \| \{'x': \.\.\.\}`"
    ):
        Record(x=1).x = 2


def test_what_it_is_made_of_cannot_change_it() -> None:
    """A record keeps nothing that the caller could change."""
    inner = [1]
    record = Record(xs=inner)
    inner.append(2)
    assert (1,) == record.xs


def test_mappings_become_records() -> None:
    """A mapping in a record is a record."""
    assert Record(b=(1,)) == Record(a={"b": [1]}).a


def test_only_takes_what_is_there() -> None:
    """Only keeps the named fields that exist, in the given order."""
    assert ["b", "a"] == list(Record(a=1, b=2, c=3).only("b", "x", "a"))


def test_a_record_is_not_a_dict() -> None:
    """A record equals records only."""
    assert Record(a=1) != {"a": 1}


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, b"x", object(), {1: 2}, [{None: 1}]]
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    """Non-finite numbers, live objects and keys that are no text are refused in a record."""
    with pytest.raises(BadValue):
        Record(x=value)


def test_a_refusal_says_where() -> None:
    """A refused value is named by its place."""
    with pytest.raises(BadValue, match=r"xs\[1\] is nan") as caught:
        Record(xs=[1.0, math.nan])
    assert "xs[1]" == caught.value.where


def test_a_frozen_instance_stays_what_it_is() -> None:
    """Frozen attrs classes and enums are kept as they are."""
    assert (Point(1, 2), Colour.RED) == freeze([Point(1, 2), Colour.RED])


def test_short_is_twelve_digits() -> None:
    """A digest is shown by its first 12 digits, other names as they are."""
    assert ("0123456789ab", "main") == (short("v1:b2:0123456789abcdef"), short("main"))


def test_a_record_shows_its_fields() -> None:
    """The repr of a record is the call that makes it."""
    assert "Record(a=1, b='x')" == repr(Record(a=1, b="x"))


@given(records, records)
def test_alike_is_equal_canonical_forms(a: Record, b: Record) -> None:
    """A look at two values finds what comparing their canonical forms finds."""
    assert (canonical(a) == canonical(b)) == same_form(a, b)
    assert same_form(a, Record(json.loads(canonical(a))))


@pytest.mark.parametrize(
    "others", [(1, 1.0), (1, True), (0.0, -0.0), ("1", 1), ((), Record()), (None, 0)]
)
def test_what_differs_in_type_is_not_alike(others: tuple[Any, Any]) -> None:
    """What Python calls equal and JSON does not is not one form, however deep it stands."""
    a, b = others
    assert not same_form(Record(x=(a,)), Record(x=(b,)))


def test_a_form_stands_for_its_value() -> None:
    """A text that is canonical already is written as it is."""
    assert canonical({"a": [1, "x"]}) == canonical({"a": Form(canonical([1, "x"]))})
