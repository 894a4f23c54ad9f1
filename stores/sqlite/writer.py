"""Events as rows: what the writer thread does with each."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from lmflow.errors import RefChanged, UnknownVersion
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, Outcome, outcome_to
from lmflow.messages.requests import EmbedRequest, ToolRequest
from lmflow.stores.sqlite.blobs import BlobWriter, Body, body_of, derived, raw, text
from lmflow.stores.sqlite.full_text import KEPT, texts
from lmflow.stores.sqlite.statements import many
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    Pinned,
    RaceWon,
    RefMoved,
    RunClosed,
    RunOpened,
    ScoreRecorded,
    TraceClosed,
    TraceOpened,
    VersionSaved,
)
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.values.record import Record, plain
from lmflow.versions.version import Version, check_ref

_TRACES = """
INSERT INTO trace (id, uid, program, name, target, version, inputs, world, sample, started_ns, ended_ns) VALUES {rows}
"""
_ITEMS = "INSERT INTO run_item (run, position, label, trace) VALUES {rows}"
_WANTED = "INSERT INTO wanted (run, position, label, inputs, version, sample) VALUES {rows}"
_CALLS = """
INSERT INTO call (id, trace, address, attempt, key, kind, model, request, reply, status, tok_in, tok_out, tok_cached,
                  cost, source, started_ns, ended_ns) VALUES {rows}
ON CONFLICT DO UPDATE SET reply = excluded.reply, status = excluded.status,
    tok_in = excluded.tok_in, tok_out = excluded.tok_out, tok_cached = excluded.tok_cached, cost = excluded.cost,
    source = excluded.source, ended_ns = excluded.ended_ns
    WHERE excluded.status <> 'started'
