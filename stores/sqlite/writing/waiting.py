"""The table of the log: its schema and what waits in it, apart from the code that makes rows."""

from __future__ import annotations

import sqlite3

# AUTOINCREMENT: a writer knows its pieces by their numbers, and another process may delete them. A
# number that was used again would name another piece.
CREATE_LOG = """
CREATE TABLE log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, events BLOB NOT NULL, problem TEXT NOT NULL DEFAULT ''
) STRICT
"""


def has_log(db: sqlite3.Connection) -> bool:
    """Tell whether a store, which may have an earlier schema, has a log."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'log'"
    return db.execute(query).fetchone() is not None


def log_waits(db: sqlite3.Connection) -> bool:
    """Tell whether a piece in the log of a store waits to be made into rows."""
    query = "SELECT 1 FROM log WHERE problem = '' LIMIT 1"
    return has_log(db) and db.execute(query).fetchone() is not None


def log_problems(db: sqlite3.Connection) -> list[str]:
    """Return, in words, the pieces of which no rows can be made."""
    if not has_log(db):
        return []
    rows = db.execute("SELECT id, problem FROM log WHERE problem <> '' ORDER BY id")
    return [f"piece {row[0]} of the log can't become rows ({row[1]}); it is kept" for row in rows]
