"""Checking a whole SQLite trace store: every hash is derived again, in one pass and bounded memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable

import attrs

from lmflow.errors import Tampered, short
from lmflow.messages.replies import Outcome, outcome_of
from lmflow.stores.sqlite.blobs import BlobReader, text
from lmflow.stores.sqlite.versions import Versions
from lmflow.traces.trace import Failed, root_of
from lmflow.values.record import Record, digest

MOST = 100


@attrs.frozen
class Checked:
    """How many of each were checked, what was wrong (the first ``MOST``), and the parents of
    versions that aren't here because they were pruned, or were never kept.
    """

    blobs: int
    calls: int
    traces: int
    runs: int
    versions: int
    pruned: int
    absent: int
    problems: tuple[str, ...]


@attrs.frozen
class _Leaf:
    """A call as a root sees it."""

    address: str
    key: str
    outcome: Outcome


class Checker:
    """Checks through one read-only connection."""

    def __init__(self, connection: sqlite3.Connection, store: str) -> None:
        self._db = connection
        self._store = store
        self._blobs = BlobReader(connection, store)
        self._versions = Versions(connection, store, self._blobs)
        self._problems: list[str] = []

    def check(self) -> Checked:
        """Derive everything again: blobs, the keys of calls, the roots of traces and runs,
        versions.
        """
        blobs = self._each(
            "SELECT id FROM blob ORDER BY id", lambda row: self._blobs.get(row["id"])
        )
        calls = self._keys()
        traces = self._each("SELECT * FROM trace ORDER BY id", self._trace)
        runs = self._each("SELECT * FROM run ORDER BY id", self._run)
        versions = self._each(
            "SELECT id FROM version ORDER BY id", lambda row: self._versions.at(row["id"])
        )
        missing = [text(row[0]) for row in self._db.execute(_ABSENT)]
        pruned = sum(map(self._versions.pruned, missing))
        return Checked(
            blobs,
            calls,
            traces,
            runs,
            versions,
            pruned,
            len(missing) - pruned,
            tuple(self._problems),
        )

    def _each(self, query: str, check: Callable[[sqlite3.Row], object]) -> int:
        count = 0
        for count, row in enumerate(self._db.execute(query), 1):  # noqa: B007 - how many there were
            try:
                check(row)
            except Tampered as error:
                self._found(error.problem)
        return count

    def _found(self, problem: str) -> None:
        if len(self._problems) < MOST and problem not in self._problems:
            self._problems.append(problem)

    def _keys(self) -> int:
        query = (
            "SELECT trace.uid, call.address FROM call JOIN trace ON trace.id = call.trace"
            " LEFT JOIN blob ON blob.id = call.request WHERE length(call.key) = 32 AND blob.hash IS NOT call.key"
        )
        for row in self._db.execute(query):
            self._found(f"the key of {row['uid']} {row['address']} doesn't match its request")
        return int(self._db.execute("SELECT count(*) FROM call").fetchone()[0])

    def _trace(self, row: sqlite3.Row) -> None:
        self._blobs.get(row["inputs"])
        if row["root"] and (found := self._root(row)) != text(row["root"]):
            problem = f"trace {row['uid']} has the root {short(text(row['root']))}, its calls give {short(found)}"
            raise Tampered(self._store, problem)

    def _root(self, row: sqlite3.Row) -> str:
        calls = self._db.execute(
            "SELECT address, key, reply FROM call WHERE trace = ? AND reply IS NOT NULL ORDER BY attempt",
            (row["id"],),
        )
        leaves = {
            c["address"]: _Leaf(c["address"], text(c["key"]), self._outcome(c["reply"]))
            for c in calls
        }
        choices = self._db.execute(
            "SELECT address, winner FROM choice WHERE trace = ?", (row["id"],)
        )
        outputs, failure = self._blobs.get(row["outputs"]), self._blobs.get(row["failure"])
        return root_of(
            leaves.values(), Record({c["address"]: json.loads(c["winner"]) for c in choices}),
            None if outputs is None else Record(outputs), Failed(**failure) if failure else None,
        )  # fmt: skip

    def _outcome(self, reply: int) -> Outcome:
        return outcome_of(self._blobs.get(reply))

    def _run(self, row: sqlite3.Row) -> None:
        if not row["root"]:
            return
        items: Iterable[sqlite3.Row] = self._db.execute(
            "SELECT label, trace.* FROM run_item JOIN trace ON trace.id = run_item.trace WHERE run = ?"
            " ORDER BY position",
            (row["id"],),
        )
        found = digest(
            "run", [[i["label"], text(i["root"]) if i["root"] else self._root(i)] for i in items]
        )
        if found != text(row["root"]):
            problem = f"run {row['id']} has the root {short(text(row['root']))}, its traces give {short(found)}"
            raise Tampered(self._store, problem)


_ABSENT = """
SELECT DISTINCT parent.hash FROM parent LEFT JOIN version ON version.hash = parent.hash WHERE version.id IS NULL
"""
