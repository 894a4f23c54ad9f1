"""Opens a store for reading once rows are made of what waits in its log."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lmflow.stores.sqlite.opening import is_writable, opened_as_is
from lmflow.stores.sqlite.schema import prepare
from lmflow.stores.sqlite.writing.settling import settle, settle_file
from lmflow.stores.sqlite.writing.waiting import log_waits


@contextlib.contextmanager
def opened_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a store that exists on a read-only connection of its own.

    Rows are made of what waits in the store's log first, so that all that was acknowledged is seen;
    where nothing can be written, that happens in a temporary copy.

    Where nothing can be written, SQLite can't keep the index of a write-ahead log beside the file.
    Without a log the file is read as it is; with one, a copy of both is read, so that no commit is
    missed.

    Raises:
        StoreError: If the log of a large store can't be read here.
        sqlite3.Error: If SQLite can't open the file.
    """
    with opened_as_is(path) as db:
        if not log_waits(db) or (is_writable(path) and settle_file(path)):
            yield db
            return
        with contextlib.closing(settled_copy(db, path)) as copy:
            yield copy


def settle_log(path: Path, db: sqlite3.Connection) -> None:
    """Make rows of what waits in the log of a store that ``db`` follows, if it can be written."""
    if log_waits(db) and is_writable(path):
        settle_file(path)


def settled_copy(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """Return a temporary copy of a store, in memory or a file that SQLite deletes, with rows made
    of its log.
    """
    copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    try:
        db.backup(copy)
        prepare(copy, path)
        settle(copy, str(path))
        copy.row_factory = None
    except BaseException:
        copy.close()
        raise
    return copy
