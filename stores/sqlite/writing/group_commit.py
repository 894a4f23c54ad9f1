"""Commits events to a SQLite store: all batches that wait are written in one transaction.

A commit adds a row to the log (see ``log``), in the thread of whoever appends if the store is free:
to hand the events to another thread and to wait for its answer costs more than the commit. If it is
not free, or commits are slow, the batches wait for a thread of the store. While one commit waits
for the disk, the batches of other threads queue up, and the next commit takes them all. That thread
makes rows of the log, too, when nothing is appended for a moment, or when much waits.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

import attrs

from lmflow.errors import LmflowError, StoreError
from lmflow.stores.queued import with_queued
from lmflow.stores.sqlite.writing.log import Log
from lmflow.stores.sqlite.writing.rows import RowWriter
from lmflow.stores.sqlite.writing.settling import Reached, settle_within, unnoticed
from lmflow.traces.events import Event

LARGEST_BATCH = 1000
"""Batches a transaction, so that readers of the WAL are not kept waiting for one huge commit."""

IDLE = 0.05
"""Seconds without a commit after which rows are made of what waits in the log."""

SLOW = 0.01
"""Seconds that commits in the caller's thread may take on the average of some ten."""

RECOVERY = 1.0
"""Seconds in which the store's own thread commits once commits are slow."""

_PATIENT = 5000
"""Milliseconds that the store's own thread waits for other processes; callers wait for none."""


@attrs.frozen(eq=False)
class _Batch:
    """Events that are written all or none, and the future that says that they are durable.

    A batch that ``settles`` has no events: it is done once the log holds none either.
    """

    events: Sequence[Event]
    settles: bool = False
    done: Future[None] = attrs.field(factory=Future)


_WAKE_UP = _Batch(())
"""Tells the thread that a caller has added to the log, which was empty."""


