"""Checks a whole SQLite trace store: derives every hash again, in one pass and bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import attrs

from lmflow.errors import Tampered, short
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.dialect import dialect_of
from lmflow.stores.sqlite.blobs.format import digest_text, names_parts
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.checks.indexes import index_problems
from lmflow.stores.sqlite.checks.roots import RootReader
from lmflow.stores.sqlite.versions import VersionReader
from lmflow.stores.sqlite.writing.waiting import log_problems

MOST = 100
"""Problems that are reported."""


@attrs.frozen
class StoreCheck:
    """The result of a check.

    Args:
        blobs: The number of blobs that were checked.
        calls: The number of calls.
        traces: The number of traces.
        runs: The number of runs.
        versions: The number of versions.
        pruned: The number of parents that garbage collection removed.
        absent: The number of parents that were never stored.
        problems: What is wrong, the first ``MOST`` of it; empty if the store is sound.
    """

    blobs: int
    calls: int
    traces: int
    runs: int
    versions: int
    pruned: int
    absent: int
    problems: tuple[str, ...]


class StoreChecker:
    """Checks through one read-only connection."""

    def __init__(self, connection: sqlite3.Connection, store: str) -> None:
        self._db = connection
        self._store = store
        self._blobs = BlobReader(connection, store)
        self._versions = VersionReader(connection, store, self._blobs)
        self._roots = RootReader(connection, self._blobs)
        self._problems: list[str] = []

    def check(self) -> StoreCheck:
        """Check the file and its indexes, then derive again: blobs, the keys of calls, the roots of
        traces and runs, versions.
        """
        dialect = dialect_of(self._db)
        of_indexes = index_problems(self._db, MOST) if dialect is None else dialect.problems()
        for problem in (*of_indexes, *log_problems(self._db)):
            self._note(problem)
        blobs = self._each(
            "blob", "SELECT id FROM blob ORDER BY id", lambda row: self._blobs.get(row["id"])
        )
        calls = self._keys()
        traces = self._each("trace", "SELECT * FROM trace ORDER BY id", self._trace)
        runs = self._each("run", "SELECT * FROM run ORDER BY id", self._run)
        versions = self._each(
            "version",
            "SELECT id FROM version ORDER BY id",
            lambda row: self._versions.at(row["id"]),
        )
        missing = [digest_text(row[0]) for row in self._db.execute(_ABSENT)]
        pruned = sum(map(self._versions.pruned, missing))
        return StoreCheck(
            blobs,
            calls,
            traces,
            runs,
            versions,
            pruned,
            len(missing) - pruned,
            tuple(self._problems),
        )

    def _each(self, thing: str, query: str, check: Callable[[sqlite3.Row], object]) -> int:
        count = 0
        for count, row in enumerate(self._db.execute(query), 1):  # noqa: B007 - how many there were
            try:
                check(row)
            except Tampered as error:
                self._note(error.problem)
            except DAMAGE as error:
                self._note(damaged(self._store, f"{thing} {row['id']}", error).problem)
        return count

    def _note(self, problem: str) -> None:
        if len(self._problems) < MOST and problem not in self._problems:
            self._problems.append(problem)

    def _keys(self) -> int:
        query = (
            "SELECT trace.uid, call.address FROM call JOIN trace ON trace.id = call.trace"
            " LEFT JOIN blob ON blob.id = call.request"
            " WHERE length(call.key) = 32 AND blob.hash IS NOT call.key"
        )
        if names_parts(self._db):
            query += " AND call.prefix IS NULL"
            in_parts = "SELECT * FROM call WHERE prefix IS NOT NULL ORDER BY id"
            self._each("call", in_parts, self._blobs.request)
        for row in self._db.execute(query):
            self._note(f"the key of {row['uid']} {row['address']} doesn't match its request")
        return int(self._db.execute("SELECT count(*) FROM call").fetchone()[0])

    def _trace(self, row: sqlite3.Row) -> None:
        self._blobs.get(row["inputs"])
        if row["root"] and (derived := self._roots.of_trace(row)) != digest_text(row["root"]):
            problem = f"trace {row['uid']} has the root {short(digest_text(row['root']))}"
            raise Tampered(self._store, f"{problem}, its calls give {short(derived)}")

    def _run(self, row: sqlite3.Row) -> None:
        if row["root"] and (derived := self._roots.of_run(row["id"])) != digest_text(row["root"]):
            problem = f"run {row['id']} has the root {short(digest_text(row['root']))}"
            raise Tampered(self._store, f"{problem}, its traces give {short(derived)}")


_ABSENT = """
SELECT DISTINCT parent.hash FROM parent
LEFT JOIN version ON version.hash = parent.hash WHERE version.id IS NULL
"""
