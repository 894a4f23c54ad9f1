"""Copies data sets by their digests."""

from __future__ import annotations

import sqlite3

from lmflow.stores.sqlite.merging.blobs import BlobCopier

_ABSENT = """
SELECT there.id FROM src.dataset AS there WHERE there.id > ?
AND NOT EXISTS (SELECT 1 FROM main.dataset AS here WHERE here.hash = there.hash)
ORDER BY there.id LIMIT 1
"""
_NEED = "SELECT example FROM src.item WHERE dataset = ?"
_INSERT = """
INSERT INTO main.dataset (hash, size, created_ns)
SELECT hash, size, created_ns FROM src.dataset WHERE id = ?
"""
_ITEMS = """
INSERT INTO main.item (dataset, position, split, example, origin)
SELECT :dataset, position, split, example.dst, origin FROM src.item
CROSS JOIN temp.blob_map AS example ON example.src = item.example WHERE item.dataset = :source
"""
# What is known first, or at all, counts, so that it doesn't matter which store is merged.
_FIRST = """
UPDATE main.dataset SET created_ns = min(dataset.created_ns, there.created_ns)
FROM src.dataset AS there WHERE there.hash = dataset.hash
"""
_ORIGINS = """
UPDATE main.item SET origin = there.origin FROM main.dataset AS here
CROSS JOIN src.dataset AS source ON source.hash = here.hash
CROSS JOIN src.item AS there ON there.dataset = source.id
WHERE item.dataset = here.id AND item.position = there.position AND there.split = item.split
AND there.origin > item.origin
"""


class DatasetCopier:
    """Copies the data sets that the target lacks, one in each transaction."""

    def __init__(self, db: sqlite3.Connection, blobs: BlobCopier) -> None:
        self._db = db
        self._blobs = blobs
        self._last = 0
        self.copied = 0

    def copy_one(self, *, sweeping: bool) -> bool:
        """Copy the next data set, in the caller's transaction; ``False`` if there is none."""
        row = self._db.execute(_ABSENT, (self._last,)).fetchone()
        if row is None:
            return False
        self._last = row[0]
        self._blobs.need(_NEED, row)
        self._blobs.copy(sweeping=sweeping)
        dataset = self._db.execute(_INSERT, row).lastrowid
        self._db.execute(_ITEMS, {"dataset": dataset, "source": row[0]})
        self.copied += 1
        return True

    def complete(self) -> None:
        """Take from the source what it says of data sets that both have."""
        self._db.execute(_FIRST)
        self._db.execute(_ORIGINS)
