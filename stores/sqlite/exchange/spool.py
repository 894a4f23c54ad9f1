"""Spans of other systems on their way into a store, gathered by trace in a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

_CREATE = """
CREATE TABLE IF NOT EXISTS span (
    trace TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (trace, id)
) STRICT
"""
_ADD = "INSERT OR IGNORE INTO span (trace, id, at, data) VALUES (?, ?, ?, ?)"
_SAME = "SELECT data FROM span WHERE trace = ? AND id = ?"
_NEXT = "SELECT DISTINCT trace FROM span WHERE trace > ? ORDER BY trace LIMIT ?"
_QUIET = "SELECT trace FROM span GROUP BY trace HAVING max(at) <= ? ORDER BY trace LIMIT ?"
_TRACE = "SELECT data FROM span WHERE trace = ? LIMIT ?"

MOST_SPANS = 20_000
"""The spans of the largest trace that is read; a larger one is refused."""


@attrs.frozen
class Added:
    """How many spans are new, were there already, and were there with other content."""

    new: int = 0
    same: int = 0
    different: int = 0


class Spool:
    """Gathers spans by trace, in whatever order they come, in constant memory.

    Args:
        path: The file; a temporary one if ``None``.
    """

    def __init__(self, path: Path | None = None) -> None:
        # SQLite keeps a database without a name in a temporary file, and removes it at the end.
        name = "" if path is None else str(path)
        self._db = sqlite3.connect(name, isolation_level=None, check_same_thread=False)
        if path is not None:
            self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(_CREATE)

    def add(self, spans: Iterable[tuple[str, str, str]], at: float) -> Added:
        """Add spans, all or none; the first of two with the same ids counts.

        Args:
            spans: Trace id, span id and JSON of each, its members sorted.
            at: The time, in seconds.
        """
        new = same = different = 0
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for trace, span, data in spans:
                if self._db.execute(_ADD, (trace, span, at, data)).rowcount:
                    new += 1
                elif self._db.execute(_SAME, (trace, span)).fetchone()[0] == data:
                    same += 1
                else:
                    different += 1
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        return Added(new, same, different)

    def traces(self) -> Iterator[str]:
        """Yield the ids of the traces, sorted; those read may be removed meanwhile."""
        last = ""
        while ids := [row[0] for row in self._db.execute(_NEXT, (last, 500))]:
            yield from ids
            last = ids[-1]

    def quiet(self, before: float, limit: int = 500) -> list[str]:
        """Return traces to which no span was added since a time."""
        return [row[0] for row in self._db.execute(_QUIET, (before, limit))]

    def spans(self, trace: str) -> list[str] | None:
        """Return the JSON of a trace's spans, ``None`` if there are too many."""
        rows = self._db.execute(_TRACE, (trace, MOST_SPANS + 1)).fetchall()
        return None if len(rows) > MOST_SPANS else [row[0] for row in rows]

    def remove(self, traces: Sequence[str]) -> None:
        """Remove traces."""
        self._db.executemany("DELETE FROM span WHERE trace = ?", [(trace,) for trace in traces])

    def close(self) -> None:
        """Close the file."""
        self._db.close()
