"""Stores a data set a few examples at a time, so that they need not be held together."""

from __future__ import annotations

import sqlite3
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

from lmflow.errors import StoreError
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite.blobs.format import body_of, digest_bytes
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.blobs.writer import BlobWriter
from lmflow.stores.sqlite.bulk import insert_rows
from lmflow.stores.sqlite.datasets import KIND
from lmflow.stores.sqlite.generation import generation_of, is_sweeping
from lmflow.stores.sqlite.opening import is_writable, opened_as_is, read_only
from lmflow.stores.sqlite.schema import prepare
from lmflow.traces.paged import Paged
from lmflow.values.batches import batches
from lmflow.values.record import Record

_ROWS = 1_000
"""The rows of a data set that are inserted by one statement after the other."""

_ITEMS = "INSERT INTO item (dataset, position, split, example, origin) VALUES {rows}"
_PART = """
SELECT example FROM item WHERE dataset = ? AND position >= ? AND position < ? ORDER BY position
"""


class DatasetDraft:
    """Stores examples as they are read, each few in a transaction of their own, and the data set
    itself in the last one. A draft that isn't kept leaves blobs that garbage collection removes.
    """

    def __init__(self, path: Path) -> None:
        if not is_writable(path):
            raise read_only(str(path))
        self._path = path
        # Each step runs in whatever thread the caller has free, one after the other.
        self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
        self._examples = array("q")
        try:
            prepare(self._db, path)
            self._db.execute("PRAGMA foreign_keys = ON")
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise self._unwritten(error) from error
        self._blobs = BlobWriter(self._db)

    def add(self, examples: Sequence[Record]) -> None:
        """Store the next examples. Raises ``StoreError`` if they can't be written."""
        bodies = [body_of(KIND, example) for example in examples]
        try:
            self._begin()
            self._blobs.find(body.hashed for body in bodies)
            self._examples.extend(map(self._blobs.put, bodies))
            self._blobs.flush()
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise self._unwritten(error) from error

    def keep(self, digest: str) -> Sequence[Record]:
        """Store the data set of all examples under its digest, unless it is stored already, and
        return the examples, which are read when they are looked at.

        Raises:
            StoreError: It can't be written, or garbage collection has removed an example.
        """
        hashed, size = digest_bytes(digest), len(self._examples)
        try:
            self._begin()
            query = "SELECT id FROM dataset WHERE hash = ?"
            row = self._db.execute(query, (hashed,)).fetchone() or self._insert(hashed, size)
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise self._unwritten(error) from error
        return _examples_of(self._path, row[0], size)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._blobs.forget(sweeping=is_sweeping(generation_of(self._db)))
        self._blobs.begin()

    # No data set refers to the examples before this, so a collection may have removed some: then
    # the reference to one is refused. A collection that runs now must see that they are in use.
    def _insert(self, hashed: bytes, size: int) -> tuple[int]:
        if is_sweeping(generation_of(self._db)):
            touch = "INSERT OR IGNORE INTO touched (kind, id) VALUES ('blob', ?)"
            self._db.executemany(touch, ((blob,) for blob in self._examples))
        insert = "INSERT INTO dataset (hash, size, created_ns) VALUES (?, ?, ?) RETURNING id"
        (dataset,) = self._db.execute(insert, (hashed, size, time.time_ns())).fetchone()
        for part in batches(range(size), _ROWS):
            rows = [(dataset, place, "", self._examples[place], "") for place in part]
            insert_rows(self._db, _ITEMS, rows)
        return (int(dataset),)

    def _unwritten(self, error: sqlite3.Error) -> StoreError:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        fix = "Is it in use, or the disk full?"
        return StoreError(str(self._path), f"it can't keep the examples ({error})", fix)


def _examples_of(path: Path, dataset: int, size: int) -> Paged[Record]:
    """Return the examples of a data set, which are read when they are looked at."""

    def read(start: int, stop: int) -> list[Record]:
        with opened_as_is(path) as db:
            return _part(db, str(path), dataset, start, stop)

    return Paged(read, size)


def _part(db: sqlite3.Connection, store: str, dataset: int, start: int, stop: int) -> list[Record]:
    blobs = [blob for (blob,) in db.execute(_PART, (dataset, start, stop))]
    if len(blobs) < stop - start:
        raise damaged(store, f"row {dataset} of the table dataset")
    reader = BlobReader(db, store)
    reader.fetch(blobs)
    try:
        return [Record(reader.get(blob)) for blob in blobs]
    except DAMAGE as error:
        raise damaged(store, f"an example of row {dataset} of the table dataset", error) from error
