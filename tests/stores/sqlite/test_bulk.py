"""Rows in bulk: as many as there are, in few statements."""

import gc
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from lmflow.stores.sqlite.bulk import SIZES, collection_paused, insert_rows, select_in


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    """A table of pairs."""
    with closing(sqlite3.connect(":memory:")) as found:
        found.execute("CREATE TABLE pair (a INTEGER, b TEXT)")
        yield found


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 127, 128, 129, 300])
def test_all_rows_are_written_in_order(db: sqlite3.Connection, count: int) -> None:
    """Whatever their number, each row is there once."""
    rows = [(number, str(number)) for number in range(count)]
    insert_rows(db, "INSERT INTO pair (a, b) VALUES {rows}", rows)
    assert rows == db.execute("SELECT a, b FROM pair ORDER BY rowid").fetchall()


@pytest.mark.parametrize("count", [0, 1, 8, 200])
def test_all_keys_are_looked_up(db: sqlite3.Connection, count: int) -> None:
    """Of the keys that are asked for, those that are there are found."""
    insert_rows(
        db, "INSERT INTO pair (a, b) VALUES {rows}", [(number, "x") for number in range(0, 400, 2)]
    )
    found = select_in(db, "SELECT a FROM pair WHERE a IN ({keys})", list(range(count)))
    assert list(range(0, count, 2)) == sorted(a for (a,) in found)


def test_statements_are_few(db: sqlite3.Connection) -> None:
    """A thousand rows are written by the largest statements that fit, not one by one."""
    queries: list[str] = []
    db.set_trace_callback(queries.append)
    insert_rows(db, "INSERT INTO pair (a, b) VALUES {rows}", [(1, "x")] * 1000)
    assert 1000 // SIZES[0] + 5 >= len([query for query in queries if query.startswith("INSERT")])


@pytest.mark.parametrize("start", [gc.enable, gc.disable])
def test_collection_is_as_it_was_afterwards(start: Callable[[], None]) -> None:
    """Collection is paused within the block, and then as it was, also after an error."""
    before = gc.isenabled()
    start()
    try:
        with pytest.raises(KeyError), collection_paused():
            raise KeyError
        assert (start is gc.enable) == gc.isenabled()
        with collection_paused():
            assert not gc.isenabled()
    finally:
        (gc.enable if before else gc.disable)()
