"""Hypothesis strategies for values, records and signatures."""

from __future__ import annotations

import datetime as dt
import enum
import keyword
from typing import Annotated, Any, Literal, Optional

import attrs
from hypothesis import strategies as st

from lmflow.signatures.fields import REQUIRED, Field
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record

_TAKEN = {"items", "keys", "values", "get", "only", "digest", "self", "mapping"}

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in _TAKEN and not keyword.iskeyword(name) and not name.startswith("__")
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(names, json_values, max_size=3).map(Record)

texts = st.text(st.characters(exclude_categories=["Cs"]))
lines = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).filter(
    lambda text: "[[" not in text
)
types = st.sampled_from(
    [
        str,
        int,
        float,
        bool,
        list[str],
        list[int],
        dict[str, int],
        tuple[int, ...],
        int | None,
        Literal["a", "b->c", 'd"'],
    ]
)
defaults = st.sampled_from([REQUIRED, 3, 2.5, "text -> 'more'", (), ("a", 1)])


def fields(default: st.SearchStrategy[Any] = defaults) -> st.SearchStrategy[Field]:
    """Fields of all types that a string can say."""
    return st.builds(Field, name=names, type=types, default=default)


def _sides(minimum: int) -> st.SearchStrategy[tuple[Field, ...]]:
    return st.lists(fields(), min_size=minimum, max_size=4, unique_by=lambda field: field.name).map(
        tuple
    )


signatures = st.builds(Signature, _sides(0), _sides(1))


class Colour(enum.Enum):
    """A choice by value."""

    RED = "r"
    BLUE = "b"


Pair = tuple[Any, st.SearchStrategy[Any]]


def _of_class(inner: Pair) -> Pair:
    kind, values = inner
    fields = {"x": attrs.field(type=kind), "label": attrs.field(type=str, default="")}
    made: Any = attrs.make_class("Made", fields, frozen=True)
    return made, st.builds(made, x=values, label=texts)


_LEAVES: list[Pair] = [
    (str, texts),
    (int, st.integers(-(2**63), 2**63 - 1)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (dt.date, st.dates()),
    (dt.datetime, st.datetimes()),
    (dt.time, st.times()),
    (Literal["a", "b c", 3, None], st.sampled_from(["a", "b c", 3, None])),  # noqa: PYI061
    (Colour, st.sampled_from(list(Colour))),
    (Annotated[int, Field(ge=0, le=9)], st.integers(0, 9)),
    (Annotated[str, Field(min_length=1, max_length=3)], st.text("xyz", min_size=1, max_size=3)),
]
_LIST: Any = list
_DICT: Any = dict
_TUPLE: Any = tuple
_OPTIONAL: Any = Optional
typed: st.SearchStrategy[Pair] = st.recursive(
    st.sampled_from(_LEAVES),
    lambda inner: st.one_of(
        inner.map(lambda pair: (_LIST[pair[0]], st.lists(pair[1], max_size=3).map(tuple))),
        inner.map(
            lambda pair: (
                _DICT[str, pair[0]],
                st.dictionaries(texts, pair[1], max_size=3).map(Record),
            )
        ),
        inner.map(lambda pair: (_OPTIONAL[pair[0]], st.none() | pair[1])),
        st.tuples(inner, inner).map(
            lambda two: (_TUPLE[two[0][0], two[1][0]], st.tuples(two[0][1], two[1][1]))
        ),
        inner.map(_of_class),
    ),
    max_leaves=4,
)
"""Types of fields, each with the strategy of its values."""
