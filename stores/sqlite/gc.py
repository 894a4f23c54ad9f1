"""Collects garbage in a SQLite trace store: unreachable versions and blobs, and old runs.

The store may be written meanwhile. In a sweeping generation (see ``generation``) writers note in
``touched`` each blob and version that a new row refers to. A row is swept only if it was
unreachable in a snapshot taken after the generation started, and has not been touched since.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from lmflow.errors import StoreError
from lmflow.messages.replies import Outcome, outcome_of
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.full_text import DELETE_WORDS, index_entry
from lmflow.stores.sqlite.generation import generation_of, next_idle, next_sweeping
from lmflow.stores.sqlite.opening import is_writable
from lmflow.stores.sqlite.reachability import BATCH, GRACE, Marker, references
from lmflow.stores.sqlite.schema import check_file, prepare
from lmflow.stores.sqlite.writing.settling import settle, settle_within


@attrs.frozen
class GarbageCounts:
    """The numbers of rows that a collection removes, and ``bytes``, the size of the blobs."""

    runs: int = 0
    traces: int = 0
    calls: int = 0
    versions: int = 0
    blobs: int = 0
    bytes: int = 0


def collect(
    path: str | Path, *, older_than: int | None = None, dry_run: bool = True, now: int | None = None
) -> GarbageCounts:
    """Remove versions and blobs that no ref, reflog, pin or run reaches, and old runs.

    Versions younger than ``GRACE``, and runs that started within it and have not ended, are kept.
    Removed runs and versions leave a tombstone. Rows are removed in batches, so that the store can
    be written meanwhile.

    Args:
        path: The store's file.
        older_than: The age in nanoseconds from which runs are removed; ``None`` keeps all runs.
        dry_run: Whether to count only.
        now: The time, in nanoseconds since the epoch; ``None`` for the clock's.

    Returns:
        What was removed; in a dry run, what would be.

    Raises:
        NotAStore: If the file is something else.
        StoreError: If there is no file, it can't be written, or another collection started.
    """
    if not check_file(Path(path)):
        raise StoreError(str(path), "there is no such file", "Name the store, --store FILE.")
    if not is_writable(Path(path)):
        raise StoreError(str(path), "it is read-only, so nothing can be removed", _COPY)
    db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    try:
        prepare(db, Path(path))
        settle(db, str(path))
        collector = Collector(db, str(path), time.time_ns() if now is None else now)
        return collector.collect(older_than, dry_run=dry_run)
    except sqlite3.Error as error:
        fix = "What was swept is consistent."
        raise StoreError(str(path), f"garbage can't be collected ({error})", fix) from error
    finally:
        db.close()


_COPY = "Copy it to a folder that you may write, and collect there."

_COUNTS = (
    "SELECT count(*) FROM gone_run",
    "SELECT count(*) FROM gone_trace",
    "SELECT count(*) FROM gone_trace JOIN call ON call.trace = gone_trace.id",
    "SELECT count(*) FROM dead_version",
    "SELECT count(*) FROM dead_blob",
    "SELECT coalesce(sum(length(data)), 0) FROM dead_blob JOIN blob ON blob.id = dead_blob.id",
)


def shrink(path: str | Path) -> None:
    """Rewrite the file without its free space.

    Raises:
        StoreError: If the file is in use, or the disk is full.
    """
    db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    try:
        db.execute("VACUUM")
    except sqlite3.Error as error:
        fix = "It is whole: try again later."
        raise StoreError(str(path), f"it can't be made smaller ({error})", fix) from error
    finally:
        db.close()


class Collector:
    """One collection, through one connection; its temporary tables hold the rows to remove."""

    def __init__(self, db: sqlite3.Connection, store: str, now: int) -> None:
        self._db = db
        self._store = store
        self._now = now
        self._generation = 0
        self._blobs = BlobReader(db, store)
        # Rows that others refer to are never removed, by construction. SQLite's own check would
        # scan each referring table once a row.
        db.execute("PRAGMA foreign_keys = OFF")
        self._marker = Marker(db, store, now)

    def collect(self, older_than: int | None, *, dry_run: bool) -> GarbageCounts:
        """Remove what is unreachable, and old runs; see the function ``collect``."""
        if dry_run:
            self._snapshot(lambda: self._find_old_runs(older_than))
            self._snapshot(self._marker.mark)
            self._snapshot(self._marker.mark_contents)
            return self._count()
        self._start(next_sweeping)
        try:
            self._snapshot(lambda: self._find_old_runs(older_than))
            counts = self._count()
            self._sweep_runs()
            self._snapshot(self._marker.mark)
            versions, _ = self._sweep("version", self._sweep_version)
            blobs, size = self._sweep("blob", self._sweep_blob)
            self._db.execute("DELETE FROM dead_blob")
            self._snapshot(self._marker.mark_contents)
            contents, more = self._sweep("blob", self._sweep_blob)
        finally:
            self._start(next_idle)
        return attrs.evolve(counts, versions=versions, blobs=blobs + contents, bytes=size + more)

    def _start(self, next_generation: Callable[[int], int]) -> None:
        """Start another generation, with an empty ``touched`` and log.

        A piece in the log refers to versions that nothing else may refer to; in a sweeping
        generation writers keep none.
        """
        with self._writing():
            settle_within(self._db, self._store)
            self._db.execute("DELETE FROM touched")
            self._generation = next_generation(generation_of(self._db))
            update = "UPDATE meta SET value = ? WHERE key = 'gc'"
            self._db.execute(update, (str(self._generation),))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Open a short write transaction; ``StoreError`` if another collection started since."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._check_generation()
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _check_generation(self) -> None:
        if self._generation and generation_of(self._db) != self._generation:
            problem = "another process began to collect garbage"
            raise StoreError(self._store, problem, "Let it end, then try again.")

    def _snapshot(self, read: Callable[[], None]) -> None:
        """Run queries that see the store as it is at one moment; writers go on."""
        self._db.execute("BEGIN")
        try:
            read()
        finally:
            self._db.execute("COMMIT")

    def _find_old_runs(self, older_than: int | None) -> None:
        """Fill ``gone_run``, and ``gone_trace`` with the traces that are only in those runs."""
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

    def _count(self) -> GarbageCounts:
        """Count the rows of the temporary tables."""
        return GarbageCounts(*(self._db.execute(query).fetchone()[0] for query in _COUNTS))

    def _sweep_runs(self) -> None:
        children = references(self._db, "trace", without="run_item")
        for (run,) in self._db.execute("SELECT id FROM gone_run").fetchall():
            with self._writing():
                self._sweep_run(run, children)
        self._db.execute("DELETE FROM gone_trace")

    def _sweep_run(self, run: str, children: list[tuple[str, str]]) -> None:
        items = self._db.execute("SELECT trace FROM run_item WHERE run = ?", (run,)).fetchall()
        self._db.execute("DELETE FROM run_item WHERE run = ?", (run,))
        for item in items:
            other_run = "SELECT 1 FROM run_item WHERE trace = ?"
            if self._db.execute(other_run, item).fetchone() is None:
                self._sweep_trace(item[0], children)
        for table, column in references(self._db, "run"):
            self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (run,))
        self._db.execute("DELETE FROM run WHERE id = ?", (run,))
        self._bury("run", run)

    def _sweep_trace(self, trace: int, children: list[tuple[str, str]]) -> None:
        query = "SELECT id, reply FROM call WHERE trace = ? AND kind = 'chat' AND reply IS NOT NULL"
        for call, reply in self._db.execute(query, (trace,)).fetchall():
            outcome = self._outcome(call, reply)
            # The index has no text of its own: SQLite needs the same words to delete their entries.
            if words := index_entry(self._blobs.request_of(call), outcome):
                self._db.execute(DELETE_WORDS, (call, *words))
        for table, column in children:
            self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (trace,))
        row = self._db.execute("DELETE FROM trace WHERE id = ? RETURNING uid", (trace,)).fetchone()
        if row is None:
            raise damaged(self._store, f"row {trace} of the table trace")
        self._bury("trace", row[0])

    def _outcome(self, call: int, reply: int) -> Outcome:
        try:
            return outcome_of(self._blobs.get(reply))
        except DAMAGE as error:
            raise damaged(self._store, f"call {call}", error) from error

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

    def _sweep(self, kind: str, remove: Callable[[int], int]) -> tuple[int, int]:
        """Remove the dead rows of a kind that were not touched since, a transaction a batch.

        Returns:
            The number of rows, and the sum of their sizes as ``remove`` returns them.
        """
        last = removed = size = 0
        query = (
            f"SELECT id FROM dead_{kind} AS dead WHERE id > ? AND NOT EXISTS"
            " (SELECT 1 FROM touched WHERE kind = ? AND touched.id = dead.id) ORDER BY id LIMIT ?"
        )
        rows = [last]
        while rows:
            with self._writing():
                rows = [row[0] for row in self._db.execute(query, (last, kind, BATCH))]
                size += sum(map(remove, rows))
            removed, last = removed + len(rows), max([last, *rows])
        return removed, size

    def _bury(self, kind: str, name: str) -> None:
        """Leave a tombstone, so that a look-up can say that the thing was pruned."""
        bury = "INSERT OR REPLACE INTO tombstone (kind, name, at_ns) VALUES (?, ?, ?)"
        self._db.execute(bury, (kind, name, self._now))
