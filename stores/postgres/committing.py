"""The writer thread of a store in PostgreSQL: what waits is written in one transaction.

A commit waits for the server's disk, whatever it holds. While one waits, the batches of other
threads queue up, and the next commit takes them all. Writers of one store take turns, as in SQLite,
so that ids are given in the order of commits: whoever follows a store misses nothing.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future

import attrs
import psycopg

from lmflow.errors import LmflowError, StoreError
from lmflow.stores.postgres.connection import PostgresConnection
from lmflow.stores.postgres.location import Location
from lmflow.stores.postgres.preparing import prepare
from lmflow.stores.queued import with_queued
from lmflow.stores.sqlite.writing.rows import RowWriter
from lmflow.traces.events import Event

LARGEST_BATCH = 1000
"""Batches a transaction, so that other writers don't wait for one huge commit."""

_LOST = "Is the server up? What it did not acknowledge may be missing; `lmflow resume` goes on."


@attrs.frozen(eq=False)
class _Batch:
    """Events that are written all or none, and the future that says that they are durable."""

    events: tuple[Event, ...]
    done: Future[None] = attrs.field(factory=Future)


class Committer:
    """Writes batches of events on a thread of its own, through the one connection that writes."""

    def __init__(self, location: Location, *, durable: bool) -> None:
        self._location = location
        self._durable = durable
        self._process = os.getpid()
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._connect()
        # A daemon, so that a store that nobody closed does not keep the interpreter alive.
        self._thread = threading.Thread(target=self._work, name="lmflow-store", daemon=True)
        self._thread.start()

    def append(self, events: tuple[Event, ...]) -> Future[None]:
        """Queue events and return a future that is done after their COMMIT.

        Raises:
            StoreError: If the store is closed, or this process was forked from the one that
                opened it.
        """
        if self._process != os.getpid():
            problem = "another process opened it, from which this one was forked"
            raise StoreError(self._location.name, problem, "Open it anew in this process.")
        batch = _Batch(events)
        # Running from the start, so it can't be cancelled: a caller that stops waiting does not
        # undo what is queued.
        batch.done.set_running_or_notify_cancel()
        # The lock orders `append` and `close`: a batch behind the end mark would never be written.
        with self._lock:
            if self._closed:
                raise StoreError(self._location.name, "it is closed", "Open it anew.")
            self._queue.put(batch)
        return batch.done

    def close(self) -> None:
        """Write what is queued and end the thread. Closing twice is harmless."""
        if self._process != os.getpid():
            return  # a forked process must not touch the connection
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._db.close()

    def _connect(self) -> None:
        self._db = PostgresConnection(self._location)
        try:
            prepare(self._db, self._location)
        except BaseException:
            self._db.close()
            raise
        self._rows = RowWriter(self._db.as_sqlite())

    def _work(self) -> None:
        is_open = True
        while is_open:
            batches, is_open = self._next_batches()
            self._write(batches)

    def _next_batches(self) -> tuple[list[_Batch], bool]:
        """Wait for a batch, take all others that are queued, and say whether more may come."""
        return with_queued(self._queue.get(), self._queue, LARGEST_BATCH)

    def _write(self, batches: Sequence[_Batch]) -> None:
        """Commit all batches at once; if that fails, one by one, so that only bad ones fail."""
        if not batches:
            return
        events = [event for batch in batches for event in batch.events]
        error = self._commit(events)
        if error is None:
            for batch in batches:
                batch.done.set_result(None)
        elif len(batches) == 1 or self._db.is_lost:
            for batch in batches:
                self._fail(batch.done, error)
        else:
            for batch in batches:
                self._settle(batch.done, self._commit(batch.events))

    def _commit(self, events: Sequence[Event]) -> Exception | None:
        """Write events in one transaction; return the error if they can't be written."""
        if not events:
            return None
        try:
            self._begin()
            with self._db.pipelined():
                self._rows.write(events)
            self._db.commit(durable=self._durable)
        except Exception as error:  # noqa: BLE001 - raised to whoever awaits the events
            self._undo()
            return error
        return None

    def _begin(self) -> None:
        """Begin a transaction; if the connection was lost since the last one, on a new one."""
        with contextlib.suppress(psycopg.OperationalError):
            if not self._db.is_lost:
                self._db.execute("BEGIN IMMEDIATE")
                return
        # Nothing of these events was sent yet, so that they can't be written twice.
        self._db.close()
        try:
            self._connect()
        except StoreError as error:
            raise attrs.evolve(error, fix=_LOST) from None
        self._db.execute("BEGIN IMMEDIATE")

    def _undo(self) -> None:
        self._rows.forget()
        # A lost connection took its transaction with it.
        with contextlib.suppress(psycopg.Error):
            if self._db.in_transaction:
                self._db.rollback()

    def _settle(self, done: Future[None], error: Exception | None) -> None:
        if error is None:
            done.set_result(None)
        else:
            self._fail(done, error)

    def _fail(self, done: Future[None], error: Exception) -> None:
        if isinstance(error, LmflowError):
            done.set_exception(error)
            return
        words = f"{type(error).__name__}: {self._location.clean(error)}"
        fix = _LOST if isinstance(error, psycopg.OperationalError) else ""
        problem = f"it can't keep what happened ({words})"
        done.set_exception(StoreError(self._location.name, problem, fix))
