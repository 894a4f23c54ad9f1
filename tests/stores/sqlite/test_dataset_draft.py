"""The laws of drafts of data sets: all of it is stored, or nothing that anybody sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadData, StoreError
from lmflow.stores.sqlite.gc import collect

ROWS = [lf.Record(question=f"q{n}", answer=n) for n in range(7)]
TEXTS = st.lists(st.text(), unique=True, min_size=1, max_size=9)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lf.SqliteStore]:
    """A store that all examples of a law share."""
    with lf.SqliteStore(tmp_path_factory.mktemp("drafts") / "s.db") as made:
        yield made


@settings(max_examples=25)
@given(texts=TEXTS, size=st.integers(1, 4))
def test_a_draft_is_the_data_set(store: lf.SqliteStore, texts: list[str], size: int) -> None:
    """In whatever parts examples come, they are the data set of all, and are read back in order."""
    rows = [lf.Record(text=text) for text in texts]
    whole = lf.Dataset("rows", rows)
    draft = store.datasets.draft("rows")
    for start in range(0, len(rows), size):
        draft.add(rows[start : start + size])
    kept = draft.keep(whole.digest)
    draft.close()
    assert rows == list(kept) == list(store.dataset(whole.digest))
    assert rows[1:3] == list(kept[1:3])


def test_a_draft_that_is_not_kept_leaves_no_data_set(tmp_path: Path) -> None:
    """Its examples are garbage, and the store is sound."""
    path = tmp_path / "s.db"
    with lf.SqliteStore(path) as store:
        draft = store.datasets.draft("rows")
        draft.add(ROWS)
        with pytest.raises(BadData, match="the second is row 7"):
            draft.add(ROWS[2:3])
        draft.close()
        with store.reading() as reader:
            assert () == reader.check().problems
    assert len(ROWS) == collect(path, dry_run=False).blobs


def test_examples_that_were_collected_meanwhile_are_missed(tmp_path: Path) -> None:
    """The data set isn't stored with holes."""
    path = tmp_path / "s.db"
    with lf.SqliteStore(path) as store:
        draft = store.datasets.draft("rows")
        draft.add(ROWS)
        collect(path, dry_run=False)
        with pytest.raises(StoreError, match="garbage collection removed examples"):
            draft.keep(lf.Dataset("rows", ROWS).digest)
        draft.close()
        with store.reading() as reader:
            assert () == reader.check().problems
