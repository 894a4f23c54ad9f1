"""A run as a file of its own: small, without a journal, and of the same bytes for the same run."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lmflow.errors import NotFound, StoreError
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.schema import check_file, prepare
from lmflow.stores.sqlite.store import SqliteStore
from lmflow.traces.events import (
    CallEnded,
    Event,
    RaceWon,
    RunClosed,
    RunOpened,
    TraceClosed,
    TraceOpened,
)
from lmflow.traces.trace import Run

PAGE = 512
"""Bytes a page: a store has some forty tables and indexes, each of at least one page."""


def save(path: Path, run: Run) -> None:
    """Put a run in a store of its own at ``path``, in place of what is there: all of it or, after a
    crash, nothing.

    Rows that say when the store was made are left out. ``StoreError`` where it can't be written.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with SqliteStore(aside) as store:
            store.append(*_events(run)).result()
        _pack(aside)
        aside.replace(path)
    except OSError as error:
        raise StoreError(
            str(path), f"it can't be written ({error})", "May you write in its folder?"
        ) from error
    finally:
        for left in path.parent.glob(f"{aside.name}*"):
            left.unlink()


def load(path: Path) -> Run | None:
    """The run that a file holds, ``None`` where there is no file. The file is never written: an
    older schema is brought up to date in memory. ``NotAStore``, ``NewerSchema``, ``StoreError``,
    ``Tampered``.
    """
    if not check_file(path):
        return None
    with _memory(path) as db:
        reader = Reader(db, str(path))
        found = reader.runs(1, "")
        if not found:
            raise NotFound(str(path), "it holds no run", "Delete it and record anew.")
        return reader.run(found[0].id)


@contextlib.contextmanager
def _memory(path: Path) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.row_factory = sqlite3.Row
    try:
        file = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            file.backup(db)
        finally:
            file.close()
        prepare(db, path)
        yield db
    except sqlite3.DatabaseError as error:
        raise StoreError(
            str(path), f"it can't be read ({error})", "Delete it and record anew."
        ) from error
    finally:
        db.close()


def _pack(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("UPDATE _sqlite_migrations SET applied_at = ''")
        db.execute(f"PRAGMA page_size = {PAGE}")
        db.execute("VACUUM")
    finally:
        db.close()


def _events(run: Run) -> Iterator[Event]:
    yield RunOpened(run)
    for position, (label, trace) in enumerate(run.items):
        yield TraceOpened(run.id, label, position, trace)
        yield from (CallEnded(trace.id, call) for call in trace.calls)
        yield from (RaceWon(trace.id, address, winner) for address, winner in trace.choices.items())
        yield TraceClosed(trace)
    yield RunClosed(run.id, run.status, run.root, run.ended)
