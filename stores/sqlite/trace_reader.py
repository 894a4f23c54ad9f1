"""Reads traces with their calls, many in few queries."""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import toolz

from lmflow.messages.replies import outcome_of
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite.blobs.format import digest_text
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.bulk import collection_paused, select_in
from lmflow.stores.sqlite.versions import VersionReader
from lmflow.traces.trace import CallAttempt, Failed, Trace
from lmflow.values.batches import batches
from lmflow.values.record import EMPTY, Record
from lmflow.versions.version import Version

CHUNK = 128
"""Traces that are read at once."""

_TRACE_BLOBS = ("inputs", "world", "outputs", "failure")
_CALL_BLOBS = ("request", "reply")
_PARTS = ("prefix", "last")
"""The columns that name blobs; the last ones are there since schema 11."""

_CALLS = "SELECT * FROM call WHERE trace IN ({keys}) ORDER BY id"


class TraceReader:
    """Reads traces by their rows, through one connection."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        store: str,
        blobs: BlobReader,
        versions: VersionReader,
    ) -> None:
        self._db = connection
        self._store = store
        self._blobs = blobs
        self._versions = versions
        self._worlds: dict[int, Record] = {}

    def read(self, rows: Sequence[int]) -> list[Trace]:
        """Return the traces of rows, in their order."""
        traces = self.by_row(rows)
        missing = [row for row in rows if row not in traces]
        if missing:
            raise damaged(self._store, f"row {missing[0]} of the table trace")
        return [traces[row] for row in rows]

    def by_row(self, rows: Sequence[int]) -> dict[int, Trace]:
        """Return the traces of rows, a chunk at a time in few queries."""
        by_row: dict[int, Trace] = {}
        with collection_paused():
            for chunk in batches(list(dict.fromkeys(rows)), CHUNK):
                by_row |= self._chunk(chunk)
        return by_row

    def call(self, trace: int, address: str, attempt: int) -> CallAttempt | None:
        """Return one call of the trace in a row, ``None`` if it has no such call."""
        query = "SELECT * FROM call WHERE trace = ? AND address = ? AND attempt = ?"
        row = self._db.execute(query, (trace, address, attempt)).fetchone()
        if row is None:
            return None
        try:
            return self._call(row)
        except DAMAGE as error:
            raise damaged(self._store, f"call {row['id']}", error) from error

    def values(self, trace: int) -> tuple[Any, Any, Any]:
        """Return inputs, outputs and failure of the trace in a row as JSON values."""
        query = "SELECT inputs, outputs, failure FROM trace WHERE id = ?"
        row = self._db.execute(query, (trace,)).fetchone()
        if row is None:
            raise damaged(self._store, f"row {trace} of the table trace")
        try:
            inputs, outputs, failure = map(self._blobs.get, row)
        except DAMAGE as error:
            raise damaged(self._store, f"row {trace} of the table trace", error) from error
        return inputs, outputs, failure

    def _chunk(self, rows: Sequence[int]) -> dict[int, Trace]:
        traces = select_in(self._db, "SELECT * FROM trace WHERE id IN ({keys})", rows)
        calls = select_in(self._db, _CALLS, rows)
        choices = select_in(self._db, "SELECT * FROM choice WHERE trace IN ({keys})", rows)
        thing = "the table trace, call or choice"
        by_row: dict[int, Trace] = {}
        try:
            self._blobs.fetch(_blobs_of(traces, calls))
            version = functools.cache(self._versions.at)
            calls_of, choices_of = toolz.groupby("trace", calls), toolz.groupby("trace", choices)
            for row in traces:
                id_, thing = row["id"], f"trace {row['uid']}"
                by_row[id_] = self._trace(
                    row, version(row["version"]), calls_of.get(id_, ()), choices_of.get(id_, ())
                )
        except DAMAGE as error:
            raise damaged(self._store, thing, error) from error
        return by_row

    def _trace(
        self,
        row: sqlite3.Row,
        version: Version,
        calls: Iterable[sqlite3.Row],
        choices: Sequence[sqlite3.Row],
    ) -> Trace:
        outputs, failure = self._blobs.get(row["outputs"]), self._blobs.get(row["failure"])
        return Trace(
            id=row["uid"],
            program=digest_text(row["program"]),
            name=row["name"],
            version=version,
            inputs=Record(self._blobs.get(row["inputs"])),
            world=self._world(row["world"]),
            target=row["target"],
            sample=row["sample"],
            calls=tuple(map(self._call, calls)),
            choices=_choices(choices) if choices else EMPTY,
            outputs=None if outputs is None else Record(outputs),
            failure=Failed(**failure) if failure else None,
            started=row["started_ns"],
            ended=row["ended_ns"],
        )

    def _world(self, blob: int) -> Record:
        """Return the world in a blob; the executions of a run share one."""
        if (world := self._worlds.get(blob)) is None:
            if len(self._worlds) >= CHUNK:
                self._worlds.clear()
            world = self._worlds[blob] = Record(self._blobs.get(blob))
        return world

    def _call(self, row: sqlite3.Row) -> CallAttempt:
        reply = self._blobs.get(row["reply"])
        return CallAttempt(
            row["address"],
            self._blobs.request(row),
            digest_text(row["key"]),
            row["attempt"],
            outcome_of(reply) if reply else None,
            row["started_ns"],
            row["ended_ns"],
            row["cost"],
            row["source"],
        )


def _choices(rows: Iterable[sqlite3.Row]) -> Record:
    return Record({row["address"]: json.loads(row["winner"]) for row in rows})


def _blobs_of(traces: Sequence[sqlite3.Row], calls: Sequence[sqlite3.Row]) -> list[int | None]:
    """Return the blobs that rows of traces and of calls name."""
    parts = _PARTS if calls and "prefix" in calls[0].keys() else ()  # noqa: SIM118 - see `keys`
    columns = (*_CALL_BLOBS, *parts)
    return [*_column_values(traces, _TRACE_BLOBS), *_column_values(calls, columns)]


def _column_values(rows: Iterable[sqlite3.Row], names: tuple[str, ...]) -> list[int | None]:
    return [row[name] for row in rows for name in names]
