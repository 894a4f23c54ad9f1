"""The laws of data sets in a store: kept by content, never changed, named, in splits."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmflow as lf
from lmflow.data.dataset import Dataset
from lmflow.errors import BadData, NotFound, Tampered
from lmflow.stores.sqlite.datasets import dataset_digest
from lmflow.stores.sqlite.gc import collect
from lmflow.stores.sqlite.store import SqliteStore, reading

ROWS = [lf.Record({"id": str(n), "question": f"q{n}?", "answer": "a" * n}) for n in range(6)]
PARTS = {"train": Dataset("t", ROWS[:4]), "held": Dataset("h", ROWS[4:])}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store is made."""
    return tmp_path / "lmflow.db"


def test_what_is_put_comes_back(path: Path) -> None:
    """A data set comes back with its examples in order and its digest."""
    with SqliteStore(path) as store:
        digest = store.put_dataset("qa", Dataset("x", ROWS))
        assert (Dataset("qa", ROWS), digest) == (store.dataset("qa"), store.dataset("qa").digest)


def test_splits_come_back(path: Path) -> None:
    """Splits come back by name, and the whole is all of them."""
    with SqliteStore(path) as store:
        store.put_dataset("qa", PARTS)
        assert {"held": ROWS[4:], "train": ROWS[:4]} == {
            k: list(v) for k, v in store.splits("qa").items()
        }
        assert ROWS[:4] == list(store.dataset("qa", "train"))
        assert ROWS[4:] + ROWS[:4] == list(store.dataset("qa"))


@pytest.mark.parametrize("how", [lambda d: d, lambda d: d[6:14], lambda d: d[6:10]])
def test_digests_name_data_sets(path: Path, how: Any) -> None:
    """A digest, also a short one, stands for its data set, whatever the name points at now."""
    with SqliteStore(path) as store:
        old = store.put_dataset("qa", Dataset("x", ROWS[:2]))
        store.put_dataset("qa", Dataset("x", ROWS))
        assert ROWS[:2] == list(store.dataset(how(old)))
        assert ROWS == list(store.dataset("qa"))


def test_nothing_is_kept_twice(path: Path) -> None:
    """The same examples under two names are kept once."""
    with SqliteStore(path) as store:
        assert store.put_dataset("a", PARTS) == store.put_dataset("b", PARTS)
    with sqlite3.connect(path) as db:
        query = "SELECT (SELECT count(*) FROM dataset), (SELECT count(*) FROM item)"
        assert (1, 6) == db.execute(query).fetchone()
    db.close()


@settings(max_examples=20)
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.text() | st.integers(), min_size=1), min_size=1
    )
)
def test_any_examples_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    """Whatever a record can hold is kept."""
    found = lf.dataset(rows, drop_repeats=True)
    with SqliteStore(tmp_path_factory.mktemp("s") / "s.db") as store:
        assert found.digest == store.put_dataset("x", found)
        assert found.examples == store.dataset("x").examples


def test_the_order_of_splits_does_not_count() -> None:
    """A data set's digest is the same however its splits are listed, and another where one is
    called otherwise.
    """
    assert dataset_digest(PARTS) == dataset_digest(dict(reversed(PARTS.items())))
    assert dataset_digest(PARTS) != dataset_digest({"train": PARTS["train"], "test": PARTS["held"]})


def test_an_example_is_in_one_split(path: Path) -> None:
    """Splits that share an example are refused, and nothing is kept."""
    with SqliteStore(path) as store:
        with pytest.raises(BadData, match="in 'held' and in 'train'"):
            store.put_dataset("qa", {"train": Dataset("x", ROWS), "held": Dataset("x", ROWS[:1])})
        with store.reading() as reader:
            assert [] == reader.datasets.names()


def test_an_empty_data_set_is_refused(path: Path) -> None:
    """A data set has examples."""
    with SqliteStore(path) as store, pytest.raises(BadData, match="no rows"):
        store.put_dataset("qa", Dataset("x", []))


def test_unknown_names_are_told_with_near_ones(path: Path) -> None:
    """What isn't there is an error with what is; so is a split."""
    with SqliteStore(path) as store:
        store.put_dataset("questions", PARTS)
        with pytest.raises(NotFound, match="Did you mean 'questions'"):
            store.dataset("question")
        with pytest.raises(NotFound, match="it has held, train"):
            store.dataset("questions", "test")


def test_a_changed_example_is_noticed(path: Path) -> None:
    """A data set whose items were changed isn't read."""
    with SqliteStore(path) as store:
        store.put_dataset("qa", PARTS)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE item SET split = 'held' WHERE position = 3")
    db.close()
    with reading(path) as reader, pytest.raises(Tampered):
        reader.datasets.splits("qa")


def test_origins_are_kept(path: Path) -> None:
    """The traces that examples come from are kept beside them, not in the digest."""
    with SqliteStore(path) as store:
        digest = store.put_dataset("qa", Dataset("x", ROWS), origins={"2": "some-trace"})
        assert Dataset("x", ROWS).digest == digest
        with store.reading() as reader:
            assert {"2": "some-trace"} == reader.datasets.origins("qa")


def test_garbage_is_collected_around_it(path: Path) -> None:
    """Collecting garbage keeps every data set, named or not."""
    with SqliteStore(path) as store:
        old = store.put_dataset("qa", Dataset("x", ROWS[:2]))
        store.put_dataset("qa", PARTS)
    collect(path, dry_run=False, now=2**62)
    with reading(path) as reader:
        assert [2, 6] == [len(reader.datasets.dataset(name)) for name in (old, "qa")]


def test_views_show_data_sets(path: Path) -> None:
    """``v_datasets`` says what names point at and pointed at."""
    with SqliteStore(path) as store:
        digest = store.put_dataset("qa", PARTS)
    with sqlite3.connect(path) as db:
        row = db.execute("SELECT name, id, examples, splits FROM v_datasets").fetchall()
    db.close()
    assert [("qa", digest[6:18], 6, "held 2, train 4")] == row


def test_splits_may_be_plain_rows(tmp_path: Path) -> None:
    """Rows and splits of rows are stored as the data sets that they make."""
    with SqliteStore(tmp_path / "s.db") as store:
        assert Dataset("x", ROWS).digest == store.put_dataset("rows", ROWS)
        assert store.put_dataset("a", {"all": Dataset("x", ROWS)}) == store.put_dataset(
            "b", {"all": ROWS}
        )
        assert Dataset("x", ROWS).digest == store.dataset("b", "all").digest
