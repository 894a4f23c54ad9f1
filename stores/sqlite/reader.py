"""Reading a SQLite trace store: runs, traces, versions and refs as values."""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import toolz

from lmflow.data.dataset import Dataset
from lmflow.errors import NotFound, Tampered
from lmflow.messages.replies import Outcome, outcome_of
from lmflow.stores.sqlite import full_text as search
from lmflow.stores.sqlite.blobs import BlobReader, derived, hashed, raw, text
from lmflow.stores.sqlite.datasets import Datasets
from lmflow.stores.sqlite.facts import Fact, facts
from lmflow.stores.sqlite.full_text import Hit
from lmflow.stores.sqlite.statements import among
from lmflow.stores.sqlite.tail import Tail
from lmflow.stores.sqlite.verify import Checked, Checker
from lmflow.stores.sqlite.versions import Versions
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.store import Wish
from lmflow.traces.trace import CallAttempt, Failed, PlannedExecution, Run, Trace
from lmflow.values.record import Record, digest, pretty
from lmflow.versions.version import Version

TAIL = 8
LAST = chr(0x10FFFF)

LATEST = 2**63 - 1
PIECE = 128
"""Traces that are read at once."""

_OF_TRACE, _OF_CALL = ("inputs", "world", "outputs", "failure"), ("request", "reply")
"""The columns that name blobs."""

_RECORDED = """
SELECT trace.id FROM blob JOIN trace ON trace.inputs = blob.id JOIN version ON version.id = trace.version
WHERE blob.hash = ? AND trace.program = ? AND version.tree = ? AND trace.sample = ?
ORDER BY trace.ended_ns > 0 DESC, trace.id DESC LIMIT 1
"""


