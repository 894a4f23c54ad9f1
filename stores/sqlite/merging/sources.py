"""Attaches the file of a store to another one's connection, for reading."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lmflow.errors import StoreError, Tampered
from lmflow.stores.damage import unreadable
from lmflow.stores.sqlite.opening import has_journal, is_writable
from lmflow.stores.sqlite.schema import VERSION, check_file, check_readable, prepare, schema_of
from lmflow.stores.sqlite.writing.settled import opened_to_read
from lmflow.stores.sqlite.writing.settling import settle
from lmflow.stores.sqlite.writing.waiting import log_waits

READ = (
    *("blob", "version", "parent", "ref", "reflog", "run", "wanted", "run_item", "run_total"),
    *(
        "trace",
        "call",
        "choice",
        "score",
        "pin",
        "tombstone",
        "dataset",
        "item",
        "dataset_name",
        "act",
    ),
)
"""The tables that are read of a source."""


def attach(db: sqlite3.Connection, source: Path, uri: str) -> None:
    """Attach a store as ``src`` to a connection; ``uri`` is what ``readable`` gives.

    Raises:
        Tampered: A table of it isn't one that lmflow makes.
    """
    db.execute("ATTACH ? AS src", (uri,))
    _check_tables(db, source)


@contextlib.contextmanager
def readable(source: Path) -> Iterator[str]:
    """Give the URI of a file that has all rows of a store, in the current schema.

    The store is only read. If its log waits or its schema is older, it is copied first, unless it
    can be written.

    Raises:
        StoreError: There is no such store, or it can't be read.
    """
    if not check_file(source):
        raise StoreError(str(source), "there is no such store", "Name the file of one.")
    with contextlib.ExitStack() as stack:
        try:
            uri = stack.enter_context(_whole(source))
        except sqlite3.DatabaseError as error:
            raise unreadable(source, error) from error
        yield uri


@contextlib.contextmanager
def _whole(source: Path) -> Iterator[str]:
    with opened_to_read(source) as db:  # makes rows of the log, if the store can be written
        check_readable(db, source)
        if schema_of(db, source) == VERSION and (mode := _mode(source)):
            yield f"{source.resolve().as_uri()}?{mode}"
            return
        with tempfile.TemporaryDirectory(prefix="lmflow-") as folder:
            copy = Path(folder) / "source.db"
            with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as whole:
                db.backup(whole)
                prepare(whole, source)
                settle(whole, str(source))
            yield f"{copy.as_uri()}?mode=ro"


def _mode(source: Path) -> str:
    """Return how the file itself is opened; empty if it can't be read without a copy."""
    if not is_writable(source):
        # Without a journal beside it the file is whole; SQLite can't look for one there.
        return "" if has_journal(source) else "immutable=1"
    with contextlib.closing(
        sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
    ) as db:
        return "" if log_waits(db) else "mode=ro"


def _check_tables(db: sqlite3.Connection, source: Path) -> None:
    """Raise ``Tampered`` if a table that is read isn't as lmflow makes it.

    A view under the name of a table would run whatever its author wrote.
    """
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        prepare(fresh, source)
        expected = _tables(fresh, "main")
    for name, table in _tables(db, "src").items():
        if expected.pop(name, None) != table:
            problem = f"its table {name!r} isn't one that lmflow makes"
            raise Tampered(str(source), problem, "Ask who sent it for another.")
    if expected:
        problem = f"it has no table {min(expected)!r}"
        raise Tampered(str(source), problem, "Ask who sent it for another.")


def _tables(db: sqlite3.Connection, schema: str) -> dict[str, tuple[str, str]]:
    names = ", ".join("?" * len(READ))
    query = f"SELECT name, type, sql FROM {schema}.sqlite_master WHERE name IN ({names})"
    return {name: (kind, sql) for name, kind, sql in db.execute(query, READ)}
