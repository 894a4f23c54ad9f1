"""The health of a store: its file's header, and what SQLite finds in it. Nothing is written."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import attrs

from lmflow.stores.damage import unreadable
from lmflow.stores.sqlite.opening import is_writable
from lmflow.stores.sqlite.schema import VERSION, check_file, schema_of
from lmflow.stores.sqlite.writing.settled import opened_to_read
from lmflow.stores.sqlite.writing.waiting import log_problems

SQLITE = sqlite3.sqlite_version
MINIMUM = (3, 37)
"""The oldest SQLite that lmflow works with."""

FIXED_IN = (3, 51, 3)
"""The first SQLite without the bug that can corrupt a WAL if two connections checkpoint at once."""


@attrs.frozen
class Health:
    """The health of a store.

    Args:
        size: The size of the file, in bytes.
        schema: Its schema version.
        current: The schema version that this lmflow writes.
        problem: The first problem that SQLite finds, or the first piece of the log of which no rows
            can be made; empty for none.
        wal: The size of the write-ahead log, in bytes.
        calls: The number of calls.
        orphans: The calls that never ended, in runs that did.
        open_runs: The runs that have not ended; they go on, or were killed.
        open_calls: The calls that have not ended, in those runs.
        media: The number of contents of pictures, sounds and files.
        media_size: Their size, in bytes.
        writable: Whether the file and its folder may be written.
        server: The name and version of the server; empty for a file.
    """

    size: int
    schema: int
    current: int
    problem: str
    wal: int
    calls: int
    orphans: int
    open_runs: int
    open_calls: int
    media: int = 0
    media_size: int = 0
    writable: bool = True
    server: str = ""


def health(path: str | Path) -> Health | None:
    """Return the health of a store, ``None`` if there is no store at ``path``.

    Raises:
        NotAStore: If the file is something else.
        NewerSchema: If a newer lmflow wrote it.
        StoreError: If it can't be read.
    """
    path = Path(path)
    if not check_file(path):
        return None
    try:
        with opened_to_read(path) as db:
            return _examined(db, path)
    except sqlite3.DatabaseError as error:
        raise unreadable(path, error) from error


def missing_features() -> list[str]:
    """Return what lmflow needs and this SQLite lacks."""
    missing = []
    if sqlite3.sqlite_version_info < MINIMUM:
        missing.append(f"SQLite {'.'.join(map(str, MINIMUM))}")
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        try:
            db.execute("CREATE VIRTUAL TABLE t USING fts5(x)")
        except sqlite3.OperationalError:
            missing.append("FTS5")
    return missing


def has_wal_bug() -> bool:
    """Say whether this SQLite has the bug that ``FIXED_IN`` fixed."""
    return sqlite3.sqlite_version_info < FIXED_IN


def _examined(db: sqlite3.Connection, path: Path) -> Health:
    schema = schema_of(db, path)

    def count(query: str) -> int:
        return int(db.execute(query).fetchone()[0]) if schema else 0

    (problem,) = db.execute("PRAGMA quick_check(1)").fetchone()
    started = (
        "SELECT count(*) FROM run JOIN run_item ON run_item.run = run.id"
        " JOIN call ON call.trace = run_item.trace WHERE call.status = 'started' AND run.status"
    )
    wal = path.with_name(f"{path.name}-wal")
    return Health(
        size=path.stat().st_size,
        schema=schema,
        current=VERSION,
        problem=str(problem) if problem != "ok" else "; ".join(log_problems(db)[:1]),
        wal=wal.stat().st_size if wal.exists() else 0,
        calls=count("SELECT coalesce(max(id), 0) FROM call"),
        orphans=count(f"{started} <> 'open'"),
        open_runs=count("SELECT count(*) FROM run WHERE status = 'open'"),
        open_calls=count(f"{started} = 'open'"),
        media=count("SELECT count(*) FROM blob WHERE kind = 'media'"),
        media_size=count("SELECT coalesce(sum(size), 0) FROM blob WHERE kind = 'media'"),
        writable=is_writable(path),
    )
