"""Reading versions, refs and their log from a SQLite trace store."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from lmflow.errors import MissingParent, Tampered, UnknownVersion, short
from lmflow.stores.sqlite.blobs import REMEMBERED, BlobReader, raw, text
from lmflow.traces.events import RefMoved
from lmflow.traces.store import Saved
from lmflow.values.record import Record
from lmflow.versions.history import steps_back
from lmflow.versions.version import Version

SHORTEST = 4
DIGITS = 64
LONGEST = 10**9

_LINE = """
WITH RECURSIVE line(id, depth) AS (
    SELECT ?, 0 UNION ALL
    SELECT version.id, depth + 1 FROM line JOIN parent ON parent.version = line.id AND parent.position = 0
    JOIN version ON version.hash = parent.hash WHERE depth < ?
) SELECT id, depth FROM line ORDER BY depth DESC LIMIT 1
"""
_MOVES = """
SELECT reflog.*, b.hash AS was, a.hash AS now FROM reflog LEFT JOIN version b ON b.id = reflog.before
LEFT JOIN version a ON a.id = reflog.after
"""


class Versions:
    """Reads versions through one connection. ``Tampered`` where one doesn't match its id."""

    def __init__(self, connection: sqlite3.Connection, store: str, blobs: BlobReader) -> None:
        self._db = connection
        self._store = store
        self._blobs = blobs
        self._made: dict[bytes, Version] = {}

    def version(self, name: str) -> Version:
        """The version that a ref, an id or a short id names, or ``REF~N``."""
        return self.at(self.place(name))

    def place(self, name: str) -> int:
        """The row of the version that a ref, an id or a short id names, or ``REF~N``."""
        start, steps = steps_back(name)
        row, depth = self._back(self.row(start), steps)
        if depth < steps and (version := self.at(row)).parents:
            raise MissingParent(version.id, version.parents[0])
        if depth < steps:
            raise UnknownVersion(
                name, tuple(self.refs()), hint=f"The line of {start!r} has {depth} ancestors."
            )
        return row

    def row(self, name: str) -> int:
        """The row of the version that a ref, an id or a short id names. ``UnknownVersion`` unless
        it is one.
        """
        row = self._db.execute("SELECT version FROM ref WHERE name = ?", (name,)).fetchone()
        found = (
            [(row["version"], b"")] if row else self._matches(name.removeprefix("v1:b2:").lower())
        )
        if len(found) != 1:
            matches = tuple(hashed.hex()[:16] for _, hashed in found)
            raise UnknownVersion(name, tuple(self.refs()), matches, self._pruned(name))
        return int(found[0][0])

    def first(self, name: str) -> Version:
        """The first version that is kept of its line, by first parents."""
        return self.line(self.place(name))[1]

    def line(self, row_id: int) -> tuple[Version, Version]:
        """The version of a row and the first that is kept of its line."""
        first, _ = self._back(row_id, LONGEST)
        return self.at(row_id), self.at(first)

    def saved(self, name: str) -> Saved:
        """The version with what stands beside it."""
        version = self.version(name)
        row = self._db.execute(
            "SELECT * FROM version WHERE hash = ?", (raw(version.id),)
        ).fetchone()
        return self._saved(row, version)

    def latest(self, limit: int) -> Iterator[Saved]:
        """The versions that were kept last, newest first."""
        for row in self._db.execute("SELECT * FROM version ORDER BY id DESC LIMIT ?", (limit,)):
            yield self._saved(row, self.at(row["id"]))

    def log(self, name: str) -> Iterator[Saved]:
        """The version and its ancestors that are kept, each once, the latest first; none is read
        ahead of its turn.
        """
        start = self.row_of(self.version(name).id)
        waiting, seen = [(0, start)], {start}
        while waiting:
            row = self._db.execute(
                "SELECT * FROM version WHERE id = ?", (heapq.heappop(waiting)[1],)
            ).fetchone()
            yield self._saved(row, self.at(row["id"]))
            for parent in self._parents(row["id"]):
                if parent["id"] is not None and parent["id"] not in seen:
                    seen.add(parent["id"])
                    heapq.heappush(waiting, (-parent["created_ns"], parent["id"]))

    def row_of(self, version: str) -> int:
        """The row of a version by its whole id. ``UnknownVersion``."""
        row = self._db.execute("SELECT id FROM version WHERE hash = ?", (raw(version),)).fetchone()
        if row is None:
            raise UnknownVersion(version, tuple(self.refs()), hint=self._pruned(version))
        return int(row["id"])

    def refs(self) -> Mapping[str, str]:
        """The refs: name -> version id."""
        rows = self._db.execute(
            "SELECT ref.name, version.hash FROM ref JOIN version ON version.id = ref.version ORDER BY 1"
        )
        return {row["name"]: text(row["hash"]) for row in rows}

    def reflog(self, name: str, limit: int) -> Sequence[RefMoved]:
        """The latest moves of a ref, or of all, newest first."""
        which = "WHERE reflog.name = :name" if name else ""
        query = f"{_MOVES} {which} ORDER BY reflog.id DESC LIMIT :limit"
        rows = self._db.execute(query, {"name": name, "limit": limit})
        return [
            RefMoved(
                row["name"],
                _text(row["now"]),
                row["why"],
                row["at_ns"],
                row["who"],
                _text(row["was"]),
            )
            for row in rows
        ]

    def pins(self) -> Mapping[str, str]:
        """The pins: version id -> why."""
        rows = self._db.execute(
            "SELECT hash, why FROM pin JOIN version ON version.id = pin.version ORDER BY at_ns"
        )
        return {text(row["hash"]): row["why"] for row in rows}

    def pruned(self, version: str) -> bool:
        """Whether garbage collection removed a version of that id."""
        query = "SELECT 1 FROM tombstone WHERE kind = 'version' AND name = ?"
        return self._db.execute(query, (version.removeprefix("v1:b2:"),)).fetchone() is not None

    def at(self, row_id: int) -> Version:
        """The version of a row."""
        row = self._db.execute("SELECT * FROM version WHERE id = ?", (row_id,)).fetchone()
        if (known := self._made.get(row["hash"])) is not None:
            return known
        parents = self._db.execute(
            "SELECT hash FROM parent WHERE version = ? ORDER BY position", (row_id,)
        ).fetchall()
        version = Version(
            params=Record(self._blobs.get(row["params"])), parents=tuple(text(p["hash"]) for p in parents),
            note=row["note"], origin=Record(self._blobs.get(row["origin"])),
        )  # fmt: skip
        if version.id != text(row["hash"]):
            raise Tampered(
                self._store, f"version {short(text(row['hash']))} hashes to {short(version.id)}"
            )
        if len(self._made) >= REMEMBERED:
            self._made.clear()
        self._made[row["hash"]] = version
        return version

    def _back(self, row: int, steps: int) -> tuple[int, int]:
        """The version that many first parents back, or the last that is kept, and how many it is."""
        found = self._db.execute(_LINE, (row, steps)).fetchone()
        return int(found["id"]), int(found["depth"])

    def _saved(self, row: sqlite3.Row, version: Version) -> Saved:
        names = self._db.execute(
            "SELECT name FROM ref WHERE version = ? ORDER BY 1", (row["id"],)
        ).fetchall()
        scores = self._db.execute(
            "SELECT name, avg(value) AS mean, count(*) AS n FROM score WHERE version = ? AND value IS NOT NULL"
            " GROUP BY name",
            (row["id"],),
        )
        absent = tuple(
            text(parent["hash"]) for parent in self._parents(row["id"]) if parent["id"] is None
        )
        means = {score["name"]: (score["mean"], score["n"]) for score in scores}
        return Saved(
            version,
            row["created_ns"],
            row["author"],
            tuple(name[0] for name in names),
            means,
            absent,
        )

    def _parents(self, row_id: int) -> list[sqlite3.Row]:
        query = (
            "SELECT parent.hash, version.id, version.created_ns FROM parent"
            " LEFT JOIN version ON version.hash = parent.hash WHERE parent.version = ? ORDER BY position"
        )
        return self._db.execute(query, (row_id,)).fetchall()

    def _matches(self, prefix: str) -> list[tuple[int, bytes]]:
        if not SHORTEST <= len(prefix) <= DIGITS or not set(prefix) <= set("0123456789abcdef"):
            return []
        first, last = (bytes.fromhex(prefix.ljust(DIGITS, fill)) for fill in "0f")
        rows = self._db.execute(
            "SELECT id, hash FROM version WHERE hash BETWEEN ? AND ? LIMIT 4", (first, last)
        )
        return [(row["id"], row["hash"]) for row in rows]

    def _pruned(self, name: str) -> str:
        digits = name.removeprefix("v1:b2:").lower()
        if len(digits) < SHORTEST:
            return ""
        row = self._db.execute(
            "SELECT date(at_ns / 1000000000, 'unixepoch') AS day FROM tombstone"
            " WHERE kind = 'version' AND name >= :id AND name < :id || 'g'",
            {"id": digits},
        ).fetchone()
        return f"It was pruned on {row['day']}." if row else ""


def _text(hashed: bytes | None) -> str:
    return text(hashed) if hashed else ""
