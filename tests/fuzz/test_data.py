"""Whatever stands in a data file or a condition, it is read or an ``LmflowError``."""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fuzz_inputs import dumped, hostile_bytes, hostile_texts, json_texts, json_values, rows
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.data.conditions import FIELDS, Condition, condition
from lmflow.data.dataset import Dataset
from lmflow.data.readers import dataset
from lmflow.errors import LmflowError

SIGNATURE = "q: str, n: int, x: list[dict[str, float]], picture: Image -> a: bool"
named = st.sampled_from(["q", "n", "x", "picture", "a", "id"]) | hostile_texts
typed_rows = st.lists(st.dictionaries(named, json_values, max_size=4), max_size=4)


def read(data: bytes, ending: str, **how: Any) -> None:
    """Read a file with those bytes: a data set, or an ``LmflowError``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"rows.{ending}")
        path.write_bytes(data)
        with contextlib.suppress(LmflowError):
            found = dataset(path, **how)
            assert len(found) > 0
            assert found.digest == Dataset("again", list(found)).digest


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv"])
@given(hostile_bytes)
def test_bytes(ending: str, data: bytes) -> None:
    """Any bytes."""
    read(data, ending)


@given(st.lists(json_texts, max_size=4), st.booleans())
def test_json_lines(lines: list[str], drop: bool) -> None:  # noqa: FBT001 - drawn
    """JSON values a line."""
    read("\n".join(lines).encode("utf-8", "surrogatepass"), "jsonl", drop_repeats=drop)


@given(st.integers(0, 3000), st.sampled_from([None, SIGNATURE, "q: Any -> a", "q: Image -> a"]))
def test_nested_rows(levels: int, signature: str | None) -> None:
    """A value that is nested so many levels deep."""
    row = '{"q": ' + '{"a": [' * levels + "1" + "]}" * levels + "}"
    read(row.encode(), "jsonl", signature=signature)


@given(rows | typed_rows)
def test_json_lists(items: list[Any]) -> None:
    """A list of JSON values, with and without a signature."""
    data = dumped(items).encode()
    read(data, "json")
    read(data, "json", signature=SIGNATURE)


@given(st.lists(st.lists(hostile_texts, max_size=4), max_size=4), st.sampled_from([",", "\t"]))
def test_tables(cells: list[list[str]], delimiter: str) -> None:
    """Cells of any text, with and without a signature."""
    out = io.StringIO(newline="")
    table = [["q", "n", "x", "a"], *cells]
    csv.writer(out, delimiter=delimiter, escapechar="\\").writerows(table)
    data = out.getvalue().encode("utf-8", "surrogatepass")
    read(data, "tsv" if delimiter == "\t" else "csv")
    read(data, "tsv" if delimiter == "\t" else "csv", signature=SIGNATURE)


@given(rows | typed_rows | json_values)
def test_objects(items: Any) -> None:
    """Rows of Python, and what isn't rows."""
    for signature in (None, SIGNATURE):
        with contextlib.suppress(LmflowError, TypeError):
            assert dataset(items, signature=signature)


@given(
    st.builds(
        lambda field, operator, literal: f"{field}{operator}{literal}",
        st.sampled_from([*FIELDS, "input.q", "output.a", "score.b", "scor"]) | hostile_texts,
        st.sampled_from(["=", "!=", ">", ">=", "<", "<=", "~", " = ", "=="]) | hostile_texts,
        json_texts,
    )
    | hostile_texts,
    st.lists(json_values, max_size=3),
)
def test_conditions(text: str, values: list[Any]) -> None:
    """A condition holds or doesn't, or is a ``BadCondition``."""
    with contextlib.suppress(LmflowError):
        found = condition(text)
        assert isinstance(found, Condition)
        assert found.holds(lf.Record(a=values).a) in {True, False}
