"""Writes a run to a file of its own: small, without a journal, the same bytes for the same run."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lmflow.errors import NotFound, StoreError
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.schema import READABLE, check_file, prepare, schema_of
from lmflow.stores.sqlite.store import SqliteStore
from lmflow.stores.sqlite.writing.settled import opened_to_read
from lmflow.traces.run_events import run_events
from lmflow.traces.trace import Run

PAGE = 512
"""Bytes a page: a store has about forty tables and indexes, each of at least one page."""


def save(path: Path, run: Run) -> None:
    """Write a run to a store of its own; the file is replaced as a whole, or not at all.

    Rows that say when the store was created are left out.

    Args:
        path: The file.
        run: The run with its traces.

    Raises:
        StoreError: If the file can't be written.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with SqliteStore(draft) as store:
            store.append(*run_events(run)).result()
        _pack(draft)
        draft.replace(path)
    except OSError as error:
        fix = "May you write in its folder?"
        raise StoreError(str(path), f"it can't be written ({error})", fix) from error
    finally:
        for leftover in path.parent.glob(f"{draft.name}*"):
            leftover.unlink()


def load(path: Path) -> Run | None:
    """Read the run of a file; the file is never written.

    A file with an older schema is brought up to date in memory.

    Args:
        path: The file.

    Returns:
        The run, ``None`` if there is no file.

    Raises:
        NotAStore: If the file is something else.
        NewerSchema: If a newer lmflow wrote it.
        NotFound: If it has no run.
        StoreError: If it can't be read.
        Tampered: If a value does not match its hash.
    """
    if not check_file(path):
        return None
    with _memory(path) as db:
        reader = Reader(db, str(path))
        runs = reader.runs(1, "")
        if not runs:
            raise NotFound(str(path), "it holds no run", "Delete it and record anew.")
        return reader.run(runs[0].id)


@contextlib.contextmanager
def _memory(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy of a store in memory, brought to the current schema."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.row_factory = sqlite3.Row
    try:
        with opened_to_read(path) as file:
            file.backup(db)
        if schema_of(db, path) < READABLE:
            prepare(db, path)
        yield db
    except sqlite3.DatabaseError as error:
        fix = "Delete it and record anew."
        raise StoreError(str(path), f"it can't be read ({error})", fix) from error
    finally:
        db.close()


def _pack(path: Path) -> None:
    """Rewrite a store without a journal, in small pages, without the times of its migrations."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("UPDATE _sqlite_migrations SET applied_at = ''")
        db.execute(f"PRAGMA page_size = {PAGE}")
        db.execute("VACUUM")
    finally:
        db.close()
