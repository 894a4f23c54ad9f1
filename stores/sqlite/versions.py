"""Reading versions, refs and their log from a SQLite trace store."""

from __future__ import annotations

import heapq
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence

from lmflow.errors import MissingParent, Tampered, UnknownVersion, near, short
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite.blobs.format import digest_bytes, digest_text
from lmflow.stores.sqlite.blobs.reader import REMEMBERED, BlobReader
from lmflow.traces.events import RefMoved
from lmflow.traces.store import StoredVersion
from lmflow.values.record import Record
from lmflow.values.unicode import well_formed
from lmflow.versions.history import nth_parent, point_in_reflog, revision
from lmflow.versions.version import Version

SHORTEST = 4
"""Digits that a short id has at least."""

DIGITS = 64
"""Digits of a whole id."""

LONGEST = 10**9
"""Steps that are more than any history has."""

_RECENT = 300

# Of one example's scores by a metric only the latest counts: it is scored again by each evaluation.
# Judgements of people all count.
_MEAN_SCORES = """
SELECT name, avg(value) AS mean, count(*) AS n FROM (
    SELECT score.id, score.name, value, metric,
           max(score.id) OVER (
               PARTITION BY score.name, metric = '', trace.inputs, trace.sample
           ) AS latest
    FROM score JOIN trace ON trace.id = score.trace
    WHERE score.version = ? AND value IS NOT NULL
) AS scored WHERE metric = '' OR id = latest GROUP BY name
"""
_LINE = """
WITH RECURSIVE line(id, depth) AS (
    SELECT ?, 0 UNION ALL
    SELECT version.id, depth + 1 FROM line
    JOIN parent ON parent.version = line.id AND parent.position = 0
    JOIN version ON version.hash = parent.hash WHERE depth < ?
) SELECT id, depth FROM line ORDER BY depth DESC LIMIT 1
"""
_MOVES = """
SELECT reflog.*, b.hash AS was, a.hash AS now FROM reflog
LEFT JOIN version b ON b.id = reflog.before
LEFT JOIN version a ON a.id = reflog.after
"""


