"""The connections that a store reads through: kept open, since opening one takes a while."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import psycopg

from lmflow.stores.postgres.connection import PostgresConnection
from lmflow.stores.postgres.location import Location
from lmflow.stores.postgres.reading import explained, reader_of
from lmflow.stores.sqlite.reader import Reader

KEPT = 4
"""Connections that stay open; more threads that read at once open their own."""


class ReadingPool:
    """Lends readers, each to one thread at a time."""

    def __init__(self, place: Location) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._idle: list[PostgresConnection] = []
        self._process = os.getpid()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reader]:
        """Lend a reader for a block."""
        with explained(self._place):
            db = self._taken()
            try:
                yield reader_of(db, self._place)
            except psycopg.Error:
                db.close()  # whatever is wrong with it, the next one is new
                raise
            finally:
                self._give_back(db)

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    def _taken(self) -> PostgresConnection:
        with self._lock:
            # A process that was forked shares the sockets of the other one: it opens its own.
            if self._process != os.getpid():
                self._process, self._idle = os.getpid(), []
            while self._idle:
                db = self._idle.pop()
                if db.is_alive:
                    return db
                db.close()
        return PostgresConnection(self._place, read_only=True)

    def _give_back(self, db: PostgresConnection) -> None:
        with self._lock:
            if len(self._idle) < KEPT and not (db.is_lost or db.in_transaction):
                self._idle.append(db)
                return
        db.close()
