"""Stores a data set a few examples at a time, so that they need not be held together."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from lmflow.data.dataset import example_id
from lmflow.errors import BadData, StoreError, short
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
from lmflow.values.record import Record

_FIX = 'Give each example an "id" of its own, or drop the repeats.'

# SQLite keeps what a connection alone sees in a temporary file, and little of it in memory.
_DRAFT = """
CREATE TEMP TABLE draft (position INTEGER PRIMARY KEY, example INTEGER NOT NULL);
CREATE TEMP TABLE draft_id (hash BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_EXAMPLES = "INSERT INTO draft (position, example) VALUES {rows}"
_ITEMS = """
INSERT INTO item (dataset, position, split, example, origin)
SELECT ?, position, '', example, '' FROM draft ORDER BY position
"""
_TOUCHED = "INSERT OR IGNORE INTO touched (kind, id) SELECT 'blob', example FROM draft"
_PART = """
SELECT example FROM item WHERE dataset = ? AND position >= ? AND position < ? ORDER BY position
"""


class DatasetDraft:
    """Stores examples as they are read, each few in a transaction of their own, and the data set
    itself in the last one. A draft that isn't kept leaves blobs that garbage collection removes.
    """

    def __init__(self, path: Path, name: str) -> None:
        if not is_writable(path):
            raise read_only(str(path))
        self._path, self._name, self._size = path, name, 0
        # Each step runs in whatever thread the caller has free, one after the other.
        self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            prepare(self._db, path)
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.executescript(_DRAFT)
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise self._unwritten(error) from error
        self._blobs = BlobWriter(self._db)

    def add(self, examples: Sequence[Record]) -> None:
        """Store the next examples.

        Raises:
            BadData: An earlier example has the id of one.
            StoreError: They can't be written.
        """
        bodies = [body_of(KIND, example) for example in examples]
        try:
            for place, example in enumerate(examples, self._size):
                self._check_new(place, example_id(example))
            self._begin()
            self._blobs.find(body.hashed for body in bodies)
            insert_rows(
                self._db, _EXAMPLES, list(enumerate(map(self._blobs.put, bodies), self._size))
            )
            self._blobs.flush()
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise self._unwritten(error) from error
        self._size += len(examples)

    def keep(self, digest: str) -> Sequence[Record]:
        """Store the data set of all examples under its digest, unless it is stored already, and
        return the examples, which are read when they are looked at.

        Raises:
            StoreError: It can't be written, or garbage collection has removed an example.
        """
        hashed = digest_bytes(digest)
        try:
            self._begin()
            query = "SELECT id FROM dataset WHERE hash = ?"
            row = self._db.execute(query, (hashed,)).fetchone() or self._insert(hashed)
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise self._unwritten(error) from error
        return _examples_of(self._path, row[0], self._size)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._blobs.forget(sweeping=is_sweeping(generation_of(self._db)))
        self._blobs.begin()

    # No data set refers to the examples before this, so a collection may have removed some: then
    # the reference to one is refused. A collection that runs now must see that they are in use.
    def _insert(self, hashed: bytes) -> tuple[int]:
        if is_sweeping(generation_of(self._db)):
            self._db.execute(_TOUCHED)
        insert = "INSERT INTO dataset (hash, size, created_ns) VALUES (?, ?, ?) RETURNING id"
        (dataset,) = self._db.execute(insert, (hashed, self._size, time.time_ns())).fetchone()
        try:
            self._db.execute(_ITEMS, (dataset,))
        except sqlite3.IntegrityError:
            self._db.execute("ROLLBACK")
            problem = "garbage collection removed examples that were being stored"
            raise StoreError(str(self._path), problem, "Begin again.") from None
        return (int(dataset),)

    def _check_new(self, place: int, id_: str) -> None:
        hashed = hashlib.blake2b(id_.encode(), digest_size=16).digest()
        try:
            self._db.execute("INSERT INTO draft_id (hash) VALUES (?)", (hashed,))
        except sqlite3.IntegrityError:
            problem = f"two rows have one id, {short(id_)!r}; the second is row {place}"
            raise BadData(self._name, problem, _FIX) from None

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
