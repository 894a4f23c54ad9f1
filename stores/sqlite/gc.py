"""Collecting garbage in a SQLite trace store: what nothing reaches any more, and runs that are
older than is kept.

The store may be written meanwhile. While ``meta.gc`` is odd, writers note in ``touched`` each blob
and version that they use anew; what is swept was unreachable in a snapshot taken after that, and
wasn't touched since.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from lmflow.errors import StoreError
from lmflow.messages.replies import outcome_of
from lmflow.stores.sqlite.blobs import BlobReader, form_of, unpacked
from lmflow.stores.sqlite.full_text import texts
from lmflow.stores.sqlite.schema import check_file, prepare

BATCH = 2000
GRACE = 24 * 3600 * 10**9


@attrs.frozen
class Swept:
    """How much goes, or went: runs, traces, calls, versions, blobs, and the bytes of the blobs."""

    runs: int = 0
    traces: int = 0
    calls: int = 0
    versions: int = 0
    blobs: int = 0
    bytes: int = 0


def collect(
    path: str | Path, *, older_than: int | None = None, dry_run: bool = True, now: int | None = None
) -> Swept:
    """Sweep versions and blobs that no ref, reflog, pin or run reaches, and runs that are older
    than ``older_than`` nanoseconds; what a dry run says is what would go.

    Runs are all kept without ``older_than``. What was kept, or begun and not ended, within
    ``GRACE`` stays. Runs and versions that go leave a tombstone. Sweeps in batches, so that the
    store can be written meanwhile.
    """
    if not check_file(Path(path)):
        raise StoreError(str(path), "there is no such file", "Name the store, --store FILE.")
    db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    try:
        prepare(db, Path(path))
        return _Collector(db, str(path), time.time_ns() if now is None else now).collect(
            older_than, dry_run=dry_run
        )
    except sqlite3.DatabaseError as error:
        raise StoreError(
            str(path), f"garbage can't be collected ({error})", "What was swept is consistent."
        ) from error
    finally:
        db.close()


_NAMED = re.compile(r'"sha256:([0-9a-f]{64})"')
_NAMELESS = "'media', 'prefix', 'world', 'failure', 'feedback'"
_UNINDEXED = "INSERT INTO search (search, rowid, asked, answered) VALUES ('delete', ?, ?, ?)"
_COUNTS = (
    "SELECT count(*) FROM gone_run",
    "SELECT count(*) FROM gone_trace",
    "SELECT count(*) FROM gone_trace JOIN call ON call.trace = gone_trace.id",
    "SELECT count(*) FROM dead_version",
    "SELECT count(*) FROM dead_blob",
    "SELECT coalesce(sum(length(data)), 0) FROM dead_blob JOIN blob ON blob.id = dead_blob.id",
)


def shrink(path: str | Path) -> None:
    """Give the file's free space back: it is written anew. ``StoreError`` where it is in use or the
    disk is full.
    """
    db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    try:
        db.execute("VACUUM")
    except sqlite3.Error as error:
        raise StoreError(
            str(path), f"it can't be made smaller ({error})", "It is whole: try again later."
        ) from error
    finally:
        db.close()


class _Collector:
    """One collection through one connection, whose temporary tables hold what is to go."""

    def __init__(self, db: sqlite3.Connection, store: str, now: int) -> None:
        self._db = db
        self._store = store
        self._now = now
        self._turn = 0
        self._dry = False
        self._blobs = BlobReader(db, store)
        db.execute(
            "PRAGMA foreign_keys = OFF"
        )  # checked by what is swept: a check a row would scan each child table
        for name in (
            "gone_run",
            "gone_trace",
            "live_version",
            "live_blob",
            "dead_version",
            "dead_blob",
        ):
            db.execute(f"CREATE TEMP TABLE {name} (id BLOB PRIMARY KEY) WITHOUT ROWID")

    def collect(self, older_than: int | None, *, dry_run: bool) -> Swept:
        self._dry = dry_run
        if dry_run:
            self._snapshot(lambda: self._old(older_than))
            self._snapshot(self._mark)
            return self._counted()
        self._generation(odd=True)
        try:
            self._snapshot(lambda: self._old(older_than))
            swept = self._counted()
            self._sweep_runs()
            self._snapshot(self._mark)
            versions, _ = self._sweep("version", self._sweep_version)
            blobs, size = self._sweep("blob", self._sweep_blob)
            self._db.execute("DELETE FROM dead_blob")
            self._snapshot(self._mark_contents)
            contents, more = self._sweep("blob", self._sweep_blob)
        finally:
            self._generation(odd=False)
        return attrs.evolve(swept, versions=versions, blobs=blobs + contents, bytes=size + more)

    def _generation(self, *, odd: bool) -> None:
        """The next odd generation, in which writers note what they touch, or the even one that ends
        it.
        """
        with self._writing():
            self._db.execute("DELETE FROM touched")
            value = self._current()
            self._turn = value + 1 + (value % 2 == odd)
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'gc'", (str(self._turn),))

    def _current(self) -> int:
        (value,) = self._db.execute(
            "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'gc'"
        ).fetchone()
        return int(value)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A short write transaction. ``StoreError`` where another collection has begun since."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._check_turn()
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _check_turn(self) -> None:
        if self._turn and self._current() != self._turn:
            raise StoreError(
                self._store,
                "another process began to collect garbage",
                "Let it end, then try again.",
            )

    def _snapshot(self, read: Callable[[], None]) -> None:
        self._db.execute("BEGIN")
        try:
            read()
        finally:
            self._db.execute("COMMIT")

    def _old(self, older_than: int | None) -> None:
        if older_than is None:
            return
        self._db.execute(
            "INSERT INTO gone_run SELECT id FROM run WHERE started_ns < :before"
            " AND (status <> 'open' OR started_ns < :grace)",
            {"before": self._now - older_than, "grace": self._now - GRACE},
        )
        self._db.execute(
            "INSERT INTO gone_trace SELECT trace FROM run_item GROUP BY trace"
            " HAVING sum(run NOT IN (SELECT id FROM gone_run)) = 0"
        )

    def _counted(self) -> Swept:
        """How much the temporary tables hold."""
        return Swept(*(self._db.execute(query).fetchone()[0] for query in _COUNTS))

    def _sweep_runs(self) -> None:
        children = _references(self._db, "trace", but="run_item")
        for (run,) in self._db.execute("SELECT id FROM gone_run").fetchall():
            with self._writing():
                items = self._db.execute(
                    "SELECT trace FROM run_item WHERE run = ?", (run,)
                ).fetchall()
                self._db.execute("DELETE FROM run_item WHERE run = ?", (run,))
                for item in items:
                    if (
                        self._db.execute("SELECT 1 FROM run_item WHERE trace = ?", item).fetchone()
                        is None
                    ):
                        self._sweep_trace(item[0], children)
                for table, column in _references(self._db, "run"):
                    self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (run,))
                self._db.execute("DELETE FROM run WHERE id = ?", (run,))
                self._bury("run", run)
        self._db.execute("DELETE FROM gone_trace")

    def _sweep_trace(self, trace: int, children: list[tuple[str, str]]) -> None:
        query = "SELECT id, request, reply FROM call WHERE trace = ? AND kind = 'chat' AND reply IS NOT NULL"
        for call, request, reply in self._db.execute(query, (trace,)).fetchall():
            if words := texts(self._blobs.request(request), outcome_of(self._blobs.get(reply))):
                self._db.execute(_UNINDEXED, (call, *words))
        for table, column in children:
            self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (trace,))
        (uid,) = self._db.execute(
            "DELETE FROM trace WHERE id = ? RETURNING uid", (trace,)
        ).fetchone()
        self._bury("trace", uid)

    def _mark(self) -> None:
        for table in ("live_version", "live_blob", "dead_version", "dead_blob"):
            self._db.execute(f"DELETE FROM {table}")
        for table, column in _references(self._db, "version", but="parent"):
            self._db.execute(
                f"INSERT OR IGNORE INTO live_version SELECT {column} FROM {_rows(self._db, table, column)}"
            )
        self._db.execute(
            "INSERT OR IGNORE INTO live_version SELECT id FROM version WHERE created_ns >= ?",
            (self._now - GRACE,),
        )
        self._ancestors()
        self._db.execute(
            "INSERT INTO dead_version SELECT id FROM version WHERE id NOT IN (SELECT id FROM live_version)"
        )
        for table, column in _references(self._db, "blob"):
            rows = _rows(self._db, table, column)
            kept = " AND id IN (SELECT id FROM live_version)" if table == "version" else ""
            self._db.execute(f"INSERT OR IGNORE INTO live_blob SELECT {column} FROM {rows}{kept}")
        self._inner("request")
        self._inner("prefix")
        dead = "INSERT INTO dead_blob SELECT id FROM blob WHERE kind <> 'media' AND id NOT IN (SELECT id FROM live_blob)"
        self._db.execute(dead)
        if self._dry:
            self._mark_contents()

    def _ancestors(self) -> None:
        self._db.execute(
            "WITH RECURSIVE line(id) AS (SELECT id FROM live_version UNION SELECT v.id FROM line"
            " JOIN parent ON parent.version = line.id JOIN version v ON v.hash = parent.hash)"
            " INSERT OR IGNORE INTO live_version SELECT id FROM line"
        )

    def _inner(self, kind: str) -> None:
        """Mark what live blobs of a kind hold: a request its prefix and last messages, a prefix its
        messages.
        """
        query = "SELECT enc, data FROM blob JOIN live_blob ON live_blob.id = blob.id WHERE kind = ?"
        reading = self._db.cursor().execute(query, (kind,))
        while rows := reading.fetchmany(BATCH):
            held = {(blob,) for enc, data in rows for blob in _held(kind, unpacked(enc, data))}
            self._db.executemany("INSERT OR IGNORE INTO live_blob VALUES (?)", held)

    def _mark_contents(self) -> None:
        """Mark the contents of pictures, sounds and files that no other blob names any more.

        What is named anew meanwhile is touched, so that all blobs that are still there are looked
        through, reached or not: only when those that nothing reaches are gone, or as if they were.
        """
        if self._db.execute("SELECT 1 FROM blob WHERE kind = 'media' LIMIT 1").fetchone() is None:
            return
        query = f"SELECT enc, data FROM blob WHERE kind NOT IN ({_NAMELESS}) AND id NOT IN (SELECT id FROM dead_blob)"
        reading = self._db.cursor().execute(query)
        while rows := reading.fetchmany(BATCH):
            named = {
                (bytes.fromhex(found),)
                for enc, data in rows
                for found in _NAMED.findall(form_of(enc, data))
            }
            self._db.executemany(
                "INSERT OR IGNORE INTO live_blob SELECT id FROM blob WHERE hash = ?", named
            )
        dead = "INSERT INTO dead_blob SELECT id FROM blob WHERE kind = 'media' AND id NOT IN (SELECT id FROM live_blob)"
        self._db.execute(dead)

    def _sweep_version(self, row: int) -> int:
        self._db.execute("DELETE FROM parent WHERE version = ?", (row,))
        (hashed,) = self._db.execute(
            "DELETE FROM version WHERE id = ? RETURNING hash", (row,)
        ).fetchone()
        self._bury("version", hashed.hex())
        return 0

    def _sweep_blob(self, row: int) -> int:
        query = "DELETE FROM blob WHERE id = ? RETURNING length(data)"
        return int(self._db.execute(query, (row,)).fetchone()[0])

    def _sweep(self, kind: str, one: Callable[[int], int]) -> tuple[int, int]:
        """Sweep what is to go and wasn't touched since, a transaction a batch: how many they were,
        and their size.
        """
        last = swept = size = 0
        query = (
            f"SELECT id FROM dead_{kind} AS dead WHERE id > ? AND NOT EXISTS"
            " (SELECT 1 FROM touched WHERE kind = ? AND touched.id = dead.id) ORDER BY id LIMIT ?"
        )
        rows = [last]
        while rows:
            with self._writing():
                rows = [row[0] for row in self._db.execute(query, (last, kind, BATCH))]
                size += sum(map(one, rows))
            swept, last = swept + len(rows), max([last, *rows])
        return swept, size

    def _bury(self, kind: str, name: str) -> None:
        bury = "INSERT OR REPLACE INTO tombstone (kind, name, at_ns) VALUES (?, ?, ?)"
        self._db.execute(bury, (kind, name, self._now))


def _references(db: sqlite3.Connection, target: str, *, but: str = "") -> list[tuple[str, str]]:
    """The (table, column) pairs that refer to a table, as the schema says, but for one table."""
    tables = [
        row[0]
        for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    ]
    keys = [
        (table, row)
        for table in tables
        if table != but
        for row in db.execute(f"PRAGMA foreign_key_list({table})")
    ]
    return [(table, row[3]) for table, row in keys if row[2] == target]


def _rows(db: sqlite3.Connection, table: str, column: str) -> str:
    """The rows of a table that count as reaching something: not those of runs and traces that are
    to go.
    """
    gone = [("gone_trace", name) for held, name in _references(db, "trace") if held == table]
    gone += [("gone_run", name) for held, name in _references(db, "run") if held == table]
    gone += [("gone_trace", "id")] if table == "trace" else []
    left = "".join(f" AND {name} NOT IN (SELECT id FROM {going})" for going, name in gone)
    return f"{table} WHERE {column} IS NOT NULL{left}"


def _held(kind: str, value: object) -> list[int]:
    """The blobs that a request or a prefix is made of."""
    if kind == "prefix":
        return list(value) if isinstance(value, list) else []
    turns = value.get("messages") if isinstance(value, dict) else None
    return [turns["prefix"], *turns["last"]] if isinstance(turns, dict) else []
