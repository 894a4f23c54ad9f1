"""Summaries of the executions in a SQLite trace store, which conditions are checked against."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import attrs

from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite.blobs.format import digest_text
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.values.record import Record

_SUMMARIES = """
SELECT trace.id, uid, trace.name, target, version.hash, outputs, failure, inputs, started_ns
FROM trace JOIN version ON version.id = trace.version ORDER BY trace.id
"""


TraceStatus = Literal["open", "done", "failed"]


@attrs.frozen(eq=False)
class TraceSummary:
    """One execution; scores, models, inputs and outputs are read when they are accessed.

    Args:
        trace: The trace's id.
        program: The name of the program.
        target: The program as ``module:program``, empty if unknown.
        version: The version's id.
        status: The state: open, done or failed.
        started: The time of the start, as ISO 8601 in UTC.
    """

    trace: str
    program: str
    target: str
    version: str
    status: TraceStatus
    started: str
    _row: int = attrs.field(alias="row")
    _inputs: int = attrs.field(alias="inputs")
    _outputs: int | None = attrs.field(alias="outputs")
    _db: sqlite3.Connection = attrs.field(alias="db")
    _blobs: BlobReader = attrs.field(alias="blobs")
    _store: str = attrs.field(alias="store")

    @property
    def scores(self) -> list[tuple[str, float]]:
        """The names and values of the scores that have a value, latest last."""
        query = "SELECT name, value FROM score WHERE trace = ? AND value IS NOT NULL ORDER BY id"
        return [(row[0], row[1]) for row in self._db.execute(query, (self._row,)).fetchall()]

    @property
    def models(self) -> list[str]:
        """The models that the execution called."""
        query = "SELECT DISTINCT model FROM call WHERE trace = ? AND kind <> 'tool'"
        return [row[0] for row in self._db.execute(query, (self._row,)).fetchall()]

    @property
    def inputs(self) -> Record:
        """The inputs."""
        return self._record(self._inputs)

    @property
    def outputs(self) -> Record:
        """The outputs, empty if there are none."""
        return self._record(self._outputs)

    def _record(self, blob: int | None) -> Record:
        try:
            return Record(self._blobs.get(blob) or {})
        except DAMAGE as error:
            raise damaged(self._store, f"trace {self.trace}", error) from error


def trace_summaries(
    db: sqlite3.Connection, blobs: BlobReader, store: str
) -> Iterator[TraceSummary]:
    """Yield a summary of each execution, oldest first."""
    for row in db.execute(_SUMMARIES):
        try:
            summary = _summary(row, db, blobs, store)
        except DAMAGE as error:
            raise damaged(store, f"trace {row['uid']}", error) from error
        yield summary


def _summary(
    row: sqlite3.Row, db: sqlite3.Connection, blobs: BlobReader, store: str
) -> TraceSummary:
    started = datetime.fromtimestamp(row["started_ns"] / 1e9, UTC)
    return TraceSummary(
        trace=row["uid"],
        program=row["name"],
        target=row["target"],
        version=digest_text(row["hash"]),
        status=_status(row),
        started=started.strftime("%Y-%m-%dT%H:%M:%S"),
        row=row["id"],
        inputs=row["inputs"],
        outputs=row["outputs"],
        db=db,
        blobs=blobs,
        store=store,
    )


def _status(row: sqlite3.Row) -> TraceStatus:
    if row["failure"] is not None:
        return "failed"
    return "open" if row["outputs"] is None else "done"
