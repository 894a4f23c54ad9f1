"""Reading a SQLite trace store: runs, traces, versions and refs as values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import NotFound, Tampered, UnknownVersion
from lmflow.messages import Outcome, outcome_of
from lmflow.params import Version
from lmflow.stores import search
from lmflow.stores.blobs import BlobReader, derived, hashed, raw, text
from lmflow.stores.search import Hit
from lmflow.stores.tail import Tail
from lmflow.trace import Asked, Failed, Run, Trace, Wanted
from lmflow.values import Record

LATEST = 2**63 - 1


class Reader:
    """Reads through one connection."""

    def __init__(self, connection: sqlite3.Connection, store: str) -> None:
        self._db = connection
        self._store = store
        self._blobs = BlobReader(connection, store)

    def runs(self, limit: int, before: str) -> Sequence[Run]:
        """The latest runs without their traces, newest first."""
        query = "SELECT * FROM run WHERE :before = '' OR id < :before ORDER BY id DESC LIMIT :limit"
        rows = self._db.execute(query, {"before": before, "limit": limit})
        return [_run(row) for row in rows]

    def summaries(self, limit: int, before: str = "") -> list[dict[str, Any]]:
        """The latest runs as ``v_runs`` shows them, newest first."""
        ids = [run.id for run in self.runs(limit, before)]
        marks = ", ".join("?" * len(ids))
        rows = self._db.execute(f"SELECT * FROM v_runs WHERE id IN ({marks}) ORDER BY id DESC", ids)  # noqa: S608
        return [dict(row) for row in rows]

    def run(self, wanted: str) -> Run:
        """A run with all its traces."""
        found = self._only("run", "id", wanted)
        run = _run(self._db.execute("SELECT * FROM run WHERE id = ?", (found,)).fetchone())
        rows = self._db.execute(
            "SELECT label, trace FROM run_item WHERE run = ? ORDER BY position", (found,)
        ).fetchall()
        items = tuple((row["label"], self._trace(row["trace"])) for row in rows)
        return attrs.evolve(run, items=items, wanted=self._wanted(found))

    def root(self, wanted: str) -> str:
        """The root that was recorded when the run ended, empty where it didn't."""
        row = self._db.execute("SELECT root FROM run WHERE id = ?", (self._only("run", "id", wanted),)).fetchone()
        return text(row["root"]) if row["root"] else ""

    def trace(self, wanted: str) -> Trace:
        """A trace with all its calls."""
        found = self._only("trace", "uid", wanted)
        return self._trace(self._db.execute("SELECT id FROM trace WHERE uid = ?", (found,)).fetchone()["id"])

    def traces_of(self, inputs: Mapping[str, Any], limit: int = 100) -> Sequence[Trace]:
        """The latest executions of these inputs that came to an end, newest first."""
        rows = self._db.execute(
            "SELECT trace.id FROM trace JOIN blob ON blob.id = trace.inputs"
            " WHERE blob.hash = ? AND trace.root IS NOT NULL ORDER BY trace.id DESC LIMIT ?",
            (hashed("inputs", inputs), limit),
        )
        return [self._trace(row["id"]) for row in rows.fetchall()]

    def version(self, name: str) -> Version:
        """The version that a ref, an id or a short id names."""
        row = self._db.execute("SELECT version FROM ref WHERE name = ?", (name,)).fetchone()
        found = [row["version"]] if row else self._versions(name.removeprefix("v1:b2:").upper())
        if len(found) != 1:
            raise UnknownVersion(name, tuple(self.refs()))
        return self._version(found[0])

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """The newest reply that was recorded for a key, with the id of its trace."""
        row = self._db.execute(
            "SELECT trace.uid, call.reply FROM call JOIN trace ON trace.id = call.trace"
            " WHERE call.key = ? AND call.status = 'ok' ORDER BY call.ended_ns DESC, call.id DESC LIMIT 1",
            (raw(key),),
        ).fetchone()
        return (row["uid"], outcome_of(self._blobs.get(row["reply"]))) if row else None

    def refs(self) -> Mapping[str, str]:
        """The refs: name -> version id."""
        rows = self._db.execute(
            "SELECT ref.name, version.hash FROM ref JOIN version ON version.id = ref.version ORDER BY 1"
        )
        return {row["name"]: text(row["hash"]) for row in rows}

    def verify(self, wanted: str) -> Run:
        """The run, after every hash in it was derived again: blobs, keys, versions, trace roots and its own root."""
        run = self.run(wanted)
        for _, trace in run.items:
            for call in trace.calls:
                if derived(call.key) and call.request.key != call.key:
                    raise Tampered(self._store, f"the key of {trace.id} {call.address} doesn't match its request")
            row = self._db.execute("SELECT root FROM trace WHERE uid = ?", (trace.id,)).fetchone()
            if row["root"] and text(row["root"]) != trace.root:
                raise Tampered(
                    self._store,
                    f"trace {trace.id} has the root {text(row['root'])[:18]}, its calls give {trace.root[:18]}",
                )
        if (recorded := self.root(run.id)) and recorded != run.root:
            raise Tampered(self._store, f"run {run.id} has the root {recorded[:18]}, its traces give {run.root[:18]}")
        return run

    def search(self, words: Sequence[str], limit: int = 20, before: int = LATEST) -> list[Hit]:
        """The latest calls whose last message and answer hold all words; ``before`` a call's number continues."""
        return [self._hit(row, words) for row in search.rows(self._db, self._store, words, limit, before)]

    def follow(self, run: str = "", last: int | None = 0) -> Tail:
        """Follows the calls of the store, or of one run, as they end, whoever writes them."""
        return Tail(self._db, self._store, str(self._only("run", "id", run)) if run else "", last)

    def _hit(self, row: sqlite3.Row, words: Sequence[str]) -> Hit:
        reply = self._blobs.get(row["reply"])
        found = search.texts(self._blobs.request(row["request"]), outcome_of(reply)) or ("", "")
        asked, answered = (search.snippet(text, words) for text in found)
        where, (shown, marks) = ("answered", answered) if len(answered[1]) >= len(asked[1]) else ("asked", asked)
        return Hit(
            row["id"], row["run"], row["trace"], row["address"], row["attempt"], row["model"], row["status"], where,
            shown, marks,
        )  # fmt: skip

    def _only(self, kind: str, column: str, wanted: str) -> str:
        rows = self._db.execute(
            f"SELECT {column} FROM {kind} WHERE substr({column}, 1, length(:id)) = :id"  # noqa: S608
            f" OR substr({column}, -length(:id)) = :id ORDER BY {column} = :id DESC, {column} DESC LIMIT 4",
            {"id": wanted},
        ).fetchall()
        found = [row[0] for row in rows]
        if wanted and (found[:1] == [wanted] or len(found) == 1):
            return str(found[0])
        problem = f"{kind} {wanted!r} is ambiguous: {', '.join(found)}" if found else f"no {kind} {wanted!r}"
        raise NotFound(self._store, problem, "`lmflow runs ls` lists what there is.")

    def _wanted(self, run: str) -> tuple[Wanted, ...]:
        query = (
            "SELECT label, inputs, version.hash, sample FROM wanted JOIN version ON version.id = wanted.version"
            " WHERE run = ? ORDER BY position"
        )
        return tuple(
            Wanted(row["label"], Record(self._blobs.get(row["inputs"])), text(row["hash"]), row["sample"])
            for row in self._db.execute(query, (run,)).fetchall()
        )

    def _trace(self, row_id: int) -> Trace:
        row = self._db.execute("SELECT * FROM trace WHERE id = ?", (row_id,)).fetchone()
        calls = self._db.execute("SELECT * FROM call WHERE trace = ? ORDER BY id", (row_id,)).fetchall()
        choices = self._db.execute("SELECT address, winner FROM choice WHERE trace = ?", (row_id,)).fetchall()
        outputs, failure = self._blobs.get(row["outputs"]), self._blobs.get(row["failure"])
        return Trace(
            id=row["uid"], program=text(row["program"]), name=row["name"], version=self._version(row["version"]),
            inputs=Record(self._blobs.get(row["inputs"])), world=Record(self._blobs.get(row["world"])),
            target=row["target"], sample=row["sample"], calls=tuple(map(self._call, calls)),
            choices=Record({c["address"]: json.loads(c["winner"]) for c in choices}),
            outputs=None if outputs is None else Record(outputs), failure=Failed(**failure) if failure else None,
            started=row["started_ns"], ended=row["ended_ns"],
        )  # fmt: skip

    def _call(self, row: sqlite3.Row) -> Asked:
        reply = self._blobs.get(row["reply"])
        return Asked(
            row["address"], self._blobs.request(row["request"]), text(row["key"]), row["attempt"],
            outcome_of(reply) if reply else None, row["started_ns"], row["ended_ns"], row["cost"], row["source"],
        )  # fmt: skip

    def _versions(self, prefix: str) -> list[int]:
        if len(prefix) < 4 or not set(prefix) <= set("0123456789ABCDEF"):  # noqa: PLR2004 - shorter ids are mistakes
            return []
        rows = self._db.execute("SELECT id FROM version WHERE hex(hash) LIKE ? LIMIT 2", (f"{prefix}%",))
        return [row["id"] for row in rows]

    def _version(self, row_id: int) -> Version:
        row = self._db.execute("SELECT * FROM version WHERE id = ?", (row_id,)).fetchone()
        parents = self._db.execute("SELECT hash FROM parent WHERE version = ? ORDER BY position", (row_id,)).fetchall()
        version = Version(
            params=Record(self._blobs.get(row["params"])), parents=tuple(text(p["hash"]) for p in parents),
            note=row["note"], origin=Record(self._blobs.get(row["origin"])),
        )  # fmt: skip
        if version.id != text(row["hash"]):
            raise Tampered(self._store, f"version {text(row['hash'])[:18]} hashes to {version.id[:18]}")
        return version


def _run(row: sqlite3.Row) -> Run:
    return Run(
        row["id"], row["kind"], row["name"], (), row["target"], row["status"], row["started_ns"], row["ended_ns"],
        row["of"],
    )  # fmt: skip
