"""The laws of what the writer of the log knows without asking the store."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.stores.sqlite.writing import known
from lmflow.stores.sqlite.writing.known import Known, _Free, _Ids
from lmflow.traces.events import RunOpened, TraceOpened, TraceReused
from lmflow.traces.trace import Run, Trace

VERSION = lf.Version(params={"answer.instruction": "Answer."})


@given(st.lists(st.integers(0, 12), max_size=40))
def test_a_position_is_taken_once_in_whatever_order(positions: list[int]) -> None:
    """Only the first that takes a position gets it, and what is taken in a row needs no memory."""
    free, taken = _Free(), set[int]()
    for position in positions:
        assert (position not in taken) == free.take(position)
        taken.add(position)
    assert set(range(free.first)) | free.beyond == taken
    assert free.first not in taken


@given(st.lists(st.text("abc", min_size=1, max_size=2)), st.sets(st.text("abc", min_size=1)))
def test_an_id_is_new_once(names: list[str], stored: set[str]) -> None:
    """Ids are known whatever their order, if they are in the table or were noted; also once more
    were noted than are remembered.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute("CREATE TABLE trace (uid TEXT PRIMARY KEY)")
        db.executemany("INSERT INTO trace VALUES (?)", [(name,) for name in stored])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(known, "REMEMBERED", 2)
            ids = _Ids(db, "trace", "uid")
            ids.look()
            seen = set(stored)
            for name in names:
                assert (name not in seen) == ids.is_new(name)
                db.execute("INSERT OR IGNORE INTO trace VALUES (?)", (name,))
                ids.close(name)
                seen.add(name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with an open run and one execution."""
    path = tmp_path / "store.db"
    with lf.SqliteStore(path) as store:
        run = RunOpened(Run("r1", "map", "answer", started=1), (VERSION,))
        store.append(run, _opened("t1", 0)).result(10)
    return path


def _opened(name: str, position: int) -> TraceOpened:
    trace = Trace(name, f"v1:b2:{'ab' * 32}", "answer", VERSION, lf.Record(), lf.Record())
    return TraceOpened("r1", f"row[{position}]", position, trace)


def test_what_others_commit_is_seen(path: Path) -> None:
    """Executions and places that another connection has taken since don't fit any more."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        seen = Known(db)
        assert seen.is_usable(())
        assert seen.fits([RunOpened(Run("r2", "map", "answer"), (VERSION,))])
        assert seen.fits([TraceReused("r2", "row[0]", 0, "t1")])
        with lf.SqliteStore(path) as other:
            other.append(_opened("t2", 1)).result(10)
        assert seen.is_usable(())
        assert not seen.fits([TraceReused("r2", "row[0]", 0, "t1")])
        assert seen.fits([TraceReused("r2", "row[1]", 1, "t2")])
        assert not seen.fits([_opened("t2", 9)])
        seen.forget([])
        assert seen.is_usable(())
        assert not seen.fits([TraceReused("r1", "row[2]", 2, "t1")])


def test_nothing_is_usable_while_garbage_is_swept(path: Path) -> None:
    """While another connection sweeps, events are written as rows at once."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        seen = Known(db)
        assert seen.is_usable(())
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE meta SET value = '1' WHERE key = 'gc'")
        assert not seen.is_usable(())
