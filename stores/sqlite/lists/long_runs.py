"""Reads long runs a few executions at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from lmflow.errors import NotFound
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite.blobs.format import digest_text
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.lists.run_totals import reused_column
from lmflow.stores.sqlite.trace_reader import TraceReader
from lmflow.traces.paged import HELD, Paged
from lmflow.traces.reused import as_reused
from lmflow.traces.totals import Totals
from lmflow.traces.trace import PlannedExecution, Trace
from lmflow.values.record import Record

_ITEMS = "SELECT label, trace, {reused} AS reused FROM run_item WHERE run = :run"
_PLANNED = """
SELECT label, inputs, version.hash, sample FROM wanted
JOIN version ON version.id = wanted.version WHERE run = :run
"""
_AT = " AND position >= :start AND position < :stop ORDER BY position"
_AFTER = " ORDER BY position LIMIT :stop - :start OFFSET :start"
_EXTENT = "SELECT count(*), coalesce(max(position) + 1, 0) FROM {table} WHERE run = ?"

# Positions without gaps, which most runs have, are found by the index. An offset counts all rows
# before it, which only runs that were stopped need.
_WHERE = {True: _AT, False: _AFTER}


class HasLongRuns(Protocol):
    """A reader, as its long runs see it when they open it again."""

    @property
    def long_runs(self) -> LongRuns:
        """The parts of runs."""
        ...


class LongRuns:
    """Reads parts of runs through one connection; ``again`` opens another one later."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        store: str,
        blobs: BlobReader,
        traces: TraceReader,
        again: Callable[[], AbstractContextManager[HasLongRuns]] | None,
    ) -> None:
        self._db, self._store = connection, store
        self._blobs, self._traces, self._again = blobs, traces, again

    def all_items(self, run: str) -> Sequence[tuple[str, Trace]]:
        """Return the labels and traces of a run: of a long run they are read later."""
        again, (count, end) = self._again, self._extent("run_item", run)
        if again is None or count <= HELD:
            return tuple(self.part(run, 0, count, gapless=False))

        def read(start: int, stop: int) -> Sequence[tuple[str, Trace]]:
            with again() as reader:
                return reader.long_runs.part(run, start, stop, gapless=count == end)

        return Paged(read, count)

    def all_planned(self, run: str) -> Sequence[PlannedExecution]:
        """Return what a run was begun for: of a long run it is read later."""
        again, (count, end) = self._again, self._extent("wanted", run)
        if again is None or count <= HELD:
            return tuple(self.planned(run, 0, count, gapless=False))

        def read(start: int, stop: int) -> Sequence[PlannedExecution]:
            with again() as reader:
                return reader.long_runs.planned(run, start, stop, gapless=count == end)

        return Paged(read, count)

    def items(self, run: str, start: int, stop: int) -> Sequence[tuple[str, Trace]]:
        """Return the labels and traces of a run at positions, from ``start`` on, up to ``stop``.
        ``NotFound`` if one is missing.
        """
        return self.part(run, start, stop, gapless=True)

    def totals(self, run: str) -> tuple[int, Totals]:
        """Return the number of a run's executions and the totals of their calls."""
        row = self._db.execute("SELECT * FROM v_runs WHERE id = ?", (run,)).fetchone()
        return row["traces"], Totals(
            calls=row["calls"],
            failed=row["failed"],
            orphans=row["orphans"],
            reused=row["reused"],
            read=row["tok_in"],
            written=row["tok_out"],
            cost=None if row["usd"] is None else round(row["usd"] * 1e9),
            unpriced=row["unpriced"],
        )

    def refers(self, run: str, trace: str) -> bool:
        """Tell whether a run only refers to an execution, which an earlier run recorded."""
        query = (
            f"SELECT {reused_column(self._db)} FROM run_item"
            " JOIN trace ON trace.id = run_item.trace WHERE run = ? AND uid = ?"
        )
        row = self._db.execute(query, (run, trace)).fetchone()
        return row is not None and bool(row[0])

    def scored(self) -> list[str]:
        """Return the ids of the executions that have scores."""
        query = (
            "SELECT DISTINCT trace.uid FROM score JOIN trace ON trace.id = score.trace ORDER BY 1"
        )
        return [row[0] for row in self._db.execute(query).fetchall()]

    def part(
        self, run: str, start: int, stop: int, *, gapless: bool
    ) -> Sequence[tuple[str, Trace]]:
        """Return labels and traces; ``gapless`` says that each position has one."""
        query = _ITEMS.format(reused=reused_column(self._db)) + _WHERE[gapless]
        rows = self._rows(query, run, start, stop)
        traces = self._traces.read([row["trace"] for row in rows])
        return [
            (row["label"], as_reused(trace) if row["reused"] else trace)
            for row, trace in zip(rows, traces, strict=True)
        ]

    def planned(
        self, run: str, start: int, stop: int, *, gapless: bool
    ) -> Sequence[PlannedExecution]:
        """Return what was planned; ``gapless`` says that each position has something."""
        rows = self._rows(_PLANNED + _WHERE[gapless], run, start, stop)
        self._blobs.fetch(row["inputs"] for row in rows)
        try:
            return [self._planned_execution(row) for row in rows]
        except DAMAGE as error:
            raise damaged(self._store, f"what run {run} was begun for", error) from error

    def _planned_execution(self, row: sqlite3.Row) -> PlannedExecution:
        inputs = Record(self._blobs.get(row["inputs"]))
        return PlannedExecution(row["label"], inputs, digest_text(row["hash"]), row["sample"])

    def _rows(self, query: str, run: str, start: int, stop: int) -> list[sqlite3.Row]:
        place = {"run": run, "start": start, "stop": stop}
        rows = self._db.execute(query, place).fetchall()
        if len(rows) < stop - start:
            problem = f"run {run} has {len(rows):,} of its executions {start:,} to {stop - 1:,}"
            raise NotFound(self._store, problem, "`lmflow gc` removed it; a backup may have it.")
        return rows

    def _extent(self, table: str, run: str) -> tuple[int, int]:
        """Return the number of a run's rows in a table, and the position after the last."""
        count, end = self._db.execute(_EXTENT.format(table=table), (run,)).fetchone()
        return int(count), int(end)
