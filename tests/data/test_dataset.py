"""The laws of examples, data sets and the three parts of an optimizer's data."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import records

from lmflow.data.dataset import Data, Dataset, example_id, splits_of
from lmflow.errors import BadData
from lmflow.values.record import Record

datasets = st.lists(
    records.filter(lambda row: "id" not in row), max_size=6, unique_by=lambda row: row.digest
).map(lambda rows: Dataset("rows", tuple(rows)))
ROWS = Dataset("rows", [{"id": name, "question": f"{name}?"} for name in "abcd"])


def test_the_id_of_an_example_is_its_own() -> None:
    """An example is called by its id, as text."""
    assert ("e17", "3", "") == (
        example_id({"id": "e17"}),
        example_id({"id": 3}),
        example_id({"id": ""}),
    )


@pytest.mark.parametrize("row", [{"question": "?"}, {"question": "?", "id": None}, {}])
def test_without_an_id_an_example_is_called_by_its_content(row: dict[str, object]) -> None:
    """The digest of what it says is its id, so the same example is the same in every file."""
    assert Record(row).digest == example_id(row) == example_id(Record(row))


@given(datasets)
@settings(max_examples=40)
def test_a_data_set_is_a_sequence(data: Dataset) -> None:
    """Length, iteration, indices and membership are those of its examples."""
    rows = list(data)
    assert (len(rows), rows, rows) == (
        len(data),
        [data[at] for at in range(len(data))],
        [*reversed([*reversed(data)])],
    )
    assert all(row in data for row in rows)


@given(datasets, st.slices(6))
@settings(max_examples=40)
def test_a_slice_is_a_data_set(data: Dataset, part: slice) -> None:
    """A slice has the examples that a slice of the list has, and the name."""
    assert (data.name, [*data][part]) == (data[part].name, [*data[part]])


@given(datasets)
@settings(max_examples=40)
def test_equal_examples_have_one_digest(data: Dataset) -> None:
    """The name isn't in the digest, mappings and records are alike."""
    again = Dataset("other", [dict(row) for row in data])
    assert data.digest == again.digest


@given(datasets.filter(lambda data: len(data) > 1))
@settings(max_examples=40)
def test_order_and_content_are_in_the_digest(data: Dataset) -> None:
    """Rows the other way round, or one row less, are other data."""
    assert 3 == len({data.digest, Dataset("rows", [*reversed(data)]).digest, data[1:].digest})


def test_two_examples_under_one_id_are_refused() -> None:
    """Scores are paired by id, so ids differ; the words name both rows."""
    with pytest.raises(BadData, match=r"rows: rows 0 and 2 have one id, 'a'"):
        Dataset("rows", [{"id": "a"}, {"id": "b"}, {"id": "a", "question": "?"}])


def test_ids_are_compared_as_text() -> None:
    """1 and "1" would be one label in a run."""
    with pytest.raises(BadData, match="rows 0 and 1"):
        Dataset("rows", [{"id": 1}, {"id": "1"}])


def test_a_repeated_example_is_refused() -> None:
    """Without ids, equal rows are one example; the words say how to leave repeats out."""
    with pytest.raises(BadData, match=r"drop_repeats=True"):
        Dataset("rows", [{"question": "?"}, {"question": "?"}])


def test_a_data_set_may_be_empty() -> None:
    """No examples are a value like any other."""
    assert (0, ()) == (len(Dataset("none", ())), Dataset("none", ()).ids)


@given(datasets)
@settings(max_examples=20)
def test_a_data_set_pickles(data: Dataset) -> None:
    """A pickled data set is equal and has the digest."""
    again = pickle.loads(pickle.dumps(data))  # noqa: S301
    assert (data, data.digest) == (again, again.digest)


def test_data_sets_are_values() -> None:
    """Equal data sets are one key of a mapping."""
    assert 1 == len({ROWS, Dataset("rows", [dict(row) for row in ROWS])})


def test_its_repr_says_how_much_it_holds() -> None:
    """A data set is shown by name, size and digest, not by its rows."""
    assert f"<Dataset rows: 4 examples, {ROWS.digest[6:18]}>" == repr(ROWS)


def test_data_has_three_parts() -> None:
    """Parts may be given as rows; those that aren't given are empty."""
    data = Data([{"id": "a"}], select=ROWS[1:3])
    assert (["a"], ["b", "c"], []) == ([*data.train.ids], [*data.select.ids], [*data.held.ids])


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"train": ROWS, "select": ROWS[:1]}, "'a' is in train and in select"),
        ({"train": ROWS[:2], "held": ROWS[1:]}, "'b' is in train and in held"),
        (
            {"train": ROWS[:1], "select": ROWS[1:3], "held": ROWS[2:]},
            "'c' is in select and in held",
        ),
    ],
)
def test_no_example_is_in_two_parts(parts: dict[str, Dataset], words: str) -> None:
    """What was learnt from can't be what chooses or judges."""
    with pytest.raises(BadData, match=words):
        Data(**parts)


def test_the_parts_are_in_the_digest() -> None:
    """The same examples parted otherwise are other data."""
    digests = {
        Data(ROWS).digest,
        Data(ROWS[:2], ROWS[2:]).digest,
        Data(ROWS[:2], held=ROWS[2:]).digest,
    }
    assert 3 == len(digests)


def test_data_pickles() -> None:
    """Pickled data is equal and has the digest."""
    data = Data(ROWS[:2], ROWS[2:])
    again = pickle.loads(pickle.dumps(data))  # noqa: S301
    assert (data, data.digest) == (again, again.digest)


@pytest.mark.parametrize(
    "rows", [list(ROWS), tuple(ROWS), ROWS, iter(ROWS), [dict(row) for row in ROWS]]
)
def test_rows_are_one_split_without_a_name(rows: Any) -> None:
    """Rows that aren't in splits are the data set of that name."""
    assert {"": ROWS.digest} == {name: part.digest for name, part in splits_of("x", rows).items()}


def test_splits_may_be_plain_rows() -> None:
    """Splits are data sets or rows, called by their names, in order."""
    splits = splits_of("x", {"train": [{"q": 1}], "held": ROWS})
    assert [("held", "rows"), ("train", "x/train")] == [
        (name, part.name) for name, part in splits.items()
    ]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (None, "expected examples, found NoneType"),
        ("x", r"found the text 'x'\. Read a file: lf\.dataset"),
        ({"q": "x"}, "found the text 'x'"),
        ({"train": None}, "expected examples, found NoneType"),
        ({1: [{"q": 1}]}, "expected the name of a split, found int 1"),
    ],
)
def test_what_is_no_rows_is_refused(parts: Any, words: str) -> None:
    """What is neither rows nor splits of rows is named, with what to give."""
    with pytest.raises(TypeError, match=words):
        splits_of("x", parts)
