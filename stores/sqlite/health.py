"""How a store is: what its file says of itself and what SQLite finds in it. Nothing is written."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import attrs

from lmflow.errors import StoreError
from lmflow.stores.sqlite.schema import VERSION, check_file

SQLITE = sqlite3.sqlite_version
NEEDED = (3, 37)
MENDED = (3, 51, 3)
"""The first SQLite without the rare corruption of a WAL that two connections checkpoint at once."""


@attrs.frozen
class Health:
    """``problem`` is the first thing that SQLite finds wrong, empty for nothing; ``wal`` in bytes;
    ``orphans`` are calls that never ended, in runs that did; ``open_calls`` those of
    ``open_runs``, which go on or were killed. ``media`` are the contents of pictures, sounds and
    files, ``media_size`` their bytes.
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


def health(path: str | Path) -> Health | None:
    """The health of the store at ``path``, ``None`` where there is none. ``NotAStore``,
    ``NewerSchema``, ``StoreError``.
    """
    path = Path(path)
    if not check_file(path):
        return None
    with contextlib.closing(_opened(path)) as db:
        try:
            return _examined(db, path)
        except sqlite3.DatabaseError as error:
            raise StoreError(
                str(path), f"it can't be read ({error})", "Restore it from a backup."
            ) from error


def lacking() -> list[str]:
    """What lmflow needs of SQLite and this one doesn't have."""
    found = [f"SQLite {'.'.join(map(str, NEEDED))}"] if sqlite3.sqlite_version_info < NEEDED else []
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        try:
            db.execute("CREATE VIRTUAL TABLE t USING fts5(x)")
        except sqlite3.OperationalError:
            found.append("FTS5")
    return found


def affected() -> bool:
    """Whether this SQLite has the bug that ``MENDED`` ended."""
    return sqlite3.sqlite_version_info < MENDED


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)


def _examined(db: sqlite3.Connection, path: Path) -> Health:
    def count(query: str) -> int:
        return int(db.execute(query).fetchone()[0])

    schema = count("PRAGMA user_version")
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    started = (
        "SELECT count(*) FROM run JOIN run_item ON run_item.run = run.id JOIN call ON call.trace = run_item.trace"
        " WHERE call.status = 'started' AND run.status"
    )
    wal = path.with_name(f"{path.name}-wal")
    return Health(
        size=path.stat().st_size,
        schema=schema,
        current=VERSION,
        problem="" if found == "ok" else str(found),
        wal=wal.stat().st_size if wal.exists() else 0,
        calls=count("SELECT coalesce(max(id), 0) FROM call") if schema else 0,
        orphans=count(f"{started} <> 'open'") if schema else 0,
        open_runs=count("SELECT count(*) FROM run WHERE status = 'open'") if schema else 0,
        open_calls=count(f"{started} = 'open'") if schema else 0,
        media=count("SELECT count(*) FROM blob WHERE kind = 'media'") if schema else 0,
        media_size=count("SELECT coalesce(sum(size), 0) FROM blob WHERE kind = 'media'")
        if schema
        else 0,
    )