class GroupCommitter:
    """Writes batches of events through the one connection that writes.

    Args:
        db: The connection.
        store: The name of the store in messages.
        reached: Is told each point of a commit that is reached, so that tests can end the process
            there.
        waits_for_disk: Whether commits wait for the disk, so that only the store's own thread makes
            them.
        checkpoint: Pages of the WAL after which the thread copies them into the file.
    """

    # The lock guards the connection, the log and the rows. A caller that doesn't get it at once
    # leaves its batches to the thread, as it does while earlier ones wait: batches stay in order.
    def __init__(
        self,
        db: sqlite3.Connection,
        store: str,
        reached: Reached = unnoticed,
        *,
        waits_for_disk: bool = False,
        checkpoint: int = 1000,
    ) -> None:
        db.row_factory = sqlite3.Row
        self._db = db
        self._store = store
        self._rows = RowWriter(db)
        self._log = Log(db, store, self._rows, reached)
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._using_db = threading.Lock()
        self._queued = 0
        self._is_awake = False
        self._committed = 0.0
        self._average = 0.0
        self._not_before = float("inf") if waits_for_disk else 0.0
        self._checkpoint = checkpoint
        self._failed_write: sqlite3.OperationalError | None = None
        self._closed = False
        self._set_patience(0)
        # A daemon, so that a store that nobody closed does not keep the interpreter alive. What
        # was acknowledged is committed by then; what was not is lost, as in a crash.
        self._thread = threading.Thread(target=self._work, name="lmflow-store", daemon=True)
        self._thread.start()

    def check_open(self) -> None:
        """Raise ``StoreError`` if the store is closed, or this process was forked from the one that
        opened it.
        """
        if self._closed:
            raise StoreError(self._store, "it is closed", "Open it anew.")
        if not self._thread.is_alive():
            problem = "another process opened it, from which this one was forked"
            raise StoreError(self._store, problem, "Open it anew in this process.")

    def append(self, groups: Sequence[Sequence[Event]]) -> Sequence[Future[None]]:
        """Take groups of events and return futures that are done after their COMMIT.

        Raises:
            StoreError: If the store takes no events; see ``check_open``.
        """
        self.check_open()
        batches = [_Batch(events) for events in groups]
        for batch in batches:
            # The future is running from the start, so it can't be cancelled: a caller that stops
            # waiting does not undo what is queued.
            batch.done.set_running_or_notify_cancel()
        if not self._commit_here(batches):
            self._enqueue(batches)
        return [batch.done for batch in batches]

    def settle(self) -> None:
        """Wait until rows are made of all that was appended so far, if the store can be written."""
        # A process that was forked has no such thread; its readers look into the log themselves.
        if self._closed or not self._thread.is_alive():
            return
        batch = _Batch((), settles=True)
        try:
            self._enqueue([batch])
        except StoreError:  # another thread has closed it, which makes the rows
            return
        batch.done.result()

    def _enqueue(self, batches: Sequence[_Batch]) -> None:
        # The lock orders `append` and `close`: a batch behind the end mark would never be written.
        with self._lock:
            if self._closed:
                raise StoreError(self._store, "it is closed", "Open it anew.")
            self._queued += len(batches)
            for batch in batches:
                self._queue.put(batch)

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

    def _commit_here(self, batches: Sequence[_Batch]) -> bool:
        """Commit batches to the log in this thread; ``False`` if the store's own thread must."""
        if not self._using_db.acquire(blocking=False):
            return False
        try:
            began = time.monotonic()
            if self._queued or self._closed or self._log.is_full or began < self._not_before:
                return False
            events = [event for batch in batches for event in batch.events]
            try:
                if not self._kept(events):
                    return False
            except BaseException:  # Ctrl-C: what isn't in the log is left to the thread
                self._interrupted(batches, committed=self._log.ends_with(events))
                raise
            self._committed = time.monotonic()
            self._note_duration(self._committed - began)
            if not self._is_awake:
                self._is_awake = True
                self._queue.put(_WAKE_UP)
        finally:
            self._using_db.release()
        for batch in batches:
            batch.done.set_result(None)
        return True

    def _interrupted(self, batches: Sequence[_Batch], *, committed: bool) -> None:
        if not committed:
            self._enqueue(batches)
            return
        self._is_awake = True
        self._queue.put(_WAKE_UP)
        for batch in batches:
            batch.done.set_result(None)

    # On a busy machine a commit may take long now and then because other work had the core. A disk
    # that others keep busy makes many commits slow, and then no event loop should wait for it.
    def _note_duration(self, seconds: float) -> None:
        self._average += (seconds - self._average) / 10
        if self._average > SLOW:
            self._average = 0.0
            self._not_before = self._committed + RECOVERY

    def _kept(self, events: Sequence[Event]) -> bool:
        """Commit events to the log; whatever keeps them from it, the thread will meet it, too."""
        try:
            return bool(events) and self._log.keep(events)
        except Exception:  # noqa: BLE001 - the thread writes them, or sets the error
            return False

    def _work(self) -> None:
        is_open = True
        while is_open:
            batches, is_open = self._next_batches()
            with self._using_db:
                self._set_patience(_PATIENT)
                self._handle(batches)
                if not is_open:
                    self._settle_log([])
                self._set_patience(0)
                self._is_awake = self._log.waits

    def _handle(self, batches: Sequence[_Batch]) -> None:
        """Write batches; without any, make some rows once nobody has committed for a while."""
        if not batches:
            if time.monotonic() - self._committed >= IDLE:
                with contextlib.suppress(sqlite3.Error):  # it stays in the log, and is tried again
                    self._log.settle_step()
            return
        waiting = [batch for batch in batches if batch is not _WAKE_UP]
        self._write([batch for batch in waiting if not batch.settles])
        self._make_room()
        if settling := [batch for batch in waiting if batch.settles]:
            self._settle_log(settling)
        with self._lock:
            self._queued -= len(waiting)

    def _set_patience(self, milliseconds: int) -> None:
        """Set how long the connection waits for others, and whether it may copy the WAL."""
        pages = self._checkpoint if milliseconds else 0
        self._db.execute(f"PRAGMA busy_timeout = {milliseconds}")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {pages}")

    def _next_batches(self) -> tuple[list[_Batch], bool]:
        """Wait for a batch, take all others that are queued, and say whether more may come.

        Returns:
            No batches if none came for a moment and the log holds something.
        """
        try:
            first = self._queue.get(timeout=IDLE if self._is_awake else None)
        except queue.Empty:
            return [], True
        return with_queued(first, self._queue, LARGEST_BATCH)

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
            if settle_within(self._db, self._store):
                self._log.look_again()
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
            fix = _fix_of(error)
            problem = f"it can't keep what happened ({type(error).__name__}: {error})"
            done.set_exception(StoreError(self._store, problem, fix))


def _fix_of(error: Exception) -> str:
    if not isinstance(error, sqlite3.OperationalError):
        return ""
    if "locked" in str(error):
        return "Another process has been writing it for seconds. Run it again once that has ended."
    return "Is the disk full?"
