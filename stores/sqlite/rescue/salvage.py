"""Brings what can be read of a damaged store into a new one; what is lost is named."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lmflow.errors import NewerSchema, NotAStore, StoreError
from lmflow.stores.sqlite.checks.verify import StoreCheck
from lmflow.stores.sqlite.full_text import INSERT_WORDS, indexed_calls
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.rescue.datasets import Datasets
from lmflow.stores.sqlite.rescue.executions import Executions
from lmflow.stores.sqlite.rescue.indexes import Indexes
from lmflow.stores.sqlite.rescue.pages import HEADER, MAGIC, Pages
from lmflow.stores.sqlite.rescue.report import Losses, Rescue
from lmflow.stores.sqlite.rescue.tables import LOG, TABLES, Scan, Shape, scan, shapes
from lmflow.stores.sqlite.rescue.values import (
    drop_unsure_pointers,
    drop_wrong_blobs,
    drop_wrong_versions,
)
from lmflow.stores.sqlite.schema import APPLICATION, VERSION
from lmflow.stores.sqlite.store import SqliteStore
from lmflow.stores.sqlite.writing.settling import settle

_SUFFIXES = ("", "-wal", "-shm", "-journal")
_NEWER_AT_MOST = VERSION + 7
"""The greatest schema that is taken for a newer lmflow's; a greater one is damage."""


def salvage(path: str | Path, new: str | Path) -> Rescue:
    """Make a new store of what a damaged one still has; the damaged file is only read.

    Every page is read on its own, so damage to one costs only the rows in it. Values, versions,
    executions and runs are kept if they match their hashes. An execution that lacks a call is kept
    as one that never ended, its run as a stopped one, so that ``resume`` can send what is missing.

    Args:
        path: The damaged file.
        new: The store to make; there must be no such file.

    Returns:
        The numbers of what was rescued, and what was lost.

    Raises:
        NotAStore: If nothing of a store is in the file.
        NewerSchema: If a newer lmflow wrote it.
        StoreError: If the file can't be read, or the new one not written, or is there already.
    """
    path, new = Path(path), Path(new)
    _check_places(path, new)
    draft = new.with_name(f".{new.name}.{os.getpid()}")
    try:
        SqliteStore(draft).close()
        with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as db:
            rescue = _filled(db, path, new)
        _publish(draft, new)
    except sqlite3.Error as error:
        fix = "Is the disk full, or may you not write there?"
        raise StoreError(str(new), f"it can't be written ({error})", fix) from error
    except OSError as error:
        fix = "May you read the one and write the other?"
        raise StoreError(str(path), f"it can't be rescued ({error})", fix) from error
    finally:
        for suffix in _SUFFIXES:
            draft.with_name(f"{draft.name}{suffix}").unlink(missing_ok=True)
    return rescue


def _check_places(path: Path, new: Path) -> None:
    if not path.is_file():
        raise StoreError(str(path), "there is no such file", "Name the damaged store.")
    if new.exists() or new.is_symlink():
        raise StoreError(str(new), "it exists already", "Name a file that does not exist yet.")
    if not new.resolve().parent.is_dir():
        raise StoreError(str(new), "its folder does not exist", "Make the folder first.")
    with path.open("rb") as file:
        head = file.read(HEADER)
    version = int.from_bytes(head[60:64], "big")
    ours = int.from_bytes(head[68:72], "big") == APPLICATION
    if head.startswith(MAGIC) and ours and VERSION < version <= _NEWER_AT_MOST:
        problem = f"its schema is {version}, this lmflow reads up to {VERSION}"
        raise NewerSchema(str(path), problem, "Upgrade: pip install -U lmflow-dsl.")


