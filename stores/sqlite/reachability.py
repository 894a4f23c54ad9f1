"""Finds the versions and blobs of a SQLite trace store that nothing reaches."""

from __future__ import annotations

import sqlite3

from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite.blobs.format import (
    WITHOUT_CONTENTS,
    contents_named,
    parts_of,
    unpack,
    unpack_text,
)

BATCH = 2000
"""Rows that are swept in one transaction, so that writers wait only briefly."""

GRACE = 24 * 3600 * 10**9
"""Nanoseconds for which new versions, and runs that have not ended, are kept in any case."""

_WITHOUT_CONTENTS = ", ".join(f"'{kind}'" for kind in WITHOUT_CONTENTS)
_TABLES = ("gone_run", "gone_trace", "live_version", "live_blob", "dead_version", "dead_blob")


class Marker:
    """Fills temporary tables with the reachable (live) and unreachable (dead) rows.

    Rows in ``gone_run`` and ``gone_trace``, which the caller fills, reach nothing.
    """

    def __init__(self, db: sqlite3.Connection, store: str, now: int) -> None:
        self._db = db
        self._store = store
        self._now = now
        for name in _TABLES:
            db.execute(f"CREATE TEMP TABLE {name} (id BLOB PRIMARY KEY) WITHOUT ROWID")

    def mark(self) -> None:
        """Find the versions and blobs that are reachable, and those that are not."""
        for table in ("live_version", "live_blob", "dead_version", "dead_blob"):
            self._db.execute(f"DELETE FROM {table}")
        for table, column in references(self._db, "version", without="parent"):
            rows = _live_rows(self._db, table, column)
            self._db.execute(f"INSERT OR IGNORE INTO live_version SELECT {column} FROM {rows}")
        self._db.execute(
            "INSERT OR IGNORE INTO live_version SELECT id FROM version WHERE created_ns >= ?",
            (self._now - GRACE,),
        )
        self._mark_ancestors()
        self._db.execute(
            "INSERT INTO dead_version SELECT id FROM version"
            " WHERE id NOT IN (SELECT id FROM live_version)"
        )
        for table, column in references(self._db, "blob"):
            rows = _live_rows(self._db, table, column)
            only = " AND id IN (SELECT id FROM live_version)" if table == "version" else ""
            self._db.execute(f"INSERT OR IGNORE INTO live_blob SELECT {column} FROM {rows}{only}")
        self._mark_parts("request")
        self._mark_parts("prefix")
        self._db.execute(
            "INSERT INTO dead_blob SELECT id FROM blob"
            " WHERE kind <> 'media' AND id NOT IN (SELECT id FROM live_blob)"
        )

    def _mark_ancestors(self) -> None:
        self._db.execute(
            "WITH RECURSIVE line(id) AS (SELECT id FROM live_version UNION SELECT v.id FROM line"
            " JOIN parent ON parent.version = line.id JOIN version v ON v.hash = parent.hash)"
            " INSERT OR IGNORE INTO live_version SELECT id FROM line"
        )

    def _mark_parts(self, kind: str) -> None:
        """Mark the blobs that live blobs of a kind are composed of."""
        query = (
            "SELECT blob.id, enc, data FROM blob JOIN live_blob ON live_blob.id = blob.id"
            " WHERE kind = ?"
        )
        reading = self._db.cursor().execute(query, (kind,))
        while rows := reading.fetchmany(BATCH):
            parts = {part for row in rows for part in self._parts(kind, *row)}
            insert = "INSERT OR IGNORE INTO live_blob VALUES (?)"
            self._db.executemany(insert, [(part,) for part in parts])

    def _parts(self, kind: str, blob: int, enc: int, data: bytes) -> list[int]:
        try:
            return parts_of(kind, unpack(enc, data))
        except DAMAGE as error:
            raise damaged(self._store, f"{kind} blob {blob}", error) from error

    def _contents(self, blob: int, enc: int, data: bytes) -> list[bytes]:
        try:
            return contents_named(unpack_text(enc, data))
        except DAMAGE as error:
            raise damaged(self._store, f"blob {blob}", error) from error

    def mark_contents(self) -> None:
        """Find the contents of pictures, sounds and files that no blob names any more.

        All blobs that are still stored are searched, reachable or not, so this runs after the
        unreachable ones are removed; in a dry run they are skipped as if they were. A content that
        is named anew meanwhile is touched.
        """
        if self._db.execute("SELECT 1 FROM blob WHERE kind = 'media' LIMIT 1").fetchone() is None:
            return
        query = (
            f"SELECT id, enc, data FROM blob WHERE kind NOT IN ({_WITHOUT_CONTENTS})"
            " AND id NOT IN (SELECT id FROM dead_blob)"
        )
        insert = "INSERT OR IGNORE INTO live_blob SELECT id FROM blob WHERE hash = ?"
        reading = self._db.cursor().execute(query)
        while rows := reading.fetchmany(BATCH):
            named = {hashed for row in rows for hashed in self._contents(*row)}
            self._db.executemany(insert, [(hashed,) for hashed in named])
        self._db.execute(
            "INSERT INTO dead_blob SELECT id FROM blob"
            " WHERE kind = 'media' AND id NOT IN (SELECT id FROM live_blob)"
        )


def references(db: sqlite3.Connection, target: str, *, without: str = "") -> list[tuple[str, str]]:
    """Return the (table, column) pairs that refer to a table, as the schema declares them.

    Args:
        db: The store.
        target: The table that is referred to.
        without: A table whose columns are left out.
    """
    query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    tables = [name for (name,) in db.execute(query) if name != without]
    pairs = []
    for table in tables:
        keys = db.execute(f"PRAGMA foreign_key_list({table})").fetchall()
        pairs += [(table, key[3]) for key in keys if key[2] == target]
    return pairs


def _live_rows(db: sqlite3.Connection, table: str, column: str) -> str:
    """Return the FROM clause for rows whose ``column`` makes something reachable.

    Rows that belong to runs and traces that are to be removed are left out.
    """
    gone = [("gone_trace", name) for owner, name in references(db, "trace") if owner == table]
    gone += [("gone_run", name) for owner, name in references(db, "run") if owner == table]
    if table == "trace":
        gone.append(("gone_trace", "id"))
    clauses = [f" AND {name} NOT IN (SELECT id FROM {rows})" for rows, name in gone]
    return f"{table} WHERE {column} IS NOT NULL{''.join(clauses)}"
