"""Hypothesis strategies for values, records and signatures."""

from __future__ import annotations

import keyword
from typing import Any, Literal

from hypothesis import strategies as st

from lmflow.signature import REQUIRED, Field, Signature
from lmflow.values import Record

_TAKEN = {"items", "keys", "values", "get", "only", "digest", "self", "mapping"}

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in _TAKEN and not keyword.iskeyword(name) and not name.startswith("__")
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
records = st.dictionaries(names, json_values, max_size=3).map(Record)

texts = st.text(st.characters(exclude_categories=["Cs"]))
lines = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).filter(lambda text: "[[" not in text)
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
    return st.lists(fields(), min_size=minimum, max_size=4, unique_by=lambda field: field.name).map(tuple)


signatures = st.builds(Signature, _sides(0), _sides(1))