class Reader:
    """Reads through one connection."""

    def __init__(self, connection: sqlite3.Connection, store: str) -> None:
        self._db = connection
        self._store = store
        self._blobs = BlobReader(connection, store)
        self.versions = Versions(connection, store, self._blobs)
        self.datasets = Datasets(connection, store, self._blobs)

    def runs(self, limit: int, before: str) -> Sequence[Run]:
        """The latest runs without their traces, newest first."""
        query = "SELECT * FROM run WHERE id < ? ORDER BY id DESC LIMIT ?"
        rows = self._db.execute(query, (before or LAST, limit))
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
        traces = self._traces([row["trace"] for row in rows])
        items = tuple((row["label"], trace) for row, trace in zip(rows, traces, strict=True))
        return attrs.evolve(run, items=items, wanted=self._wanted(found))

    def came_to(self, result: str) -> Run | None:
        """The latest run that came to a result, without its traces, ``None`` where none did."""
        query = "SELECT * FROM run WHERE result = ? AND result <> '' ORDER BY id DESC LIMIT 1"
        row = self._db.execute(query, (result,)).fetchone()
        return _run(row) if row else None

    def root(self, wanted: str) -> str:
        """The root that was recorded when the run ended, empty where it didn't."""
        row = self._db.execute(
            "SELECT root FROM run WHERE id = ?", (self._only("run", "id", wanted),)
        ).fetchone()
        return text(row["root"]) if row["root"] else ""

    def labels(self, wanted: str) -> list[tuple[str, str]]:
        """The traces of a run, (label, id), in order. ``NotFound``."""
        rows = self._db.execute(
            "SELECT label, uid FROM run_item JOIN trace ON trace.id = run_item.trace WHERE run = ? ORDER BY position",
            (self._only("run", "id", wanted),),
        )
        return [(row["label"], row["uid"]) for row in rows]

    def trace(self, wanted: str) -> Trace:
        """A trace with all its calls."""
        found = self._only("trace", "uid", wanted)
        return self._traces(
            [self._db.execute("SELECT id FROM trace WHERE uid = ?", (found,)).fetchone()["id"]]
        )[0]

    def traces_of(self, inputs: Mapping[str, Any], limit: int = 100) -> Sequence[Trace]:
        """The latest executions of these inputs that came to an end, newest first."""
        rows = self._db.execute(
            "SELECT trace.id FROM trace JOIN blob ON blob.id = trace.inputs"
            " WHERE blob.hash = ? AND trace.root IS NOT NULL ORDER BY trace.id DESC LIMIT ?",
            (hashed("inputs", inputs), limit),
        )
        return self._traces([row["id"] for row in rows])

    def version(self, name: str) -> Version:
        """The version that a ref, an id or a short id names, or ``REF~N``."""
        return self.versions.version(name)

    def dataset(self, name: str, split: str = "") -> Dataset:
        """The data set that a name or a digest stands for, or one of its splits. ``NotFound``."""
        return self.datasets.dataset(name, split)

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
        return self.versions.refs()

    def recorded(self, wishes: Sequence[Wish]) -> Sequence[Trace | None]:
        """For each the newest trace of just that, one that ended where there is such."""
        found = [self._db.execute(_RECORDED, _wished(wish)).fetchone() for wish in wishes]
        traces = iter(self._traces([row["id"] for row in found if row]))
        return [next(traces) if row else None for row in found]

    def latest(self, version: str) -> Trace | None:
        """The last trace that ran a version, ``None`` where none did."""
        row = self._db.execute(
            "SELECT id FROM trace WHERE version = ? ORDER BY id DESC LIMIT 1",
            (self.versions.row_of(version),),
        ).fetchone()
        return self._traces([row["id"]])[0] if row else None

    def asked(self, key: str, limit: int = 3) -> list[tuple[str, str, str]]:
        """The last calls with that key: trace, address and the reply in short."""
        rows = self._db.execute(
            "SELECT uid, address, reply FROM call JOIN trace ON trace.id = call.trace WHERE key = ?"
            " ORDER BY call.id DESC LIMIT ?",
            (raw(key), limit),
        )
        return [(row["uid"], row["address"], pretty(self._blobs.get(row["reply"]))) for row in rows]

    def scores(self, wanted: str) -> list[ScoreRecorded]:
        """The scores of a trace, in the order in which they were given."""
        uid = self._only("trace", "uid", wanted)
        rows = self._db.execute(
            "SELECT score.* FROM score JOIN trace ON trace.id = score.trace WHERE uid = ? ORDER BY score.id",
            (uid,),
        )
        return [
            ScoreRecorded(
                uid, row["name"], row["value"], self._blobs.get(row["feedback"]) or "", row["metric"], row["who"],
                row["at_ns"],
            )
            for row in rows
        ]  # fmt: skip

    def facts(self) -> Iterator[Fact]:
        """What is known of each execution, oldest first."""
        return facts(self._db, self._blobs)

    def verify(self, wanted: str) -> Run:
        """The run, after every hash in it was derived again: blobs, keys, versions, trace roots and
        its own root.
        """
        run = self.run(wanted)
        for _, trace in run.items:
            for call in trace.calls:
                if derived(call.key) and call.request.key != call.key:
                    raise Tampered(
                        self._store,
                        f"the key of {trace.id} {call.address} doesn't match its request",
                    )
            row = self._db.execute("SELECT root FROM trace WHERE uid = ?", (trace.id,)).fetchone()
            if row["root"] and text(row["root"]) != trace.root:
                raise Tampered(
                    self._store,
                    f"trace {trace.id} has the root {text(row['root'])[:18]}, its calls give {trace.root[:18]}",
                )
        if (recorded := self.root(run.id)) and recorded != run.root:
            raise Tampered(
                self._store,
                f"run {run.id} has the root {recorded[:18]}, its traces give {run.root[:18]}",
            )
        return run

    def search(self, words: Sequence[str], limit: int = 20, before: int = LATEST) -> list[Hit]:
        """The latest calls whose last message and answer hold all words; ``before`` a call's number
        continues.
        """
        return [
            self._hit(row, words)
            for row in search.rows(self._db, self._store, words, limit, before)
        ]

    def follow(self, run: str = "", last: int | None = 0) -> Tail:
        """Follows the calls of the store, or of one run, as they end, whoever writes them."""
        return Tail(self._db, self._store, str(self._only("run", "id", run)) if run else "", last)

    def _hit(self, row: sqlite3.Row, words: Sequence[str]) -> Hit:
        reply = self._blobs.get(row["reply"])
        found = search.texts(self._blobs.request(row["request"]), outcome_of(reply)) or ("", "")
        asked, answered = (search.snippet(text, words) for text in found)
        where, (shown, marks) = (
            ("answered", answered) if len(answered[1]) >= len(asked[1]) else ("asked", asked)
        )
        return Hit(
            row["id"], row["run"], row["trace"], row["address"], row["attempt"], row["model"], row["status"], where,
            shown, marks,
        )  # fmt: skip

    def check(self) -> Checked:
        """The whole store, after every hash in it was derived again; what is wrong is in the
        result.
        """
        return Checker(self._db, self._store).check()

    def _only(self, kind: str, column: str, wanted: str) -> str:
        """The one id that begins or ends so. Both ends are looked up in an index, the tail from
        ``TAIL`` on.
        """
        tail = (
            f"substr({column}, -{TAIL}) = substr(:id, -{TAIL}) AND " if len(wanted) >= TAIL else ""
        )
        rows = self._db.execute(
            f"SELECT {column} FROM {kind} WHERE {column} >= :id AND {column} < :id || char(1114111)"  # noqa: S608
            f" UNION SELECT {column} FROM {kind} WHERE {tail}substr({column}, -length(:id)) = :id"
            f" ORDER BY 1 DESC LIMIT 4",
            {"id": wanted},
        ).fetchall()
        found = [row[0] for row in rows]
        if wanted and (wanted in found or len(found) == 1):
            return wanted if wanted in found else str(found[0])
        problem = (
            f"{kind} {wanted!r} is ambiguous: {', '.join(found)}"
            if found
            else f"no {kind} {wanted!r}"
        )
        raise NotFound(self._store, *self._pruned(kind, wanted, problem))

    def _pruned(self, kind: str, wanted: str, problem: str) -> tuple[str, str]:
        row = None
        if wanted:
            row = self._db.execute(
                "SELECT name, date(at_ns / 1000000000, 'unixepoch') AS day FROM tombstone"
                " WHERE kind = :kind AND name >= :id AND name < :id || char(1114111)",
                {"kind": kind, "id": wanted},
            ).fetchone()
        if row is None:
            return problem, "`lmflow runs ls` lists what there is."
        return (
            f"{kind} {row['name']} was pruned on {row['day']}",
            "`lmflow gc` removed it; a backup may have it.",
        )

    def _wanted(self, run: str) -> tuple[PlannedExecution, ...]:
        query = (
            "SELECT label, inputs, version.hash, sample FROM wanted JOIN version ON version.id = wanted.version"
            " WHERE run = ? ORDER BY position"
        )
        rows = self._db.execute(query, (run,)).fetchall()
        self._blobs.fetch(row["inputs"] for row in rows)
        return tuple(
            PlannedExecution(
                row["label"],
                Record(self._blobs.get(row["inputs"])),
                text(row["hash"]),
                row["sample"],
            )
            for row in rows
        )

    def _traces(self, ids: Sequence[int]) -> list[Trace]:
        """The traces of those rows, in their order, a piece at a time in few queries."""
        found: dict[int, Trace] = {}
        for piece in toolz.partition_all(PIECE, dict.fromkeys(ids)):
            traces = among(self._db, "SELECT * FROM trace WHERE id IN ({keys})", piece)
            calls = among(self._db, "SELECT * FROM call WHERE trace IN ({keys}) ORDER BY id", piece)
            choices = among(self._db, "SELECT * FROM choice WHERE trace IN ({keys})", piece)
            named = (*((row, _OF_TRACE) for row in traces), *((row, _OF_CALL) for row in calls))
            self._blobs.fetch(row[name] for row, names in named for name in names)
            version = functools.cache(self.versions.at)
            asked, chosen = toolz.groupby("trace", calls), toolz.groupby("trace", choices)
            found |= {
                (at := row["id"]): self._trace(
                    row, version(row["version"]), asked.get(at, ()), chosen.get(at, ())
                )
                for row in traces
            }
        return [found[at] for at in ids]

    def _trace(
        self,
        row: sqlite3.Row,
        version: Version,
        calls: Iterable[sqlite3.Row],
        choices: Iterable[sqlite3.Row],
    ) -> Trace:
        outputs, failure = self._blobs.get(row["outputs"]), self._blobs.get(row["failure"])
        return Trace(
            id=row["uid"], program=text(row["program"]), name=row["name"], version=version,
            inputs=Record(self._blobs.get(row["inputs"])), world=Record(self._blobs.get(row["world"])),
            target=row["target"], sample=row["sample"], calls=tuple(map(self._call, calls)),
            choices=Record({c["address"]: json.loads(c["winner"]) for c in choices}),
            outputs=None if outputs is None else Record(outputs), failure=Failed(**failure) if failure else None,
            started=row["started_ns"], ended=row["ended_ns"],
        )  # fmt: skip

    def _call(self, row: sqlite3.Row) -> CallAttempt:
        reply = self._blobs.get(row["reply"])
        return CallAttempt(
            row["address"], self._blobs.request(row["request"]), text(row["key"]), row["attempt"],
            outcome_of(reply) if reply else None, row["started_ns"], row["ended_ns"], row["cost"], row["source"],
        )  # fmt: skip


def _run(row: sqlite3.Row) -> Run:
    return Run(
        row["id"], row["kind"], row["name"], (), row["target"], row["status"], row["started_ns"], row["ended_ns"],
        row["of"], config=Record(json.loads(row["config"])), result=row["result"],
    )  # fmt: skip


def _wished(wish: Wish) -> tuple[bytes, bytes, bytes, int]:
    return raw(digest("inputs", wish.inputs)), raw(wish.program), raw(wish.tree), wish.sample