class VersionReader:
    """Reads versions through one connection; ``Tampered`` if one does not match its id."""

    def __init__(self, connection: sqlite3.Connection, store: str, blobs: BlobReader) -> None:
        self._db = connection
        self._store = store
        self._blobs = blobs
        self._versions: dict[bytes, Version] = {}

    def version(self, name: str) -> Version:
        """Return the version that a ref, an id, a short id or ``REF~N`` names."""
        return self.at(self.row_of_name(name))

    def row_of_name(self, name: str) -> int:
        """Return the row of the version that a name stands for.

        A name is a ref, an id or a short id, with git's moves after it: ``~N``, ``^N``, and after
        a ref ``@{N}`` (N moves ago) or ``@{TIME}``.

        Raises:
            UnknownVersion: If no single version has the name.
            MissingParent: If a move goes to a parent that is not stored.
        """
        try:
            return self._row_of_revision(name)
        except UnknownVersion as error:
            known = error.known or tuple(self.refs())
            raise UnknownVersion(error.name, known, error.matches, error.hint) from None

    def _row_of_revision(self, name: str) -> int:
        parts = revision(well_formed(name))
        start = self._pointed_at(parts.start, parts.at) if parts.at else parts.start
        row = self._row_of_start(start)
        for sign, number in parts.moves:
            if sign == "^":
                parent = nth_parent(name, self.at(row), number, self._version_of_id)
                row = self.row_of(parent.id)
            else:
                row = self._line_back(name, parts.start, row, number)
        return row

    def _line_back(self, name: str, start: str, row: int, steps: int) -> int:
        """Return the row ``steps`` first parents back."""
        last, depth = self._back(row, steps)
        if depth < steps and (version := self.at(last)).parents:
            raise MissingParent(version.id, version.parents[0])
        if depth < steps:
            hint = f"The line of {start!r} has {depth} ancestors."
            raise UnknownVersion(name, tuple(self.refs()), hint=hint)
        return last

    def _version_of_id(self, id_: str) -> Version:
        return self.at(self.row_of(id_))

    def _pointed_at(self, ref: str, at: str) -> str:
        """Return the id of the version that a ref pointed at, by ``REF@{at}``."""
        moves = self.reflog(ref, LONGEST)
        if not moves:
            raise UnknownVersion(ref, tuple(self.refs()))
        log = [(move.at, move.before or "", move.version) for move in moves]
        return point_in_reflog(ref, at, log, time.time_ns())

    def _row_of_start(self, name: str) -> int:
        """Return the row of the version that a ref, an id or a short id names."""
        row = self._db.execute("SELECT version FROM ref WHERE name = ?", (name,)).fetchone()
        if row:
            return int(row["version"])
        matches = self._matches(name.removeprefix("v1:b2:").lower())
        if len(matches) != 1:
            shown = tuple(hashed.hex()[:16] for _, hashed in matches)
            hint = self._pruned(name) or self._near(name)
            raise UnknownVersion(name, tuple(self.refs()), shown, hint)
        return matches[0][0]

    def first(self, name: str) -> Version:
        """Return the oldest stored ancestor of a version, along first parents."""
        return self.line(self.row_of_name(name))[1]

    def line(self, row_id: int) -> tuple[Version, Version]:
        """Return the version of a row, and its oldest stored ancestor along first parents."""
        first, _ = self._back(row_id, LONGEST)
        return self.at(row_id), self.at(first)

    def saved(self, name: str) -> StoredVersion:
        """Return a version with its refs, its scores, and when and by whom it was stored."""
        version = self.version(name)
        row = self._db.execute(
            "SELECT * FROM version WHERE hash = ?", (digest_bytes(version.id),)
        ).fetchone()
        return self._saved(row, version)

    def latest(self, limit: int, before: str = "") -> Iterator[StoredVersion]:
        """Yield the versions that were stored last, newest first, or the last ones before a
        version.
        """
        row_id = self.row_of_name(before) if before else LONGEST
        query = "SELECT * FROM version WHERE id < ? ORDER BY id DESC LIMIT ?"
        for row in self._db.execute(query, (row_id, limit)):
            yield self._saved(row, self.at(row["id"]))

    def count(self) -> int:
        """Return the number of stored versions."""
        return int(self._db.execute("SELECT count(*) FROM version").fetchone()[0])

    def log(self, name: str, skip: int = 0) -> Iterator[StoredVersion]:
        """Yield a version and its stored ancestors, each once, newest first, read one by one; the
        first ``skip`` of them are passed over without being read.
        """
        start = self.row_of_name(name)
        queue, visited = [(0, start)], {start}
        while queue:
            _, row_id = heapq.heappop(queue)
            if skip > 0:
                skip -= 1
            else:
                row = self._db.execute("SELECT * FROM version WHERE id = ?", (row_id,)).fetchone()
                yield self._saved(row, self.at(row_id))
            for parent in self._parents(row_id):
                if parent["id"] is not None and parent["id"] not in visited:
                    visited.add(parent["id"])
                    heapq.heappush(queue, (-parent["created_ns"], parent["id"]))

    def row_of(self, version: str) -> int:
        """Return the row of a version by its whole id; ``UnknownVersion``."""
        row = self._db.execute(
            "SELECT id FROM version WHERE hash = ?", (digest_bytes(version),)
        ).fetchone()
        if row is None:
            raise UnknownVersion(version, tuple(self.refs()), hint=self._pruned(version))
        return int(row["id"])

    def refs(self) -> Mapping[str, str]:
        """Return the id of the version that each ref points at, by the ref's name."""
        rows = self._db.execute(
            "SELECT ref.name, version.hash FROM ref"
            " JOIN version ON version.id = ref.version ORDER BY 1"
        )
        return {row["name"]: digest_text(row["hash"]) for row in rows}

    def titles(self) -> Mapping[str, str]:
        """Return what each version is called by its id: its refs, else its note."""
        rows = self._db.execute(
            "SELECT hash, note, (SELECT group_concat(ref.name, ', ') FROM ref"
            " WHERE ref.version = version.id) AS refs FROM version"
        )
        return {digest_text(row["hash"]): row["refs"] or row["note"] for row in rows}

    def reflog(self, name: str, limit: int) -> Sequence[RefMoved]:
        """Return the latest moves of a ref, or of all, newest first."""
        which = "WHERE reflog.name = :name" if name else ""
        query = f"{_MOVES} {which} ORDER BY reflog.id DESC LIMIT :limit"
        rows = self._db.execute(query, {"name": well_formed(name), "limit": limit})
        return [
            RefMoved(
                row["name"],
                _id_or_empty(row["now"]),
                row["why"],
                row["at_ns"],
                row["who"],
                _id_or_empty(row["was"]),
            )
            for row in rows
        ]

    def pins(self) -> Mapping[str, str]:
        """Return the reason of each pin, by version id."""
        rows = self._db.execute(
            "SELECT hash, why FROM pin JOIN version ON version.id = pin.version ORDER BY at_ns"
        )
        return {digest_text(row["hash"]): row["why"] for row in rows}

    def pruned(self, version: str) -> bool:
        """Say whether garbage collection removed the version with that id."""
        query = "SELECT 1 FROM tombstone WHERE kind = 'version' AND name = ?"
        return self._db.execute(query, (version.removeprefix("v1:b2:"),)).fetchone() is not None

    def at(self, row_id: int) -> Version:
        """Return the version of a row."""
        row = self._db.execute("SELECT * FROM version WHERE id = ?", (row_id,)).fetchone()
        if row is None:
            raise damaged(self._store, f"row {row_id} of the table version")
        if (version := self._versions.get(row["hash"])) is not None:
            return version
        version = self._read(row_id, row)
        if len(self._versions) >= REMEMBERED:
            self._versions.clear()
        self._versions[row["hash"]] = version
        return version

    def _read(self, row_id: int, row: sqlite3.Row) -> Version:
        """Return the version of a row, read and checked against its id."""
        parents = self._db.execute(
            "SELECT hash FROM parent WHERE version = ? ORDER BY position", (row_id,)
        ).fetchall()
        try:
            id_ = digest_text(row["hash"])
            version = Version(
                params=Record(self._blobs.get(row["params"])),
                parents=tuple(digest_text(parent["hash"]) for parent in parents),
                note=row["note"],
                origin=Record(self._blobs.get(row["origin"])),
            )
        except DAMAGE as error:
            raise damaged(self._store, f"row {row_id} of the table version", error) from error
        if version.id != id_:
            raise Tampered(self._store, f"version {short(id_)} hashes to {short(version.id)}")
        return version

    def _back(self, row: int, steps: int) -> tuple[int, int]:
        """Return the row ``steps`` first parents back, or the last stored one, and its distance."""
        ancestor = self._db.execute(_LINE, (row, steps)).fetchone()
        return int(ancestor["id"]), int(ancestor["depth"])

    def _saved(self, row: sqlite3.Row, version: Version) -> StoredVersion:
        names = self._db.execute(
            "SELECT name FROM ref WHERE version = ? ORDER BY 1", (row["id"],)
        ).fetchall()
        scores = self._db.execute(_MEAN_SCORES, (row["id"],))
        absent = tuple(
            digest_text(parent["hash"])
            for parent in self._parents(row["id"])
            if parent["id"] is None
        )
        means = {score["name"]: (score["mean"], score["n"]) for score in scores}
        return StoredVersion(
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
            " LEFT JOIN version ON version.hash = parent.hash"
            " WHERE parent.version = ? ORDER BY position"
        )
        return self._db.execute(query, (row_id,)).fetchall()

    def _matches(self, prefix: str) -> list[tuple[int, bytes]]:
        """Return row and hash of the versions whose ids begin with the digits, at most four."""
        if not SHORTEST <= len(prefix) <= DIGITS or not set(prefix) <= set("0123456789abcdef"):
            return []
        first, last = (bytes.fromhex(prefix.ljust(DIGITS, fill)) for fill in "0f")
        rows = self._db.execute(
            "SELECT id, hash FROM version WHERE hash BETWEEN ? AND ? LIMIT 4", (first, last)
        )
        return [(row["id"], row["hash"]) for row in rows]

    def _near(self, name: str) -> str:
        """Return the question for the newest version whose id is nearly the name; else nothing."""
        if near(name, self.refs()):
            return ""
        digits = name.removeprefix("v1:b2:")
        query = "SELECT hash FROM version ORDER BY id DESC LIMIT ?"
        ids = [row["hash"].hex() for row in self._db.execute(query, (_RECENT,))]
        if len(digits) < SHORTEST and any(id_.startswith(digits.lower()) for id_ in ids):
            return f"Give at least {SHORTEST} digits of an id."
        return near(digits, [id_[: len(digits)] for id_ in ids]).strip()

    def _pruned(self, name: str) -> str:
        """Return when garbage collection removed a version of that name, empty if it did not."""
        digits = name.removeprefix("v1:b2:").lower()
        if len(digits) < SHORTEST:
            return ""
        row = self._db.execute(
            "SELECT date(at_ns / 1000000000, 'unixepoch') AS day FROM tombstone"
            " WHERE kind = 'version' AND name >= :id AND name < :id || 'g'",
            {"id": digits},
        ).fetchone()
        return f"It was pruned on {row['day']}." if row else ""


def _id_or_empty(hashed: bytes | None) -> str:
    return digest_text(hashed) if hashed else ""