def _filled(db: sqlite3.Connection, path: Path, new: Path) -> Rescue:
    """Fill a new store with the rows of a damaged one, and drop what is wrong with them."""
    db.row_factory = sqlite3.Row
    for pragma in ("foreign_keys = OFF", "synchronous = OFF", "temp_store = MEMORY"):
        db.execute(f"PRAGMA {pragma}")
    losses = Losses()
    indexes = Indexes(db)
    db.execute("BEGIN")
    _fill(db, path, indexes, losses)
    store = str(path)
    drop_wrong_blobs(db, store)
    drop_unsure_pointers(db, indexes, losses)
    drop_wrong_versions(db, store, indexes, losses)
    Executions(db, store, indexes, losses).keep_whole()
    Datasets(db, store, losses).keep_readable()
    for entries in indexed_calls(db):
        db.executemany(f"{INSERT_WORDS} VALUES (?, ?, ?)", entries)
    db.execute("COMMIT")
    _settle_log(db, store, losses)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    checked = _checked(db, new)
    return Rescue(
        str(path),
        str(new),
        checked.runs,
        checked.traces,
        checked.calls,
        checked.versions,
        checked.blobs,
        losses.lines,
        losses.more,
    )


def _settle_log(db: sqlite3.Connection, store: str, losses: Losses) -> None:
    """Make rows of the pieces of the log, and name those of which none can be made."""
    db.execute(f"UPDATE {LOG} SET problem = ''")
    settle(db, store)
    for row in db.execute(f"DELETE FROM {LOG} RETURNING id, problem").fetchall():
        losses.note(f"piece {row['id']} of the log can't become rows ({row['problem']})")


def _fill(db: sqlite3.Connection, path: Path, indexes: Indexes, losses: Losses) -> None:
    """Insert the rows that can be read, those that the trees lead to first."""
    tables, seen = shapes(db), Scan()
    inserts = {table: _insert(shape) for table, shape in tables.items()}
    inserts |= indexes.inserts
    count = 0
    with Pages(path) as pages:
        for found in scan(pages, {**tables, **indexes.shapes}, seen):
            try:
                db.execute(inserts[found.table], found.row)
                count += found.table in tables
            except (sqlite3.IntegrityError, OverflowError):  # two rows of one id, or a huge number
                seen.note_row(found.table)
    indexes.finish(seen)
    if not count:
        problem = "nothing of a store is in it"
        raise NotAStore(str(path), problem, "Name another file; this one is untouched.")
    for line in _lines(seen):
        losses.note(line)


def _insert(shape: Shape) -> str:
    names = ", ".join(column.name for column in shape.columns)
    marks = ", ".join("?" * len(shape.columns))
    return f"INSERT INTO {shape.table} ({names}) VALUES ({marks})"


def _lines(seen: Scan) -> Iterator[str]:
    if seen.no_schema:
        yield "the list of the tables can't be read: rows are known by their form alone"
    if seen.unknown:
        belong = "1 page belongs" if seen.unknown == 1 else f"{seen.unknown} pages belong"
        yield f"{belong} to nothing that can be read"
    for table in (*TABLES, LOG):
        if pages := seen.lost_pages.get(table, 0):
            yield f"{pages} {'page' if pages == 1 else 'pages'} of the table {table} can't be read"
        if rows := seen.unreadable.get(table, 0):
            yield f"{rows} {'row' if rows == 1 else 'rows'} of the table {table} can't be read"


def _checked(db: sqlite3.Connection, new: Path) -> StoreCheck:
    """Check the new store in full; only a sound one is given to the user."""
    checked = Reader(db, str(new)).check()
    if checked.problems:
        problem = f"what could be read does not fit together ({checked.problems[0]})"
        raise StoreError(str(new), problem, "Restore the store from a backup.")
    return checked


def _publish(draft: Path, new: Path) -> None:
    """Give the draft its name; a file that has come to be there meanwhile is never replaced."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    try:
        os.link(draft, new)
    except FileExistsError:
        fix = "Name a file that does not exist yet."
        raise StoreError(str(new), "it exists already", fix) from None
    except OSError:  # a disk without links
        if new.exists():
            fix = "Name a file that does not exist yet."
            raise StoreError(str(new), "it exists already", fix) from None
        draft.replace(new)
