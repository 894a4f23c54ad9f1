"""Writes events as rows, in bulk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from lmflow.messages.replies import ChatReply, EmbedReply, Outcome, outcome_to
from lmflow.messages.requests import ToolRequest
from lmflow.stores.sqlite.blobs.format import Body, body_of, digest_bytes
from lmflow.stores.sqlite.blobs.writer import BlobWriter
from lmflow.stores.sqlite.bulk import insert_rows
from lmflow.stores.sqlite.full_text import INSERT_WORDS, index_entry
from lmflow.stores.sqlite.generation import generation_of, is_sweeping
from lmflow.stores.sqlite.lists.run_totals import FORGET_TOTALS, FORGET_TOTALS_OF, WRITE_TOTALS
from lmflow.stores.sqlite.writing.statements import (
    CLOSE_TRACES,
    INSERT_ITEMS,
    INSERT_PLANNED,
    INSERT_RUN,
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
from lmflow.values.record import plain
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
        self._bodies: dict[tuple[str, int], Body] = {}
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
        self._clear()

    def write(self, events: Sequence[Event]) -> None:
        """Write events in order; ``UnknownVersion`` if a ref would point nowhere."""
        self._begin()
        put: list[bytes] = []
        for event in events:
            self._gather(event, put)
        self._blobs.find(put)
        for event in events:
            self._write(event)
        self._flush()
        self._bodies.clear()

    def _begin(self) -> None:
        self._clear()
        generation = generation_of(self._db)
        # Garbage was, or is being, collected: a cached id may name a row that is gone, and an id
        # that is used from the cache would not be noted in `touched`.
        if generation != self._generation or is_sweeping(generation):
            self._generation = generation
            self.forget()
        self._blobs.begin()
        self._last_trace, self._last_call = map(int, self._db.execute(_LAST).fetchone())

    def _clear(self) -> None:
        self._bodies.clear()
        self._clear_rows()

    def _clear_rows(self) -> None:
        self._new_traces: list[tuple[Any, ...]] = []
        self._items: list[tuple[Any, ...]] = []
        self._planned: list[tuple[Any, ...]] = []
        self._calls: dict[int, tuple[Any, ...]] = {}
        self._words: list[tuple[int, str, str]] = []
        self._closed: dict[int, tuple[Any, ...]] = {}

    def _flush(self) -> None:
        """Write the rows that wait, each table after those that it refers to."""
        self._blobs.flush()
        insert_rows(self._db, INSERT_TRACES, self._new_traces)
        insert_rows(self._db, INSERT_ITEMS, self._items)
        self._db.executemany(FORGET_TOTALS, {item[:1] for item in self._items})
        insert_rows(self._db, INSERT_PLANNED, self._planned)
        insert_rows(self._db, UPSERT_CALLS, list(self._calls.values()))
        insert_rows(self._db, f"{INSERT_WORDS} VALUES {{rows}}", self._words)
        insert_rows(self._db, CLOSE_TRACES, list(self._closed.values()))
        self._clear_rows()

    def _gather(self, event: Event, put: list[bytes]) -> None:
        """Add the hashes of the blobs of an event to ``put``."""
        match event:
            case CallStarted(_, call) | CallEnded(_, call):
                self._blobs.gather(call.request, call.key, put)
                if call.outcome is not None:
                    put += self._reply(call.outcome).hashes
            case TraceOpened(_, _, _, trace):
                put += self._body("inputs", trace.inputs).hashes
                put.append(self._body("world", trace.world).hashed)
            case TraceClosed(trace):
                for kind, value in (
                    ("world", trace.world),
                    ("outputs", trace.outputs),
                    ("failure", trace.failure),
                ):
                    if value is not None:
                        put += self._body(kind, value).hashes
            case RunOpened(Run(wanted=planned)) | RunPlanned(executions=planned):
                for execution in planned:
                    put += self._body("inputs", execution.inputs).hashes

    def _write(self, event: Event) -> None:  # noqa: C901 - one case an event
        match event:
            case CallStarted() | CallEnded():
                self._call(event.trace, event.call)
            case TraceOpened(run, label, position, trace):
                self._trace(run, label, position, trace)
            case TraceReused(run, label, position, trace):
                self._items.append((run, position, label, self._row_of_trace(trace), 1))
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
                self._versions.note(event)

    def _run(self, run: Run, versions: tuple[Version, ...]) -> None:
        for version in versions:
            self._versions.put(version, run.started)
        config = json.dumps(plain(run.config), sort_keys=True)
        place = (run.id, run.kind, run.name, run.target, run.status)
        row = (*place, run.started, run.ended, run.of, config, run.result)
        self._db.execute(INSERT_RUN, row)
        self._plan(run.id, 0, run.wanted)

    def _plan(self, run: str, first: int, executions: Sequence[PlannedExecution]) -> None:
        version_ids = {planned.version for planned in executions}
        rows = {version_id: self._versions.row_of(version_id) for version_id in version_ids}
        for position, planned in enumerate(executions, first):
            inputs, version = self._put("inputs", planned.inputs), rows[planned.version]
            row = (run, position, planned.label, inputs, version, planned.sample)
            self._planned.append(row)

    def _close_run(self, closed: RunClosed) -> None:
        root = digest_bytes(closed.root) if closed.root else None
        changed = self._db.execute(
            "UPDATE run SET status = ?, root = ?, ended_ns = ?, result = ? WHERE id = ?",
            (closed.status, root, closed.ended, closed.result, closed.id),
        )
        if not changed.rowcount:
            msg = f"no run {closed.id!r} was opened"
            raise KeyError(msg)
        self._flush()
        self._db.execute(WRITE_TOTALS, {"run": closed.id})
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
        self._new_traces.append(
            (
                row_id,
                trace.id,
                digest_bytes(trace.program),
                trace.name,
                trace.target,
                version,
                self._put("inputs", trace.inputs),
                self._put("world", trace.world),
                trace.sample,
                trace.started,
                trace.ended,
            )
        )
        self._items.append((run, position, label, row_id, 0))
        self._traces[trace.id] = row_id
        self._own[row_id] = run

    def _close_trace(self, trace: Trace) -> None:
        row_id = self._row_of_trace(trace.id)
        self._closed[row_id] = (
            row_id,
            self._put_optional("outputs", trace.outputs),
            self._put_optional("failure", trace.failure),
            digest_bytes(trace.root),
            self._put("world", trace.world),
            trace.ended,
        )
        self._traces.pop(trace.id, None)
        self._own.pop(row_id, None)

    def _call(self, trace: str, call: CallAttempt) -> None:
        outcome = call.outcome
        reply = None if outcome is None else self._blobs.put(self._reply(outcome))
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
            _model_or_tool(call),
            *request,
            reply,
            call.status,
            *_tokens(outcome),
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
        self._flush()
        trace = self._row_of_trace(scored.trace)
        (version,) = self._db.execute("SELECT version FROM trace WHERE id = ?", (trace,)).fetchone()
        judgement = (
            scored.name,
            scored.value,
            feedback,
            scored.metric,
            scored.who,
            scored.at,
            scored.run,
        )
        self._db.execute(INSERT_SCORE, (trace, version, *judgement))

    def _put_optional(self, kind: str, value: Any) -> int | None:
        return None if value is None else self._put(kind, value)

    def _put(self, kind: str, value: Any) -> int:
        return self._blobs.put(self._body(kind, value))

    def _body(self, kind: str, value: Any) -> Body:
        """Return the value as it is stored; it is computed once in a transaction.

        The events keep their values alive, so that no ``id`` is used twice meanwhile.
        """
        if (body := self._bodies.get((kind, id(value)))) is None:
            body = self._bodies[kind, id(value)] = body_of(kind, value)
        return body

    def _reply(self, outcome: Outcome) -> Body:
        if (body := self._bodies.get(("reply", id(outcome)))) is None:
            body = self._bodies["reply", id(outcome)] = body_of("reply", outcome_to(outcome))
        return body

    def _row_of_trace(self, trace: str) -> int:
        if trace not in self._traces:
            row = self._db.execute("SELECT id FROM trace WHERE uid = ?", (trace,)).fetchone()
            if row is None:
                msg = f"no trace {trace!r} was opened"
                raise KeyError(msg)
            self._traces[trace] = row[0]
        return self._traces[trace]


def _model_or_tool(call: CallAttempt) -> str:
    return call.request.tool if isinstance(call.request, ToolRequest) else call.request.model


def _tokens(outcome: Outcome | None) -> tuple[int | None, int | None, int | None]:
    """Return the prompt's, the completion's and the cached tokens."""
    if isinstance(outcome, (ChatReply, EmbedReply)):
        return outcome.usage.prompt, outcome.usage.completion, outcome.usage.cached
    return None, None, None
