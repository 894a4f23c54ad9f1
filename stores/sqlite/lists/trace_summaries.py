"""Summaries of the executions in a SQLite trace store, of which data sets are made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Literal

import attrs

from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.bulk import select_in
from lmflow.values.record import Record

_SUMMARIES = """
SELECT id, uid, target, outputs, failure, inputs FROM trace WHERE id IN ({keys}) ORDER BY id
"""


TraceStatus = Literal["open", "done", "failed"]


@attrs.frozen(eq=False)
class TraceSummary:
    """One execution; inputs and outputs are read when they are accessed.

    Args:
        trace: The trace's id.
        target: The program as ``module:program``, empty if unknown.
        status: The state: open, done or failed.
    """

    trace: str
    target: str
    status: TraceStatus
    _inputs: int = attrs.field(alias="inputs")
    _outputs: int | None = attrs.field(alias="outputs")
    _blobs: BlobReader = attrs.field(alias="blobs")
    _store: str = attrs.field(alias="store")

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
    db: sqlite3.Connection, blobs: BlobReader, store: str, rows: Sequence[int]
) -> Iterator[TraceSummary]:
    """Yield a summary of the execution in each row of the table ``trace``, in their order."""
    for row in select_in(db, _SUMMARIES, rows):
        yield TraceSummary(
            trace=row["uid"],
            target=row["target"],
            status=_status(row),
            inputs=row["inputs"],
            outputs=row["outputs"],
            blobs=blobs,
            store=store,
        )


def _status(row: sqlite3.Row) -> TraceStatus:
    if row["failure"] is not None:
        return "failed"
    return "open" if row["outputs"] is None else "done"
