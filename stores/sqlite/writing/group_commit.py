"""The writer thread of a SQLite store: all batches that wait are written in one transaction.

A commit waits for the disk, about a millisecond, whatever it holds. While one commit waits, the
batches of other threads queue up, and the next commit takes them all; so the more calls end at
once, the fewer commits each of them costs. A commit adds a row to the log (see ``log``); rows of
their own are made of it when nothing is queued, or when much waits.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future

import attrs

from lmflow.errors import LmflowError, StoreError
from lmflow.stores.sqlite.writing.log import Log
from lmflow.stores.sqlite.writing.rows import RowWriter
from lmflow.stores.sqlite.writing.settling import Reached, settle_within, unnoticed
from lmflow.traces.events import Event

LARGEST_BATCH = 1000
"""Batches a transaction, so that readers of the WAL are not kept waiting for one huge commit."""


IDLE = 0.05
"""Seconds without a batch after which rows are made of what waits in the log."""


@attrs.frozen(eq=False)
class _Batch:
    """Events that are written all or none, and the future that says that they are durable.

    A batch that ``settles`` has no events: it is done once the log holds none either.
    """

    events: tuple[Event, ...]
    settles: bool = False
    done: Future[None] = attrs.field(factory=Future)


class GroupCommitter:
    """Writes batches of events on a thread of its own, through the one connection that writes.

    ``reached`` is told each point of a commit that is reached, so that tests can end the process
    there.
    """

    def __init__(self, db: sqlite3.Connection, store: str, reached: Reached = unnoticed) -> None:
        db.row_factory = sqlite3.Row
        self._db = db
        self._store = store
        self._rows = RowWriter(db)
        self._log = Log(db, store, self._rows, reached)
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._failed_write: sqlite3.OperationalError | None = None
        self._closed = False
        # A daemon, so that a store that nobody closed does not keep the interpreter alive. What
        # was acknowledged is committed by then; what was not is lost, as in a crash.
        self._thread = threading.Thread(target=self._work, name="lmflow-store", daemon=True)
        self._thread.start()

    def append(self, events: tuple[Event, ...]) -> Future[None]:
        """Queue events and return a future that is done after their COMMIT.

        Raises:
            StoreError: If the store is closed, or this process was forked from the one that
                opened it.
        """
        if not (self._closed or self._thread.is_alive()):
            problem = "another process opened it, from which this one was forked"
            raise StoreError(self._store, problem, "Open it anew in this process.")
        return self._enqueue(_Batch(events))

    def settle(self) -> None:
        """Wait until rows are made of all that was appended so far, if the store can be written."""
        # A process that was forked has no such thread; its readers look into the log themselves.
        if self._closed or not self._thread.is_alive():
            return
        try:
            done = self._enqueue(_Batch((), settles=True))
        except StoreError:  # another thread has closed it, which makes the rows
            return
        done.result()

    def _enqueue(self, batch: _Batch) -> Future[None]:
        # The future is running from the start, so it can't be cancelled: a caller that stops
        # waiting does not undo what is queued.
        batch.done.set_running_or_notify_cancel()
        # The lock orders `append` and `close`: a batch behind the end mark would never be written.
        with self._lock:
            if self._closed:
                raise StoreError(self._store, "it is closed", "Open it anew.")
            self._queue.put(batch)
        return batch.done

    def close(self) -> None:
        """Write what is queued and end the thread. Closing twice is harmless."""
        if not self._thread.is_alive():
            self._closed = True  # a forked process must not touch the connection
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._db.close()

    def _work(self) -> None:
        is_open = True
        while is_open:
            batches, is_open = self._next_batches()
            self._write([batch for batch in batches if not batch.settles])
            self._make_room()
            if settling := [batch for batch in batches if batch.settles]:
                self._settle_log(settling)
        self._settle_log([])

    def _next_batches(self) -> tuple[list[_Batch], bool]:
        """Wait for a batch, take all others that are queued, and say whether more may come.

        While none is queued, rows are made of what waits in the log.
        """
        try:
            first = self._queue.get(timeout=IDLE if self._log.waits else None)
        except queue.Empty:
            with contextlib.suppress(sqlite3.Error):  # it stays in the log, and is tried again
                self._log.settle_step()
            return [], True
        if first is None:
            return [], False
        batches = [first]
        with contextlib.suppress(queue.Empty):
            while len(batches) < LARGEST_BATCH:
                batch = self._queue.get_nowait()
                if batch is None:
                    return batches, False
                batches.append(batch)
        return batches, True

    def _write(self, batches: Sequence[_Batch]) -> None:
        """Commit all batches at once; if that fails, one by one, so that only bad ones fail."""
        if not batches:
            return
        events = [event for batch in batches for event in batch.events]
        if self._commit(events) is None:
            for batch in batches:
                batch.done.set_result(None)
            return
        for batch in batches:
            self._settle(batch.done, self._commit(batch.events))

    def _commit(self, events: Sequence[Event]) -> Exception | None:
        """Write events in one transaction; return the error if they can't be written."""
        try:
            if not events or not self._log.keep(events):
                self._write_rows(events)
        except Exception as error:  # noqa: BLE001 - raised to whoever awaits the events
            return error
        return None

    def _write_rows(self, events: Sequence[Event]) -> None:
        """Write the rows of events at once, after those of all that waits in the log."""
        if events:
            self._log.settle()
        try:
            # IMMEDIATE takes the write lock at once. A deferred transaction would read ids first
            # and ask for the lock later, which fails with SQLITE_BUSY if another process wrote
            # meanwhile.
            self._db.execute("BEGIN IMMEDIATE")
            # Another process may have kept a piece since: its rows come first here, too.
            settle_within(self._db, self._store)
            self._rows.write(events)
            self._db.execute("COMMIT")
        except BaseException:
            self._rows.forget()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._log.written(events)

    def _make_room(self) -> None:
        """Make rows until what waits in the log is within its bounds."""
        with contextlib.suppress(sqlite3.Error):  # it stays in the log, and is tried again
            while self._log.is_full:
                self._log.settle_step()

    def _settle_log(self, batches: Sequence[_Batch]) -> None:
        # If the store can't be written now, readers look into the log themselves.
        with contextlib.suppress(sqlite3.Error):
            self._log.settle()
        for batch in batches:
            batch.done.set_result(None)

    def _settle(self, done: Future[None], error: Exception | None) -> None:
        if error is None:
            done.set_result(None)
        elif isinstance(error, LmflowError):
            done.set_exception(error)
        else:
            # What follows a failed write misses what it should have written, which would hide why.
            if isinstance(error, sqlite3.OperationalError):
                self._failed_write = self._failed_write or error
            elif isinstance(error, LookupError):
                error = self._failed_write or error
            fix = "Is the disk full?" if isinstance(error, sqlite3.OperationalError) else ""
            problem = f"it can't keep what happened ({type(error).__name__}: {error})"
            done.set_exception(StoreError(self._store, problem, fix))
