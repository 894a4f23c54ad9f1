"""Writes events as rows, in bulk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from lmflow.stores.sqlite.blobs.format import digest_bytes
from lmflow.stores.sqlite.blobs.writer import BlobWriter
from lmflow.stores.sqlite.bulk import insert_rows
from lmflow.stores.sqlite.full_text import INSERT_WORDS, index_entry
from lmflow.stores.sqlite.generation import generation_of, is_sweeping
from lmflow.stores.sqlite.lists.run_totals import FORGET_TOTALS_OF
from lmflow.stores.sqlite.writing.bodies import Bodies, Forms
from lmflow.stores.sqlite.writing.call_rows import (
    EventPlace,
    ends_of,
    model_or_tool,
    place_of,
    tokens_of,
)
from lmflow.stores.sqlite.writing.run_rows import RunRows
from lmflow.stores.sqlite.writing.statements import (
    CLOSE_TRACES,
    INSERT_ITEMS,
    INSERT_PLANNED,
    INSERT_SCORE,
    INSERT_TRACES,
    UPSERT_CALLS,
)
from lmflow.stores.sqlite.writing.versions import VersionWriter
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    Pinned,
    RaceWon,
    RefMoved,
    RunClosed,
    RunOpened,
    RunPlanned,
    ScoreRecorded,
    SearchSteered,
    TraceClosed,
    TraceOpened,
    TraceReused,
    VersionSaved,
)
from lmflow.traces.trace import CallAttempt, PlannedExecution, Run, Trace
from lmflow.versions.version import Version

_LAST = """
SELECT (SELECT coalesce(max(id), 0) FROM trace), (SELECT coalesce(max(id), 0) FROM call)
"""

_Place = tuple[int, str, int]
"""Trace, address and attempt of a call."""


class RowWriter:
    """Writes the events of one transaction at a time; the caller begins and commits it.

    Rows wait in lists until all events are gathered, so that each table needs few statements.
    Call ``forget`` after a rollback.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._blobs = BlobWriter(connection)
        self._versions = VersionWriter(connection, self._blobs)
        self._bodies = Bodies()
        self._runs = RunRows(connection)
        self._generation = 0
        self.forget()

    def forget(self) -> None:
        """Drop the cached ids and the rows that wait."""
        sweeping = is_sweeping(self._generation)
        self._blobs.forget(sweeping=sweeping)
        self._versions.forget(sweeping=sweeping)
        self._traces: dict[str, int] = {}
        self._own: dict[int, str] = {}
        self._open: dict[_Place, int] = {}
        self._ends: dict[EventPlace, CallAttempt] = {}
        self._early: set[int] = set()
        self._bodies.clear()
        self._clear_rows()

    def write(self, events: Sequence[Event], forms: Forms | None = None) -> None:
        """Write events in order; ``UnknownVersion`` if a ref would point nowhere. ``forms`` are
        canonical forms of values in them that are known already.
        """
        self._begin()
        self._bodies.clear(forms)
        self._ends, self._early = ends_of(events), set()
        put: list[bytes] = []
        for event in events:
            self._gather(event, put)
        self._blobs.find(put)
        for event in events:
            self._write(event)
        self._flush()
        self._bodies.clear()
        self._early.clear()

    def _begin(self) -> None:
        self._clear_rows()
        generation = generation_of(self._db)
        # Garbage was, or is being, collected: a cached id may name a row that is gone, and an id
        # that is used from the cache would not be noted in `touched`.
        if generation != self._generation or is_sweeping(generation):
            self._generation = generation
            self.forget()
        self._blobs.begin()
        self._last_trace, self._last_call = map(int, self._db.execute(_LAST).fetchone())

    def _clear_rows(self) -> None:
        self._new_traces: dict[int, tuple[Any, ...]] = {}
        self._items: list[tuple[Any, ...]] = []
        self._planned: list[tuple[Any, ...]] = []
        self._calls: dict[int, tuple[Any, ...]] = {}
        self._words: list[tuple[int, str, str]] = []
        self._closed: dict[int, tuple[Any, ...]] = {}
        self._scores: list[tuple[Any, ...]] = []
        self._runs.clear()

    def _flush(self) -> None:
        """Write the rows that wait, each table after those that it refers to."""
        self._blobs.flush()
        self._runs.forget_totals({item[0] for item in self._items})
        self._runs.write_new()
        insert_rows(self._db, INSERT_TRACES, list(self._new_traces.values()))
        insert_rows(self._db, INSERT_ITEMS, self._items)
        insert_rows(self._db, INSERT_PLANNED, self._planned)
        insert_rows(self._db, UPSERT_CALLS, list(self._calls.values()))
        insert_rows(self._db, f"{INSERT_WORDS} VALUES {{rows}}", self._words)
        insert_rows(self._db, CLOSE_TRACES, list(self._closed.values()))
        self._db.executemany(INSERT_SCORE, self._scores)
        self._runs.write_totals()
        self._clear_rows()

    def _gather(self, event: Event, put: list[bytes]) -> None:
        """Add the hashes of the blobs of an event to ``put``."""
        match event:
            case CallStarted(_, call) | CallEnded(_, call):
                if type(event) is CallStarted and place_of(event) in self._ends:
                    return
                self._blobs.gather(call.request, call.key, put)
                if call.outcome is not None:
                    put += self._bodies.reply(call.outcome).hashes
            case TraceOpened(_, _, _, trace):
                put += self._bodies.of("inputs", trace.inputs).hashes
                put.append(self._bodies.of("world", trace.world).hashed)
            case TraceClosed(trace):
                for kind, value in (
                    ("world", trace.world),
                    ("outputs", trace.outputs),
                    ("failure", trace.failure),
                ):
                    if value is not None:
                        put += self._bodies.of(kind, value).hashes
            case RunOpened(Run(wanted=planned)) | RunPlanned(executions=planned):
                for execution in planned:
                    put += self._bodies.of("inputs", execution.inputs).hashes

    def _write(self, event: Event) -> None:  # noqa: C901, PLR0912 - one case an event
        match event:
            case CallStarted():
                self._start_call(event)
            case CallEnded():
                self._call(event.trace, event.call)
            case TraceOpened(run, label, position, trace):
                self._trace(run, label, position, trace)
            case TraceReused(run, label, position, trace):
                row_id = self._row_of_trace(trace)  # it may flush, which makes another list
                self._items.append((run, position, label, row_id, 1))
            case TraceClosed(trace):
                self._close_trace(trace)
            case RaceWon(trace, address, winner):
                self._choice(trace, address, winner)
            case RunOpened(run, versions):
                self._run(run, versions)
            case RunPlanned(run, position, executions):
                self._plan(run, position, executions)
            case RunClosed():
                self._close_run(event)
            case VersionSaved(version, at, author):
                self._versions.put(version, at, author)
            case RefMoved():
                self._versions.move_ref(event)
            case ScoreRecorded():
                self._score(event)
            case Pinned() | SearchSteered():
                self._flush()
                self._versions.note(event)

    def _run(self, run: Run, versions: tuple[Version, ...]) -> None:
        for version in versions:
            self._versions.put(version, run.started)
        self._runs.open(run)
        self._plan(run.id, 0, run.wanted)

    def _plan(self, run: str, first: int, executions: Sequence[PlannedExecution]) -> None:
        version_ids = {planned.version for planned in executions}
        rows = {version_id: self._versions.row_of(version_id) for version_id in version_ids}
        for position, planned in enumerate(executions, first):
            inputs, version = self._put("inputs", planned.inputs), rows[planned.version]
            row = (run, position, planned.label, inputs, version, planned.sample)
            self._planned.append(row)

    def _close_run(self, closed: RunClosed) -> None:
        self._runs.close(closed)
        # What comes later, such as a call that nobody waited for, makes the totals wrong.
        self._own = {trace: run for trace, run in self._own.items() if run != closed.id}

    def _choice(self, trace: str, address: str, winner: str | int) -> None:
        self._flush()
        row = (self._row_of_trace(trace), address, json.dumps(winner))
        self._db.execute(
            "INSERT OR REPLACE INTO choice (trace, address, winner) VALUES (?, ?, ?)", row
        )

    def _trace(self, run: str, label: str, position: int, trace: Trace) -> None:
        version = self._versions.put(trace.version, trace.started)
        self._last_trace += 1
        row_id = self._last_trace
        self._new_traces[row_id] = (
            row_id,
            trace.id,
            digest_bytes(trace.program),
            trace.name,
            trace.target,
            version,
            self._put("inputs", trace.inputs),
            trace.sample,
            trace.started,
            *(None, None, None, self._put("world", trace.world), trace.ended),
        )
        self._items.append((run, position, label, row_id, 0))
        self._traces[trace.id] = row_id
        self._own[row_id] = run

    def _close_trace(self, trace: Trace) -> None:
        row_id = self._row_of_trace(trace.id)
        end = (
            self._put_optional("outputs", trace.outputs),
            self._put_optional("failure", trace.failure),
            digest_bytes(trace.root),
            self._put("world", trace.world),
            trace.ended,
        )
        if (new := self._new_traces.get(row_id)) is not None:
            self._new_traces[row_id] = (*new[: -len(end)], *end)
        else:
            self._closed[row_id] = (row_id, *end)
        self._traces.pop(trace.id, None)
        self._own.pop(row_id, None)

    # A call that ends in the same transaction is written once, when it starts: the numbers of calls
    # are in the order in which they started.
    def _start_call(self, started: CallStarted) -> None:
        end = self._ends.get(place_of(started))
        self._call(started.trace, started.call if end is None else end)
        if end is not None:
            self._early.add(id(end))

    def _call(self, trace: str, call: CallAttempt) -> None:
        if id(call) in self._early:
            return
        outcome = call.outcome
        reply = None if outcome is None else self._blobs.put(self._bodies.reply(outcome))
        request = self._blobs.request(call.request, call.key)
        place = (self._row_of_trace(trace), call.address, call.attempt)
        row_id = self._call_id(place)
        if outcome is None and row_id in self._calls:
            return
        self._calls[row_id] = (
            row_id,
            *place,
            digest_bytes(call.key),
            call.kind,
            model_or_tool(call),
            *request,
            reply,
            call.status,
            *tokens_of(outcome),
            call.cost,
            call.source,
            call.started,
            call.ended,
        )
        if outcome is None:
            self._open[place] = row_id
        elif words := index_entry(call.request, outcome):
            self._words.append((row_id, *words))

    def _call_id(self, place: _Place) -> int:
        """Return the number of a call, new if it has none.

        Only calls of traces that another process, or an earlier one, opened need a query.
        """
        is_own = place[0] in self._own
        if not is_own:
            self._db.execute(FORGET_TOTALS_OF, place[:1])
        if (row_id := self._open.pop(place, None)) is not None:
            return row_id
        if not is_own:
            query = "SELECT id FROM call WHERE trace = ? AND address = ? AND attempt = ?"
            if row := self._db.execute(query, place).fetchone():
                return int(row[0])
        self._last_call += 1
        return self._last_call

    def _score(self, scored: ScoreRecorded) -> None:
        feedback = self._put("feedback", scored.feedback) if scored.feedback else None
        trace = self._row_of_trace(scored.trace)
        place = (scored.who, scored.at, scored.run)
        row = (trace, trace, scored.name, scored.value, feedback, scored.metric, *place)
        self._scores.append(row)

    def _put_optional(self, kind: str, value: Any) -> int | None:
        return None if value is None else self._put(kind, value)

    def _put(self, kind: str, value: Any) -> int:
        return self._blobs.put(self._bodies.of(kind, value))

    def _row_of_trace(self, trace: str) -> int:
        if trace not in self._traces:
            self._flush()  # a trace that ended in this transaction may wait itself
            row = self._db.execute("SELECT id FROM trace WHERE uid = ?", (trace,)).fetchone()
            if row is None:
                msg = f"no trace {trace!r} was opened"
                raise KeyError(msg)
            self._traces[trace] = row[0]
        return self._traces[trace]