"""
_CLOSED = """
UPDATE trace SET outputs = column2, failure = column3, root = column4, world = column5, ended_ns = column6
FROM (VALUES {rows}) WHERE id = column1
"""
_At = tuple[int, str, int]


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


class RowWriter:
    """Writes events inside the caller's transaction, in bulk: ``write`` takes what one transaction
    holds. ``forget`` after a rollback.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._blobs = BlobWriter(connection)
        self._bodies: dict[tuple[str, int], Body] = {}
        self._generation = 0
        self.forget()

    def forget(self) -> None:
        """Drop cached ids and what waits to be written."""
        self._blobs.forget(sweeping=self._generation % 2 == 1)
        self._traces: dict[str, int] = {}
        self._versions: dict[str, int] = {}
        self._own: set[int] = set()
        self._open: dict[_At, int] = {}
        self._clear()

    def write(self, events: Sequence[Event]) -> None:
        """Write events in order. ``UnknownVersion`` where a ref would point nowhere."""
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
        (generation,) = self._db.execute(
            "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'gc'"
        ).fetchone()
        if generation != self._generation or generation % 2:  # garbage was, or is being, collected
            self._generation = generation
            self.forget()
        self._blobs.begin()
        query = "SELECT (SELECT coalesce(max(id), 0) FROM trace), (SELECT coalesce(max(id), 0) FROM call)"
        self._last_trace, self._last_call = map(int, self._db.execute(query).fetchone())

    def _clear(self) -> None:
        self._bodies.clear()
        self._new_traces: list[tuple[Any, ...]] = []
        self._items: list[tuple[Any, ...]] = []
        self._wanted: list[tuple[Any, ...]] = []
        self._calls: dict[int, tuple[Any, ...]] = {}
        self._words: list[tuple[int, str, str]] = []
        self._closed: dict[int, tuple[Any, ...]] = {}

    def _flush(self) -> None:
        """Write what waits, each after what it refers to."""
        self._blobs.flush()
        many(self._db, _TRACES, self._new_traces)
        many(self._db, _ITEMS, self._items)
        many(self._db, _WANTED, self._wanted)
        many(self._db, _CALLS, list(self._calls.values()))
        many(self._db, f"{KEPT} VALUES {{rows}}", self._words)
        many(self._db, _CLOSED, list(self._closed.values()))
        for waiting in (
            self._new_traces,
            self._items,
            self._wanted,
            self._calls,
            self._words,
            self._closed,
        ):
            waiting.clear()

    def _gather(self, event: Event, put: list[bytes]) -> None:
        """Add the hashes of the blobs that an event puts."""
        match event:
            case CallStarted(_, call) | CallEnded(_, call):
                self._blobs.gather(call.request, _own(call), put)
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
            case RunOpened(run):
                for wanted in run.wanted:
                    put += self._body("inputs", wanted.inputs).hashes

    def _write(self, event: Event) -> None:  # noqa: C901 - one case an event
        match event:
            case CallStarted() | CallEnded():
                self._call(event.trace, event.call)
            case TraceOpened(run, label, position, trace):
                self._trace(run, label, position, trace)
            case TraceClosed(trace):
                self._close_trace(trace)
            case RaceWon(trace, address, winner):
                self._flush()
                row = (self._id(trace), address, json.dumps(winner))
                self._db.execute(
                    "INSERT OR REPLACE INTO choice (trace, address, winner) VALUES (?, ?, ?)", row
                )
            case RunOpened(run, versions):
                self._run(run, versions)
            case RunClosed(run_id, status, root, ended, result):
                update = (
                    "UPDATE run SET status = ?, root = ?, ended_ns = ?, result = ? WHERE id = ?"
                )
                closed = (status, raw(root) if root else None, ended, result, run_id)
                if not self._db.execute(update, closed).rowcount:
                    msg = f"no run {run_id!r} was opened"
                    raise KeyError(msg)
            case VersionSaved(version, at, author):
                self._version(version, at, author)
            case RefMoved():
                self._ref(event)
            case ScoreRecorded():
                self._score(event)
            case Pinned():
                self._pin(event)

    def _run(self, run: Run, versions: tuple[Version, ...]) -> None:
        for version in versions:
            self._version(version, run.started)
        config = json.dumps(plain(run.config), sort_keys=True)
        row = (
            run.id,
            run.kind,
            run.name,
            run.target,
            run.status,
            run.started,
            run.ended,
            run.of,
            config,
            run.result,
        )
        names = "id, kind, name, target, status, started_ns, ended_ns, of, config, result"
        self._db.execute(f"INSERT INTO run ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        known = {wanted.version: self._known(wanted.version) for wanted in run.wanted}
        self._wanted += [
            (run.id, position, w.label, self._put("inputs", w.inputs), known[w.version], w.sample)
            for position, w in enumerate(run.wanted)
        ]

    def _known(self, version: str) -> int:
        found = self._found(version)
        if found is None:
            raise UnknownVersion(version)
        return found

    def _found(self, version: str) -> int | None:
        """The row of a version; while garbage is swept it is touched, with its ancestors and what
        they hold.
        """
        if (known := self._versions.get(version)) is not None:
            return known
        row = self._db.execute("SELECT id FROM version WHERE hash = ?", (raw(version),)).fetchone()
        if row and self._generation % 2:
            for touch in _TOUCH:
                self._db.execute(touch, row)
        elif row:
            self._versions[version] = int(row[0])
        return int(row[0]) if row else None

    def _trace(self, run: str, label: str, position: int, trace: Trace) -> None:
        version = self._version(trace.version, trace.started)
        self._last_trace += 1
        made = self._last_trace
        self._new_traces.append((
            made, trace.id, raw(trace.program), trace.name, trace.target, version, self._put("inputs", trace.inputs),
            self._put("world", trace.world), trace.sample, trace.started, trace.ended,
        ))  # fmt: skip
        self._items.append((run, position, label, made))
        self._traces[trace.id] = made
        self._own.add(made)

    def _close_trace(self, trace: Trace) -> None:
        found = self._id(trace.id)
        self._closed[found] = (
            found, self._optional("outputs", trace.outputs), self._optional("failure", trace.failure), raw(trace.root),
            self._put("world", trace.world), trace.ended,
        )  # fmt: skip
        self._traces.pop(trace.id, None)
        self._own.discard(found)

    def _call(self, trace: str, call: CallAttempt) -> None:
        outcome = call.outcome
        usage = (
            (outcome.usage.prompt, outcome.usage.completion, outcome.usage.cached)
            if isinstance(outcome, (ChatReply, EmbedReply))
            else (None,) * 3
        )
        status = (
            "started" if outcome is None else "failed" if isinstance(outcome, Failure) else "ok"
        )
        kind, model = (
            ("tool", call.request.tool)
            if isinstance(call.request, ToolRequest)
            else ("embed" if isinstance(call.request, EmbedRequest) else "chat", call.request.model)
        )
        reply = None if outcome is None else self._blobs.put(self._reply(outcome))
        own = _own(call)
        request = self._blobs.request(call.request, own)
        at = (self._id(trace), call.address, call.attempt)
        found = self._call_id(at)
        if outcome is None and found in self._calls:
            return
        self._calls[found] = (
            found, *at, own if derived(call.key) else raw(call.key), kind, model, request, reply, status, *usage,
            call.cost, call.source, call.started, call.ended,
        )  # fmt: skip
        if outcome is None:
            self._open[at] = found
        elif words := texts(call.request, outcome):
            self._words.append((found, *words))

    def _call_id(self, at: _At) -> int:
        """The number of a call, new where it is. Only calls of traces that were opened elsewhere
        need a look.
        """
        if (known := self._open.pop(at, None)) is not None:
            return known
        if at[0] not in self._own:
            query = "SELECT id FROM call WHERE trace = ? AND address = ? AND attempt = ?"
            if row := self._db.execute(query, at).fetchone():
                return int(row[0])
        self._last_call += 1
        return self._last_call

    def _version(self, version: Version, at: int, author: str = "") -> int:
        found = self._found(version.id)
        if found is not None:
            return found
        params, origin = self._put("params", version.params), self._put("origin", version.origin)
        self._blobs.flush()
        row = (raw(version.id), raw(version.tree), params, version.note, origin, at, author)
        (made,) = self._db.execute(
            "INSERT INTO version (hash, tree, params, note, origin, created_ns, author)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
            row,
        ).fetchone()
        parents = [(made, position, raw(parent)) for position, parent in enumerate(version.parents)]
        self._db.executemany(
            "INSERT INTO parent (version, position, hash) VALUES (?, ?, ?)", parents
        )
        return int(made)

    def _ref(self, moved: RefMoved) -> None:
        name = moved.name
        query = "SELECT version.id, hash FROM ref JOIN version ON version.id = ref.version WHERE name = ?"
        row, held = self._db.execute(query, (name,)).fetchone() or (None, b"")
        found = text(held) if held else ""
        if moved.before is not None and moved.before != found:
            raise RefChanged(name, moved.before, found)
        after = None
        if moved.version:
            after = self._known(moved.version)
            update = "INSERT OR REPLACE INTO ref (name, version, updated_ns) VALUES (?, ?, ?)"
            self._db.execute(update, (check_ref(name), after, moved.at))
        elif not self._db.execute("DELETE FROM ref WHERE name = ?", (name,)).rowcount:
            raise UnknownVersion(
                name, tuple(r[0] for r in self._db.execute("SELECT name FROM ref"))
            )
        log = "INSERT INTO reflog (name, before, after, why, at_ns, who) VALUES (?, ?, ?, ?, ?, ?)"
        self._db.execute(log, (name, row, after, moved.why, moved.at, moved.who))

    def _score(self, scored: ScoreRecorded) -> None:
        feedback = self._put("feedback", scored.feedback) if scored.feedback else None
        self._flush()
        trace = self._id(scored.trace)
        (version,) = self._db.execute("SELECT version FROM trace WHERE id = ?", (trace,)).fetchone()
        row = (
            trace,
            version,
            scored.name,
            scored.value,
            feedback,
            scored.metric,
            scored.who,
            scored.at,
        )
        insert = (
            "INSERT INTO score (trace, version, name, value, feedback, metric, who, at_ns)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        )
        self._db.execute(insert, row)

    def _pin(self, pinned: Pinned) -> None:
        version = self._known(pinned.version)
        if pinned.on:
            row = (version, pinned.why, pinned.who, pinned.at)
            self._db.execute(
                "INSERT OR REPLACE INTO pin (version, why, who, at_ns) VALUES (?, ?, ?, ?)", row
            )
        else:
            self._db.execute("DELETE FROM pin WHERE version = ?", (version,))

    def _optional(self, kind: str, value: Record | Any) -> int | None:
        return None if value is None else self._put(kind, value)

    def _put(self, kind: str, value: Any) -> int:
        return self._blobs.put(self._body(kind, value))

    def _body(self, kind: str, value: Any) -> Body:
        """The value as it is stored, made once while its events are written."""
        if (found := self._bodies.get((kind, id(value)))) is None:
            found = self._bodies[kind, id(value)] = body_of(kind, value)
        return found

    def _reply(self, outcome: Outcome) -> Body:
        if (found := self._bodies.get(("reply", id(outcome)))) is None:
            found = self._bodies["reply", id(outcome)] = body_of("reply", outcome_to(outcome))
        return found

    def _id(self, trace: str) -> int:
        if trace not in self._traces:
            row = self._db.execute("SELECT id FROM trace WHERE uid = ?", (trace,)).fetchone()
            if row is None:
                msg = f"no trace {trace!r} was opened"
                raise KeyError(msg)
            self._traces[trace] = row[0]
        return self._traces[trace]


def _own(call: CallAttempt) -> bytes:
    """The hash of the request as it is stored, which in a redacted run isn't its key."""
    return raw(call.key if derived(call.key) else call.request.key)
