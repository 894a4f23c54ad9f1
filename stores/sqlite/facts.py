"""What a SQLite trace store knows of each execution, for conditions to be checked against."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import attrs

from lmflow.stores.sqlite.blobs import BlobReader, text
from lmflow.values.record import Record

_FACTS = """
SELECT trace.id, uid, trace.name, target, version.hash, outputs, failure, inputs, started_ns
FROM trace JOIN version ON version.id = trace.version ORDER BY trace.id
"""


@attrs.frozen(eq=False)
class Fact:
    """One execution. What is dear to read, scores, models, inputs and outputs, is read when it is
    asked for.
    """

    trace: str
    program: str
    target: str
    version: str
    status: str
    started: str
    _row: int
    _blobs: tuple[int, int | None]
    _db: sqlite3.Connection
    _read: BlobReader

    @property
    def scores(self) -> list[tuple[str, float]]:
        """The scores with a value, by name, the latest last."""
        query = "SELECT name, value FROM score WHERE trace = ? AND value IS NOT NULL ORDER BY id"
        return [(row[0], row[1]) for row in self._db.execute(query, (self._row,)).fetchall()]

    @property
    def models(self) -> list[str]:
        """The models that it asked."""
        query = "SELECT DISTINCT model FROM call WHERE trace = ? AND kind <> 'tool'"
        return [row[0] for row in self._db.execute(query, (self._row,)).fetchall()]

    @property
    def inputs(self) -> Record:
        """Its inputs."""
        return Record(self._read.get(self._blobs[0]))

    @property
    def outputs(self) -> Record:
        """Its outputs, empty where it has none."""
        return Record(self._read.get(self._blobs[1]) or {})


def facts(db: sqlite3.Connection, blobs: BlobReader) -> Iterator[Fact]:
    """Each execution, oldest first."""
    for row in db.execute(_FACTS):
        status = (
            "failed"
            if row["failure"] is not None
            else "done"
            if row["outputs"] is not None
            else "open"
        )
        started = datetime.fromtimestamp(row["started_ns"] / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        kept: Any = (row["inputs"], row["outputs"])
        yield Fact(
            row["uid"],
            row["name"],
            row["target"],
            text(row["hash"]),
            status,
            started,
            row["id"],
            kept,
            db,
            blobs,
        )
