"""Reads a SQLite trace store through one connection: runs, traces, versions, refs as values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import attrs

from lmflow.data.conditions import Condition
from lmflow.data.dataset import Dataset
from lmflow.errors import NotFound, Tampered, UnknownVersion
from lmflow.messages.replies import Outcome, outcome_of
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite.blobs.format import digest_bytes, digest_text, hash_of, is_derivable
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.bulk import select_in
from lmflow.stores.sqlite.call_feed import CallFeed
from lmflow.stores.sqlite.checks.verify import StoreCheck, StoreChecker
from lmflow.stores.sqlite.datasets import DatasetReader
from lmflow.stores.sqlite.full_text import CallHit
from lmflow.stores.sqlite.ids import Kind, Place, is_accidental, resolve_id, resolve_place
from lmflow.stores.sqlite.lists.listing import AFTER_ALL_IDS, Listing
from lmflow.stores.sqlite.lists.long_runs import LongRuns
from lmflow.stores.sqlite.lists.outlines import Outlines
from lmflow.stores.sqlite.lists.search import LATEST, SearchPage, search_calls
from lmflow.stores.sqlite.lists.trace_summaries import TraceSummary, trace_summaries
from lmflow.stores.sqlite.trace_reader import TraceReader
from lmflow.stores.sqlite.versions import VersionReader
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.run_root import RunRoot
from lmflow.traces.store import ExecutionQuery
from lmflow.traces.trace import Run, Trace
from lmflow.values.record import Record, digest, pretty
from lmflow.versions.version import Version

_RECORDED = """
SELECT trace.id FROM blob JOIN trace ON trace.inputs = blob.id
JOIN version ON version.id = trace.version
WHERE blob.hash = ? AND trace.program = ? AND version.tree = ? AND trace.sample = ?
ORDER BY trace.ended_ns > 0 DESC, trace.id DESC LIMIT 1
"""
_VERSIONS_OF = """
SELECT DISTINCT version.id, version.hash FROM run_item JOIN trace ON trace.id = run_item.trace
JOIN version ON version.id = trace.version
WHERE run_item.run = :run AND (:trace = '' OR trace.uid = :trace) ORDER BY version.id DESC
"""
# The index has the first eight bytes of a key, in an earlier schema the whole key.
OF_KEY = "substr(call.key, 1, 8) = substr(:key, 1, 8) AND call.key = :key"


class Reader:
    """Reads through one connection, which only one thread may use.

    ``versions`` and ``datasets`` read versions and data sets, ``listing`` lists what fulfils
    conditions, ``outlines`` reads what screens show, ``long_runs`` reads parts of runs. The traces
    of a long run are read when they are looked at, through a reader that ``again`` opens; without
    it they are read at once.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        store: str,
        again: Callable[[], AbstractContextManager[Reader]] | None = None,
    ) -> None:
        self._db = connection
        self.store = store
        self._blobs = BlobReader(connection, store)
        self.versions = VersionReader(connection, store, self._blobs)
        self.datasets = DatasetReader(connection, store, self._blobs)
        self.listing = Listing(connection, store, self._blobs, self.versions)
        self._traces = TraceReader(connection, store, self._blobs, self.versions)
        self.outlines = Outlines(self.listing, self._traces)
        self.long_runs = LongRuns(connection, store, self._blobs, self._traces, again)

    def runs(self, limit: int, before: str) -> Sequence[Run]:
        """Return the latest runs without their traces, newest first, older than the run ``before``.
        ``NotFound`` if there is no such run.
        """
        query = "SELECT * FROM run WHERE id < ? ORDER BY id DESC LIMIT ?"
        if before:
            before = resolve_id(self._db, self.store, "run", "id", before)
        rows = self._db.execute(query, (before or AFTER_ALL_IDS, limit))
        return [self._run(row) for row in rows]

    def summaries(
        self, limit: int, before: str = "", conditions: Iterable[Condition] = ()
    ) -> list[dict[str, Any]]:
        """Return the latest runs that fulfil all conditions as the view ``v_runs`` shows them,
        newest first, with the mean of each of their scores.
        """
        if before:
            before = resolve_id(self._db, self.store, "run", "id", before)
        ids = self.listing.run_ids(conditions, limit, before)
        query = "SELECT * FROM v_runs WHERE id IN ({keys})"
        rows = sorted(select_in(self._db, query, ids), key=lambda row: row["id"], reverse=True)
        scores = self.listing.scores(ids)
        return [{**dict(row), "scores": scores[row["id"]]} for row in rows]

    def run(self, run: str) -> Run:
        """Return a run with its traces, those of a long run when they are looked at; ``NotFound``,
        ``Tampered``.
        """
        run_id = resolve_id(self._db, self.store, "run", "id", run)
        row = self._db.execute("SELECT * FROM run WHERE id = ?", (run_id,)).fetchone()
        items, planned = self.long_runs.all_items(run_id), self.long_runs.all_planned(run_id)
        return attrs.evolve(self._run(row), items=items, wanted=planned)

    def runs_where(self, conditions: Iterable[Condition], limit: int) -> Sequence[Run]:
        """Return the latest runs that fulfil all conditions, without their traces, newest first."""
        ids = self.listing.run_ids(conditions, limit)
        rows = select_in(self._db, "SELECT * FROM run WHERE id IN ({keys})", ids)
        return [self._run(row) for row in sorted(rows, key=lambda row: row["id"], reverse=True)]

    def traces_where(self, conditions: Iterable[Condition], limit: int = -1) -> Sequence[Trace]:
        """Return executions that fulfil all conditions, those of the latest runs first; all of them
        if ``limit`` is negative.
        """
        return self.traces_at([item.row for item in self.listing.traces(conditions, limit)])

    def traces_at(self, rows: Sequence[int]) -> Sequence[Trace]:
        """Return the traces in rows of the table ``trace``, in their order."""
        return self._traces.read(rows)

    def place(self, name: str, *kinds: Kind) -> Place:
        """Return the run or execution that an id, a part of one, a label, ``RUN/LABEL`` or ``last``
        names; ``kinds`` are tried in order. ``NotFound``.
        """
        return resolve_place(self._db, self.store, name, kinds or ("run", "trace"))

    def run_alone(self, run: str) -> Run:
        """Return a run by its whole id, without its traces."""
        row = self._db.execute("SELECT * FROM run WHERE id = ?", (run,)).fetchone()
        return self._run(row)

    def run_with_result(self, result: str) -> Run | None:
        """Return the latest run with a result, without its traces, ``None`` if there is none."""
        query = "SELECT * FROM run WHERE result = ? AND result <> '' ORDER BY id DESC LIMIT 1"
        row = self._db.execute(query, (result,)).fetchone()
        return self._run(row) if row else None

    def root(self, run: str) -> str:
        """Return the root that was recorded when a run ended, empty if it did not end."""
        run_id = resolve_id(self._db, self.store, "run", "id", run)
        row = self._db.execute("SELECT root FROM run WHERE id = ?", (run_id,)).fetchone()
        return digest_text(row["root"]) if row["root"] else ""

    def labels(self, run: str) -> list[tuple[str, str]]:
        """Return label and id of each trace of a run, in order; ``NotFound``."""
        rows = self._db.execute(
            "SELECT label, uid FROM run_item JOIN trace ON trace.id = run_item.trace"
            " WHERE run = ? ORDER BY position",
            (resolve_id(self._db, self.store, "run", "id", run),),
        )
        return [(row["label"], row["uid"]) for row in rows]

    def trace(self, trace: str) -> Trace:
        """Return a trace with all its calls; ``NotFound``, ``Tampered``."""
        uid = resolve_id(self._db, self.store, "trace", "uid", trace)
        row = self._db.execute("SELECT id FROM trace WHERE uid = ?", (uid,)).fetchone()
        return self._traces.read([row["id"]])[0]

    def traces_of(self, inputs: Mapping[str, Any], limit: int = 100) -> Sequence[Trace]:
        """Return the latest finished executions of these inputs, newest first."""
        rows = self._db.execute(
            "SELECT trace.id FROM trace JOIN blob ON blob.id = trace.inputs"
            " WHERE blob.hash = ? AND trace.root IS NOT NULL ORDER BY trace.id DESC LIMIT ?",
            (hash_of("inputs", inputs), limit),
        )
        return self._traces.read([row["id"] for row in rows])

    def version(self, name: str) -> Version:
        """Return the version that a ref or an id names, with git's ``~N``, ``^N`` and ``@{N}``; of
        a run or execution, the version that it ran under.
        """
        try:
            return self.versions.version(name)
        except UnknownVersion as unknown:
            place = None if unknown.matches else self._place_or_none(name)
            if place is None or is_accidental(name, place):
                raise
        rows = self._db.execute(_VERSIONS_OF, {"run": place.run, "trace": place.trace}).fetchall()
        if len(rows) != 1:
            ids = ", ".join(row["hash"].hex()[:12] for row in rows[:4])
            problem = f"{name!r} is a run of {len(rows)} versions"
            raise NotFound(self.store, problem, f"Name one: {ids}." if ids else "")
        return self.versions.at(rows[0]["id"])

    def _place_or_none(self, name: str) -> Place | None:
        try:
            return self.place(name)
        except NotFound:
            return None

    def dataset(self, name: str, split: str = "") -> Dataset:
        """Return the data set of a name or digest, or one of its splits; ``NotFound``."""
        return self.datasets.dataset(name, split)

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """Return the newest reply for a request's key and its trace's id, ``None`` for none."""
        row = self._db.execute(
            "SELECT trace.uid, call.reply FROM call JOIN trace ON trace.id = call.trace"
            f" WHERE {OF_KEY} AND call.status = 'ok'"
            " ORDER BY call.ended_ns DESC, call.id DESC LIMIT 1",
            {"key": digest_bytes(key)},
        ).fetchone()
        if row is None:
            return None
        try:
            return row["uid"], outcome_of(self._blobs.get(row["reply"]))
        except DAMAGE as error:
            raise damaged(self.store, f"a reply of trace {row['uid']}", error) from error

    def refs(self) -> Mapping[str, str]:
        """Return the id of the version that each ref points at, by the ref's name."""
        return self.versions.refs()

    def recorded(self, queries: Sequence[ExecutionQuery]) -> Sequence[Trace | None]:
        """Return the newest trace of each execution, finished ones first, ``None`` for none."""
        rows = [self._db.execute(_RECORDED, _keys_of(query)).fetchone() for query in queries]
        traces = self._traces.by_row([row["id"] for row in rows if row is not None])
        return [row and traces[row["id"]] for row in rows]

    def latest(self, version: str) -> Trace | None:
        """Return the last trace of a version, ``None`` if there is none."""
        row = self._db.execute(
            "SELECT id FROM trace WHERE version = ? ORDER BY id DESC LIMIT 1",
            (self.versions.row_of(version),),
        ).fetchone()
        return self._traces.read([row["id"]])[0] if row else None

    def calls_of_key(self, key: str, limit: int = 3) -> list[tuple[str, str, str]]:
        """Return the last calls with a key: trace, address and the reply as text."""
        rows = self._db.execute(
            "SELECT uid, address, reply FROM call JOIN trace ON trace.id = call.trace"
            f" WHERE {OF_KEY} ORDER BY call.id DESC LIMIT :limit",
            {"key": digest_bytes(key), "limit": limit},
        )
        return [(row["uid"], row["address"], pretty(self._blobs.get(row["reply"]))) for row in rows]

    def scores(self, trace: str) -> list[ScoreRecorded]:
        """Return the scores of a trace, oldest first."""
        uid = resolve_id(self._db, self.store, "trace", "uid", trace)
        rows = self._db.execute(
            "SELECT score.* FROM score JOIN trace ON trace.id = score.trace"
            " WHERE uid = ? ORDER BY score.id",
            (uid,),
        )
        try:
            return [self._score(uid, row) for row in rows]
        except DAMAGE as error:
            raise damaged(self.store, f"a score of trace {uid}", error) from error

    def trace_summaries(self, conditions: Iterable[Condition] = ()) -> Iterator[TraceSummary]:
        """Yield a summary of each execution that fulfils all conditions, oldest first."""
        rows = sorted(item.row for item in self.listing.traces(conditions))
        return trace_summaries(self._db, self._blobs, self.store, rows)

    def verify(self, run: str) -> Run:
        """Return a run after deriving every hash in it again.

        Raises:
            NotFound: If no run, or more than one, has the id.
            Tampered: If a blob, key, version, trace's root or the run's root does not match.
        """
        verified, root = self.run(run), RunRoot()
        for position, (label, trace) in enumerate(verified.items):
            self._verify_trace(trace)
            root.add(position, label, trace.root)
        vars(verified)["root"] = root.value()  # so that nobody reads a long run again for it
        recorded = self.root(verified.id)
        if recorded and recorded != verified.root:
            problem = f"run {verified.id} has the root {recorded[:18]}"
            raise Tampered(self.store, f"{problem}, its traces give {verified.root[:18]}")
        return verified

    def _verify_trace(self, trace: Trace) -> None:
        for call in trace.calls:
            if is_derivable(call.key) and call.request.key != call.key:
                problem = f"the key of {trace.id} {call.address} doesn't match its request"
                raise Tampered(self.store, problem)
        row = self._db.execute("SELECT root FROM trace WHERE uid = ?", (trace.id,)).fetchone()
        if row["root"] and (recorded := digest_text(row["root"])) != trace.root:
            problem = f"trace {trace.id} has the root {recorded[:18]}"
            raise Tampered(self.store, f"{problem}, its calls give {trace.root[:18]}")

    def search(
        self,
        words: Sequence[str],
        limit: int = 20,
        before: int = LATEST,
        conditions: Iterable[Condition] = (),
    ) -> list[CallHit]:
        """Return the latest calls whose last message and answer contain all words, newest first.

        Args:
            words: The words; ``word*`` matches its beginnings, several words in one are a phrase.
            limit: The number of calls.
            before: The number of a call; only older ones are returned, which continues a search.
            conditions: The conditions that the calls must fulfil.
        """
        page = SearchPage(tuple(words), tuple(conditions), limit, before)
        return search_calls(self._db, self.listing, self._blobs, page)

    def follow(self, run: str = "", last: int | None = 0) -> CallFeed:
        """Return a feed of the calls of the store, or of one run, as they end."""
        run_id = str(resolve_id(self._db, self.store, "run", "id", run)) if run else ""
        return CallFeed(self._db, self.store, run_id, last)

    def check(self) -> StoreCheck:
        """Derive every hash in the store again and return what is wrong; nothing is raised."""
        return StoreChecker(self._db, self.store).check()

    def _run(self, row: sqlite3.Row) -> Run:
        try:
            return _run(row)
        except DAMAGE as error:
            raise damaged(self.store, f"run {row['id']}", error) from error

    def _score(self, trace: str, row: sqlite3.Row) -> ScoreRecorded:
        feedback = self._blobs.get(row["feedback"]) or ""
        fields = (row["name"], row["value"], feedback, row["metric"], row["who"], row["at_ns"])
        run = row["run"] if "run" in row.keys() else ""  # noqa: SIM118 - rows aren't mappings
        return ScoreRecorded(trace, *fields, run)


def _run(row: sqlite3.Row) -> Run:
    return Run(
        id=row["id"],
        kind=row["kind"],
        name=row["name"],
        target=row["target"],
        status=row["status"],
        started=row["started_ns"],
        ended=row["ended_ns"],
        of=row["of"],
        config=Record(json.loads(row["config"])),
        result=row["result"],
    )


def _keys_of(query: ExecutionQuery) -> tuple[bytes, bytes, bytes, int]:
    inputs = digest_bytes(digest("inputs", query.inputs))
    return inputs, digest_bytes(query.program), digest_bytes(query.tree), query.sample
