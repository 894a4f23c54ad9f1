"""Keeps of a rescued store the data sets; one that lacks examples gets the digest of the rest."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from lmflow.data.dataset import Dataset, example_id
from lmflow.errors import BadData, Tampered, short
from lmflow.stores.damage import DAMAGE
from lmflow.stores.sqlite.blobs.format import digest_bytes, digest_text
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.datasets import dataset_digest, keep_rows
from lmflow.stores.sqlite.rescue.report import Losses
from lmflow.values.record import Record

_NAMES = "SELECT DISTINCT name FROM dataset_name WHERE dataset = ? ORDER BY name"


class Datasets:
    """The data sets of a rescued store, through the connection that writes it."""

    def __init__(self, db: sqlite3.Connection, store: str, losses: Losses) -> None:
        self._db = db
        self._losses = losses
        self._blobs = BlobReader(db, store)

    def keep_readable(self) -> None:
        """Delete the examples that are lost, and the data sets of which nothing is left."""
        self._db.execute("DELETE FROM item WHERE example NOT IN (SELECT id FROM blob)")
        self._db.execute("DELETE FROM item WHERE dataset NOT IN (SELECT id FROM dataset)")
        for row, hashed, size, at in self._db.execute("SELECT * FROM dataset").fetchall():
            self._keep(row, hashed, size, at)
        lost = "SELECT name FROM dataset_name WHERE dataset NOT IN (SELECT id FROM dataset)"
        for (name,) in self._db.execute(lost).fetchall():
            self._losses.note(f"data set {name} is lost")
        self._db.execute("DELETE FROM dataset_name WHERE dataset NOT IN (SELECT id FROM dataset)")

    def _keep(self, row: int, hashed: bytes, size: int, at: int) -> None:
        parts, origins = self._parts(row)
        count = sum(map(len, parts.values()))
        if count and digest_bytes(dataset_digest(parts)) == hashed:
            if count != size:
                self._db.execute("UPDATE dataset SET size = ? WHERE id = ?", (count, row))
            return
        names = [str(name) for (name,) in self._db.execute(_NAMES, (row,))]
        title = ", ".join(names) or short(digest_text(hashed))
        self._db.execute("DELETE FROM item WHERE dataset = ?", (row,))
        self._db.execute("DELETE FROM dataset WHERE id = ?", (row,))
        if not count:
            if not names:
                self._losses.note(f"data set {title} is lost")
            return
        new = keep_rows(self._db, parts, at, origins)
        self._db.execute("UPDATE dataset_name SET dataset = ? WHERE dataset = ?", (new, row))
        digest = short(dataset_digest(parts))
        self._losses.note(
            f"data set {title}: {count} of {size} examples are left, under the digest {digest}"
        )

    def _parts(self, row: int) -> tuple[Mapping[str, Dataset], Mapping[str, str]]:
        """Return the splits of a data set as far as they can be read, and where examples are from.

        Of two examples with one id, which only damage can make, neither is sure, so both are left.
        """
        examples: dict[str, list[Record]] = {}
        origins: dict[str, str] = {}
        query = "SELECT split, origin, example FROM item WHERE dataset = ? ORDER BY position"
        for split, origin, blob in self._db.execute(query, (row,)).fetchall():
            try:
                example = Record(self._blobs.get(blob))
            except (Tampered, TypeError, *DAMAGE):
                continue
            examples.setdefault(split, []).append(example)
            if origin:
                origins[example_id(example)] = origin
        try:
            return {split: Dataset(split, rows) for split, rows in examples.items()}, origins
        except BadData:
            return {}, {}
