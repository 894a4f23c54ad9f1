"""Events as rows: what the writer thread does with each."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from lmflow.errors import UnknownVersion
from lmflow.messages import ChatReply, EmbedReply, EmbedRequest, Failure, ToolRequest, outcome_to
from lmflow.params import Version
from lmflow.stores.blobs import BlobWriter, derived, raw
from lmflow.trace import (
    Asked,
    CallEnded,
    CallStarted,
    Chosen,
    Event,
    RefMoved,
    Run,
    RunClosed,
    RunOpened,
    Trace,
    TraceClosed,
    TraceOpened,
    VersionSaved,
)
from lmflow.values import Record

_CALL = """
INSERT INTO call (trace, address, attempt, key, kind, model, request, reply, status, tok_in, tok_out, tok_cached,
                  cost, source, started_ns, ended_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (trace, address, attempt) DO UPDATE SET reply = excluded.reply, status = excluded.status,
    tok_in = excluded.tok_in, tok_out = excluded.tok_out, tok_cached = excluded.tok_cached, cost = excluded.cost,
    source = excluded.source, ended_ns = excluded.ended_ns
    WHERE excluded.status <> 'started'
"""


class RowWriter:
    """Writes events inside the caller's transaction. ``forget`` after a rollback."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._blobs = BlobWriter(connection)
        self._traces: dict[str, int] = {}

    def forget(self) -> None:
        """Drop cached ids."""
        self._blobs.forget()
        self._traces.clear()

    def write(self, event: Event) -> None:
        """Write one event. ``UnknownVersion`` where a ref would point nowhere."""
        match event:
            case CallStarted(trace, call) | CallEnded(trace, call):
                self._call(trace, call)
            case TraceOpened(run, label, position, trace):
                self._trace(run, label, position, trace)
            case TraceClosed(trace):
                self._close_trace(trace)
            case Chosen(trace, address, winner):
                row = (self._id(trace), address, json.dumps(winner))
                self._db.execute("INSERT OR REPLACE INTO choice (trace, address, winner) VALUES (?, ?, ?)", row)
            case RunOpened(run, versions):
                self._run(run, versions)
            case RunClosed(run_id, status, root, ended):
                update = "UPDATE run SET status = ?, root = ?, ended_ns = ? WHERE id = ?"
                if not self._db.execute(update, (status, raw(root) if root else None, ended, run_id)).rowcount:
                    msg = f"no run {run_id!r} was opened"
                    raise KeyError(msg)
            case VersionSaved(version, at):
                self._version(version, at)
            case RefMoved():
                self._ref(event)

    def _run(self, run: Run, versions: tuple[Version, ...]) -> None:
        for version in versions:
            self._version(version, run.started)
        row = (run.id, run.kind, run.name, run.target, run.status, run.started, run.ended, run.of)
        names = "id, kind, name, target, status, started_ns, ended_ns, of"
        self._db.execute(f"INSERT INTO run ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608 - our own names
        known = {wanted.version: self._known(wanted.version) for wanted in run.wanted}
        rows = [
            (run.id, position, w.label, self._blobs.put("inputs", w.inputs), known[w.version], w.sample)
            for position, w in enumerate(run.wanted)
        ]
        names = "run, position, label, inputs, version, sample"
        self._db.executemany(f"INSERT INTO wanted ({names}) VALUES (?, ?, ?, ?, ?, ?)", rows)  # noqa: S608 - our own names

    def _known(self, version: str) -> int:
        found = self._db.execute("SELECT id FROM version WHERE hash = ?", (raw(version),)).fetchone()
        if found is None:
            raise UnknownVersion(version)
        return int(found[0])

    def _trace(self, run: str, label: str, position: int, trace: Trace) -> None:
        version = self._version(trace.version, trace.started)
        row = (
            trace.id, raw(trace.program), trace.name, trace.target, version, self._blobs.put("inputs", trace.inputs),
            self._blobs.put("world", trace.world), trace.sample, trace.started, trace.ended,
        )  # fmt: skip
        (found,) = self._db.execute(
            "INSERT INTO trace (uid, program, name, target, version, inputs, world, sample, started_ns, ended_ns)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            row,
        ).fetchone()
        self._traces[trace.id] = found
        item = "INSERT INTO run_item (run, position, label, trace) VALUES (?, ?, ?, ?)"
        self._db.execute(item, (run, position, label, found))

    def _close_trace(self, trace: Trace) -> None:
        row = (
            self._optional("outputs", trace.outputs), self._optional("failure", trace.failure), raw(trace.root),
            self._blobs.put("world", trace.world), trace.ended, self._id(trace.id),
        )  # fmt: skip
        update = "UPDATE trace SET outputs = ?, failure = ?, root = ?, world = ?, ended_ns = ? WHERE id = ?"
        self._db.execute(update, row)
        self._traces.pop(trace.id, None)

    def _call(self, trace: str, call: Asked) -> None:
        outcome = call.outcome
        usage = (
            (outcome.usage.prompt, outcome.usage.completion, outcome.usage.cached)
            if isinstance(outcome, (ChatReply, EmbedReply))
            else (None,) * 3
        )
        status = "started" if outcome is None else "failed" if isinstance(outcome, Failure) else "ok"
        kind, model = (
            ("tool", call.request.tool)
            if isinstance(call.request, ToolRequest)
            else ("embed" if isinstance(call.request, EmbedRequest) else "chat", call.request.model)
        )
        reply = None if outcome is None else self._blobs.put("reply", outcome_to(outcome))
        own = call.key if derived(call.key) else call.request.key
        request = self._blobs.request(call.request, own)
        row = (
            self._id(trace), call.address, call.attempt, raw(call.key), kind, model, request, reply, status, *usage,
            call.cost, call.source, call.started, call.ended,
        )  # fmt: skip
        self._db.execute(_CALL, row)

    def _version(self, version: Version, at: int) -> int:
        hashed = raw(version.id)
        found = self._db.execute("SELECT id FROM version WHERE hash = ?", (hashed,)).fetchone()
        if found:
            return int(found[0])
        params, origin = self._blobs.put("params", version.params), self._blobs.put("origin", version.origin)
        row = (hashed, raw(version.tree), params, version.note, origin, at)
        (made,) = self._db.execute(
            "INSERT INTO version (hash, tree, params, note, origin, created_ns) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
            row,
        ).fetchone()
        parents = [(made, position, raw(parent)) for position, parent in enumerate(version.parents)]
        self._db.executemany("INSERT INTO parent (version, position, hash) VALUES (?, ?, ?)", parents)
        return int(made)

    def _ref(self, moved: RefMoved) -> None:
        found = self._db.execute("SELECT id FROM version WHERE hash = ?", (raw(moved.version),)).fetchone()
        if found is None:
            raise UnknownVersion(moved.version)
        before = self._db.execute("SELECT version FROM ref WHERE name = ?", (moved.name,)).fetchone()
        self._db.execute(
            "INSERT OR REPLACE INTO ref (name, version, updated_ns) VALUES (?, ?, ?)", (moved.name, found[0], moved.at)
        )
        log = "INSERT INTO reflog (name, before, after, why, at_ns) VALUES (?, ?, ?, ?, ?)"
        self._db.execute(log, (moved.name, before and before[0], found[0], moved.why, moved.at))

    def _optional(self, kind: str, value: Record | Any) -> int | None:
        return None if value is None else self._blobs.put(kind, value)

    def _id(self, trace: str) -> int:
        if trace not in self._traces:
            row = self._db.execute("SELECT id FROM trace WHERE uid = ?", (trace,)).fetchone()
            if row is None:
                msg = f"no trace {trace!r} was opened"
                raise KeyError(msg)
            self._traces[trace] = row[0]
        return self._traces[trace]
