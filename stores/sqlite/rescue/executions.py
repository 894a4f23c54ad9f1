"""Keeps of a rescued store the executions that are whole; those that lack calls can be resumed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from lmflow.errors import Tampered
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, outcome_of
from lmflow.messages.requests import ChatRequest, EmbedRequest, ToolRequest
from lmflow.stores.damage import DAMAGE
from lmflow.stores.sqlite.blobs.format import digest_bytes, digest_text, is_derivable
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.checks.roots import RootReader
from lmflow.stores.sqlite.rescue.indexes import Indexes
from lmflow.stores.sqlite.rescue.report import Losses
from lmflow.values.record import Record

_CHANGED = "its calls do not give its root"
_KINDS = {ChatRequest: "chat", EmbedRequest: "embed", ToolRequest: "tool"}
_NO_BLOB = "NOT IN (SELECT id FROM blob)"
_REOPEN = "UPDATE trace SET root = NULL, outputs = NULL, failure = NULL, ended_ns = 0 WHERE id = ?"
_STOP = "UPDATE run SET root = NULL, status = 'stopped', result = '' WHERE id = ?"
_DERIVED = ("kind", "model", "status", "tok_in", "tok_out", "tok_cached")


_PLACE = "INSERT OR IGNORE INTO run_item (run, position, label, trace) VALUES (?, 0, '', ?)"


class Executions:
    """The runs, traces and calls of a rescued store, through the connection that writes it."""

    def __init__(
        self, db: sqlite3.Connection, store: str, indexes: Indexes, losses: Losses
    ) -> None:
        self._db = db
        self._indexes = indexes
        self._store = store
        self._losses = losses
        self._blobs = BlobReader(db, store)
        self._roots = RootReader(db, self._blobs)
        self._broken: dict[int, str] = {}
        self._stopped: dict[str, None] = {}

    def keep_whole(self) -> None:
        """Delete what is lost, and mark executions that lack something as never ended."""
        self._name_unsure()
        self._restore_runs()
        self._restore_places()
        self._drop_traces()
        self._drop_calls()
        self._check_traces()
        self._drop_unsure_calls()
        self._drop_what_refers()
        self._check_runs()

    def _name_unsure(self) -> None:
        """Name the runs and executions whose ids the indexes have otherwise; delete such scores."""
        for uid in self._indexes.lost("trace", "uid"):
            self._losses.note(f"trace {uid} is lost")
        for trace in self._indexes.lost("call", "trace"):
            self._broken.setdefault(int(trace), "calls of it are lost")
        for row in self._indexes.unsure("run"):
            (run,) = self._db.execute("SELECT id FROM run WHERE rowid = ?", (row,)).fetchone()
            self._losses.note(f"run {run}: its id is not sure")
        for row in self._indexes.unsure("trace", strict=True):
            (uid,) = self._db.execute("SELECT uid FROM trace WHERE id = ?", (row,)).fetchone()
            self._losses.note(f"trace {uid}: its id, version or inputs are not sure")
        for row in self._indexes.unsure("run_item"):
            query = "SELECT run, label FROM run_item WHERE rowid = ?"
            run, label = self._db.execute(query, (row,)).fetchone()
            if self._gives_root(run):
                continue  # the index is wrong, not the row
            self._losses.note(f"run {run}: the place of {label or 'its execution'} is lost")
            self._db.execute("DELETE FROM run_item WHERE rowid = ?", (row,))
            self._stopped.setdefault(run)
        for row in self._indexes.unsure("score"):
            self._losses.note(f"a score is lost (row {row} of the table score)")
            self._db.execute("DELETE FROM score WHERE id = ?", (row,))

    def _restore_runs(self) -> None:
        """Give executions whose run is lost a run of that id, so that they can be found."""
        lost = (
            "SELECT run, count(*), min(trace.name), min(trace.target), min(trace.started_ns)"
            " FROM run_item JOIN trace ON trace.id = run_item.trace"
            " WHERE run NOT IN (SELECT id FROM run) GROUP BY run"
        )
        gone = set(self._indexes.lost("run", "id"))
        for run, count, name, target, started in self._db.execute(lost).fetchall():
            self._db.execute(
                "INSERT INTO run (id, kind, name, target, status, started_ns, ended_ns)"
                " VALUES (?, ?, ?, ?, 'stopped', ?, 0)",
                (run, "run" if count == 1 else "map", name, target, started),
            )
            gone.discard(run)
            self._losses.note(f"run {run}: its row is lost, its executions are kept")
        for run in sorted(gone):
            self._losses.note(f"run {run} is lost")
        self._db.execute("DELETE FROM run_item WHERE run NOT IN (SELECT id FROM run)")

    def _restore_places(self) -> None:
        """Give each execution that is in no run a run of its own, under the execution's id."""
        lost = (
            "SELECT id, uid, name, target, started_ns, ended_ns FROM trace"
            " WHERE id NOT IN (SELECT trace FROM run_item)"
        )
        for row, uid, name, target, started, ended in self._db.execute(lost).fetchall():
            self._losses.note(f"trace {uid}: its run is lost; it is kept as a run of that id")
            self._db.execute(
                "INSERT OR IGNORE INTO run (id, kind, name, target, status, started_ns, ended_ns)"
                " VALUES (?, 'run', ?, ?, 'stopped', ?, ?)",
                (uid, name, target, started, ended),
            )
            self._db.execute(_PLACE, (uid, row))

    def _drop_traces(self) -> None:
        """Delete the traces whose inputs, world or version are lost."""
        lost = (
            "SELECT id, uid FROM trace WHERE version NOT IN (SELECT id FROM version)"
            f" OR inputs {_NO_BLOB} OR world {_NO_BLOB}"
        )
        for row, uid in self._db.execute(lost).fetchall():
            for run, label in self._places(row):
                self._losses.note(f"run {run}: {label or 'its execution'} (trace {uid}) is lost")
                self._stopped.setdefault(run)
            self._db.execute("DELETE FROM trace WHERE id = ?", (row,))
        absent = "SELECT DISTINCT run FROM run_item WHERE trace NOT IN (SELECT id FROM trace)"
        for (run,) in self._db.execute(absent).fetchall():
            if run not in self._stopped:
                self._losses.note(f"run {run}: executions of it are lost")
            self._stopped.setdefault(run)
        self._db.execute("DELETE FROM run_item WHERE trace NOT IN (SELECT id FROM trace)")

    def _drop_calls(self) -> None:
        """Delete the calls whose request or reply is lost, and derive again what is derivable."""
        self._db.execute("DELETE FROM call WHERE trace NOT IN (SELECT id FROM trace)")
        for call in self._rows("SELECT * FROM call ORDER BY id"):
            try:
                facts = self._facts(call)
            except (Tampered, *DAMAGE):
                self._db.execute("DELETE FROM call WHERE id = ?", (call["id"],))
                self._broken.setdefault(call["trace"], "calls of it are lost")
                continue
            if facts != tuple(call[name] for name in _DERIVED):
                columns = ", ".join(f"{name} = ?" for name in _DERIVED)
                update = f"UPDATE call SET {columns} WHERE id = ?"
                self._db.execute(update, (*facts, call["id"]))

    def _facts(self, call: sqlite3.Row) -> tuple[Any, ...]:
        """Return the columns of a call that its request and reply give; an error if one is lost."""
        request = self._blobs.request(call)
        key = digest_text(call["key"])
        if is_derivable(key) and digest_bytes(request.key) != call["key"]:
            raise Tampered(self._store, f"the key of call {call['id']} is wrong")
        model = request.tool if isinstance(request, ToolRequest) else request.model
        outcome = None if call["reply"] is None else outcome_of(self._blobs.get(call["reply"]))
        status = "started" if outcome is None else "ok"
        if isinstance(outcome, Failure):
            status = "failed"
        usage = outcome.usage if isinstance(outcome, (ChatReply, EmbedReply)) else None
        tokens = (usage.prompt, usage.completion, usage.cached) if usage else (None, None, None)
        return _KINDS[type(request)], model, status, *tokens

    def _check_traces(self) -> None:
        """Derive the root of each trace; one that lacks something becomes one that never ended."""
        self._db.execute("DELETE FROM choice WHERE trace NOT IN (SELECT id FROM trace)")
        self._drop_wrong_choices()
        for row in self._rows("SELECT * FROM trace ORDER BY id"):
            problem = self._broken.get(row["id"], "")
            if not problem and (row["root"] or row["outputs"] or row["failure"]):
                problem = self._root_problem(row)
            if not problem:
                continue
            if problem == _CHANGED:
                # All calls are there, and one of them is wrong: which, nobody can tell.
                self._db.execute("DELETE FROM call WHERE trace = ?", (row["id"],))
            self._db.execute(_REOPEN, (row["id"],))
            for run, label in self._places(row["id"]):
                self._stopped.setdefault(run)
                name = f"{label} (trace {row['uid']})" if label else f"trace {row['uid']}"
                self._losses.note(f"run {run}: {name}: {problem}; kept as one that never ended")

    def _drop_unsure_calls(self) -> None:
        """Delete of executions without a root, which proves nothing, the calls whose place the
        index has otherwise.
        """
        query = (
            "SELECT call.trace FROM call JOIN trace ON trace.id = call.trace"
            " WHERE trace.root IS NULL AND call.id = ?"
        )
        for call in self._indexes.unsure("call", strict=True):
            row = self._db.execute(query, (call,)).fetchone()
            if row is None:
                continue
            self._db.execute("DELETE FROM call WHERE id = ?", (call,))
            for run, label in self._places(row["trace"]):
                self._losses.note(f"run {run}: calls of {label or 'its execution'} are lost")
                self._stopped.setdefault(run)

    def _root_problem(self, row: sqlite3.Row) -> str:
        try:
            derived = self._roots.of_trace(row)
        except (Tampered, *DAMAGE):
            return "its result is lost"
        if row["root"] is None:
            return "its root is lost"
        return "" if derived == digest_text(row["root"]) else _CHANGED

    def _drop_wrong_choices(self) -> None:
        for row, winner in self._db.execute("SELECT rowid, winner FROM choice").fetchall():
            try:
                json.loads(winner)
            except ValueError:
                self._db.execute("DELETE FROM choice WHERE rowid = ?", (row,))

    def _drop_what_refers(self) -> None:
        """Delete scores and planned executions that refer to what is lost."""
        scores = (
            "SELECT id, name FROM score WHERE trace NOT IN (SELECT id FROM trace)"
            f" OR version NOT IN (SELECT id FROM version) OR feedback {_NO_BLOB}"
        )
        for score, name in self._db.execute(scores).fetchall():
            self._losses.note(f"a score {name} is lost")
            self._db.execute("DELETE FROM score WHERE id = ?", (score,))
        planned = (
            "SELECT rowid, run, label FROM wanted WHERE run NOT IN (SELECT id FROM run)"
            f" OR inputs {_NO_BLOB} OR version NOT IN (SELECT id FROM version)"
        )
        for row, run, label in self._db.execute(planned).fetchall():
            self._losses.note(f"run {run}: what {label or 'it'} was begun for is lost")
            self._db.execute("DELETE FROM wanted WHERE rowid = ?", (row,))

    def _check_runs(self) -> None:
        """Derive the root of each run; one that lacks an execution becomes a stopped one."""
        for row in self._rows("SELECT * FROM run"):
            if not _is_config(row["config"]):
                self._db.execute("UPDATE run SET config = '{}' WHERE id = ?", (row["id"],))
                self._losses.note(f"run {row['id']}: its settings are lost")
            if row["status"] not in {"open", "done", "failed", "stopped"}:
                self._stopped.setdefault(row["id"])
                self._losses.note(f"run {row['id']}: how it ended is lost")
            if row["root"] and row["id"] not in self._stopped and not self._gives_root(row["id"]):
                self._losses.note(f"run {row['id']}: executions of it are lost, or their labels")
                self._stopped.setdefault(row["id"])
        self._db.executemany(_STOP, [(run,) for run in self._stopped])

    def _gives_root(self, run: str) -> bool:
        """Say whether the executions of a run give the root that it has."""
        row = self._db.execute("SELECT root FROM run WHERE id = ?", (run,)).fetchone()
        if row is None or row["root"] is None:
            return False
        try:
            return self._roots.of_run(run) == digest_text(row["root"])
        except (Tampered, *DAMAGE):
            return False

    def _places(self, trace: int) -> list[tuple[str, str]]:
        query = "SELECT run, label FROM run_item WHERE trace = ? ORDER BY run"
        return [(str(run), str(label)) for run, label in self._db.execute(query, (trace,))]

    def _rows(self, query: str) -> Iterator[sqlite3.Row]:
        return iter(self._db.execute(query).fetchall())


def _is_config(text: str) -> bool:
    try:
        Record(json.loads(text))
    except (TypeError, *DAMAGE):
        return False
    return True
