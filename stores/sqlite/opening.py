"""Opens the file of a store for reading, also in a folder or an image that can't be written."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lmflow.errors import StoreError

LARGEST_COPY = 2**30
"""Bytes of a store that is copied to be read: one whose log has commits and can't be opened."""

_TIMEOUT = 5.0
_SUFFIXES = ("-wal", "-journal")


def is_writable(path: Path) -> bool:
    """Say whether a store can be written: the file, and its folder, in which the log is kept."""
    return os.access(path, os.W_OK) and os.access(path.resolve().parent, os.W_OK)


def has_journal(path: Path) -> bool:
    """Say whether commits wait in a journal beside a store."""
    return bool(_logs(path))


def read_only(store: str) -> StoreError:
    """Return the error for a write to a store that can only be read."""
    fix = "Copy it to a folder that you may write, or name another store, --store FILE."
    return StoreError(store, "it is read-only, so nothing can be recorded in it", fix)


@contextlib.contextmanager
def opened_as_is(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a store that exists on a read-only connection of its own, without what waits in its log.

    Where nothing can be written, SQLite can't keep the index of a write-ahead log beside the file.
    Without a log the file is read as it is; with one, a copy of both is read, so that no commit is
    missed.

    Raises:
        StoreError: If the log of a large store can't be read here.
        sqlite3.Error: If SQLite can't open the file.
    """
    if is_writable(path) or _is_open_elsewhere(path):
        # `mode=ro` and not `immutable=1`: another process may be writing, and only a connection
        # that takes locks and reads the WAL sees what it has committed.
        with contextlib.closing(_connected(path, "mode=ro")) as db:
            yield db
        return
    logs = _logs(path)
    if not logs:
        with contextlib.closing(_connected(path, "immutable=1")) as db:
            yield db
        return
    with tempfile.TemporaryDirectory(prefix="lmflow-") as folder:
        copy = _copied(path, logs, Path(folder))
        # The copy may be written: the journal of a commit that was cut short is rolled back there.
        with contextlib.closing(_connected(copy, "mode=rw")) as db:
            yield db


# A reader that nobody closed is collected in whichever thread runs the garbage collection, and its
# connection is closed there.
def _connected(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=_TIMEOUT, check_same_thread=False)


def _beside(path: Path, suffix: str) -> Path:
    real = path.resolve()
    return real.with_name(f"{real.name}{suffix}")


def _logs(path: Path) -> list[Path]:
    """Return the journals beside a store that hold something."""
    places = [_beside(path, suffix) for suffix in _SUFFIXES]
    return [place for place in places if place.exists() and place.stat().st_size]


def _is_open_elsewhere(path: Path) -> bool:
    """Say whether the index of the log is there: then SQLite reads the log without writing."""
    shared = _beside(path, "-shm")
    if not (shared.exists() and _beside(path, "-wal").exists()):
        return False
    try:
        with contextlib.closing(_connected(path, "mode=ro")) as db:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return False
    return True


def _copied(path: Path, logs: list[Path], folder: Path) -> Path:
    """Copy a store with its journals, and return the copy."""
    size = sum(file.stat().st_size for file in (path, *logs))
    if size > LARGEST_COPY:
        names = f"{path} {' '.join(map(str, logs))}"
        problem = f"it is read-only, and {logs[0].name} beside it holds commits"
        fix = f"Copy both to a folder that you may write: cp {names} FOLDER."
        raise StoreError(str(path), problem, fix)
    copy = folder / path.resolve().name
    shutil.copyfile(path, copy)
    for log in logs:
        shutil.copyfile(log, folder / log.name)
    return copy
