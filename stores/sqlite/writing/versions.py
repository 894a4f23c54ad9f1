"""Writes versions, refs and pins."""

from __future__ import annotations

import sqlite3

from lmflow.errors import RefChanged, UnknownVersion
from lmflow.stores.sqlite.blobs.format import body_of, digest_bytes, digest_text
from lmflow.stores.sqlite.blobs.writer import BlobWriter
from lmflow.stores.sqlite.writing.statements import INSERT_ACT
from lmflow.traces.events import Pinned, RefMoved, SearchSteered
from lmflow.versions.version import Version, check_ref

_VERSION = """
INSERT INTO version (hash, tree, params, note, origin, created_ns, author)
VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id
"""
_CURRENT = """
SELECT version.id, hash FROM ref JOIN version ON version.id = ref.version WHERE name = ?
"""
_LINE = """
WITH RECURSIVE line(id) AS (
    SELECT ? UNION SELECT version.id FROM line JOIN parent ON parent.version = line.id
    JOIN version ON version.hash = parent.hash
) INSERT OR IGNORE INTO touched (kind, id)
"""
_TOUCH = (
    f"{_LINE} SELECT 'version', id FROM line",
    f"{_LINE} SELECT 'blob', params FROM version JOIN line ON line.id = version.id",
    f"{_LINE} SELECT 'blob', origin FROM version JOIN line ON line.id = version.id",
)


class VersionWriter:
    """Writes versions, refs and pins inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, blobs: BlobWriter) -> None:
        self._db = connection
        self._blobs = blobs
        self._rows: dict[str, int] = {}
        self._sweeping = False

    def forget(self, *, sweeping: bool) -> None:
        """Drop the cached ids; ``sweeping`` says whether garbage is being collected."""
        self._rows.clear()
        self._sweeping = sweeping

    def put(self, version: Version, at: int, author: str = "") -> int:
        """Return the row of a version, new if it is not stored yet."""
        row_id = self._find(version.id)
        if row_id is not None:
            return row_id
        params = self._blobs.put(body_of("params", version.params))
        origin = self._blobs.put(body_of("origin", version.origin))
        self._blobs.flush()
        hashed, tree = digest_bytes(version.id), digest_bytes(version.tree)
        row = (hashed, tree, params, version.note, origin, at, author)
        (row_id,) = self._db.execute(_VERSION, row).fetchone()
        parents = [(row_id, at, digest_bytes(parent)) for at, parent in enumerate(version.parents)]
        self._db.executemany(
            "INSERT INTO parent (version, position, hash) VALUES (?, ?, ?)", parents
        )
        return int(row_id)

    def row_of(self, version: str) -> int:
        """Return the row of a version that must be stored; ``UnknownVersion``."""
        row_id = self._find(version)
        if row_id is None:
            raise UnknownVersion(version)
        return row_id

    def move_ref(self, move: RefMoved) -> None:
        """Move or delete a ref and add a row to the reflog; ``RefChanged``, ``UnknownVersion``."""
        name = move.name
        before, hashed = self._db.execute(_CURRENT, (name,)).fetchone() or (None, b"")
        current = digest_text(hashed) if hashed else ""
        if move.before is not None and move.before != current:
            raise RefChanged(name, move.before, current)
        after = None
        if move.version:
            after = self.row_of(move.version)
            update = "INSERT OR REPLACE INTO ref (name, version, updated_ns) VALUES (?, ?, ?)"
            self._db.execute(update, (check_ref(name), after, move.at))
        elif not self._db.execute("DELETE FROM ref WHERE name = ?", (name,)).rowcount:
            refs = tuple(row[0] for row in self._db.execute("SELECT name FROM ref"))
            raise UnknownVersion(name, refs)
        log = "INSERT INTO reflog (name, before, after, why, at_ns, who) VALUES (?, ?, ?, ?, ?, ?)"
        self._db.execute(log, (name, before, after, move.why, move.at, move.who))

    def note(self, event: Pinned | SearchSteered) -> None:
        """Pin or unpin a version, or keep an act for the search that it steers;
        ``UnknownVersion``.
        """
        if isinstance(event, Pinned):
            self._pin(event)
            return
        version = self.row_of(event.version) if event.version else None
        if not self._db.execute("SELECT 1 FROM run WHERE id = ?", (event.run,)).fetchone():
            msg = f"no run {event.run!r} was opened"
            raise KeyError(msg)
        row = (event.run, event.kind, version, event.note, event.who, event.at)
        self._db.execute(INSERT_ACT, row)

    def _pin(self, pinned: Pinned) -> None:
        version = self.row_of(pinned.version)
        if pinned.on:
            row = (version, pinned.why, pinned.who, pinned.at)
            self._db.execute(
                "INSERT OR REPLACE INTO pin (version, why, who, at_ns) VALUES (?, ?, ?, ?)", row
            )
        else:
            self._db.execute("DELETE FROM pin WHERE version = ?", (version,))

    def _find(self, version: str) -> int | None:
        """Return the row of a version, ``None`` if it is not stored.

        While garbage is swept, the version, its ancestors and their blobs are touched: nothing that
        a new row refers to may be swept.
        """
        if (row_id := self._rows.get(version)) is not None:
            return row_id
        row = self._db.execute(
            "SELECT id FROM version WHERE hash = ?", (digest_bytes(version),)
        ).fetchone()
        if row is None:
            return None
        if self._sweeping:
            for touch in _TOUCH:
                self._db.execute(touch, row)
        else:
            self._rows[version] = int(row[0])
        return int(row[0])
