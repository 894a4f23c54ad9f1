"""Copies versions with their parents, and maps their ids."""

from __future__ import annotations

import sqlite3

from lmflow.stores.sqlite.merging.blobs import BlobCopier

_CREATE = "CREATE TEMP TABLE version_map (src INTEGER PRIMARY KEY, dst INTEGER NOT NULL)"
_PAGE = 1000
_THESE = "src.version AS there WHERE there.id > :last AND there.id <= :end"
_END = """
SELECT max(id) FROM (SELECT id FROM src.version WHERE id > ? ORDER BY id LIMIT ?)
"""
_NEED = f"SELECT {{column}} FROM {_THESE}"
_INSERT = """
INSERT INTO main.version (hash, tree, params, note, origin, created_ns, author)
SELECT there.hash, there.tree, params.dst, there.note, origin.dst, there.created_ns, there.author
FROM src.version AS there
CROSS JOIN temp.blob_map AS params ON params.src = there.params
CROSS JOIN temp.blob_map AS origin ON origin.src = there.origin
WHERE there.id > :last AND there.id <= :end
AND NOT EXISTS (SELECT 1 FROM main.version AS here WHERE here.hash = there.hash) ORDER BY there.id
"""
# Who stored a version first counts, so that it doesn't matter which store is merged into which.
_UPDATE = """
UPDATE main.version SET created_ns = there.created_ns, author = there.author
FROM src.version AS there
WHERE there.hash = version.hash AND there.id > :last AND there.id <= :end
AND (there.created_ns, there.author) < (version.created_ns, version.author)
"""
_MAP = """
INSERT INTO temp.version_map SELECT there.id, here.id FROM src.version AS there
CROSS JOIN main.version AS here ON here.hash = there.hash
WHERE there.id > :last AND there.id <= :end
"""
_PARENTS = """
INSERT OR IGNORE INTO main.parent (version, position, hash)
SELECT map.dst, parent.position, parent.hash FROM temp.version_map AS map
CROSS JOIN src.parent ON parent.version = map.src WHERE map.src > :last AND map.src <= :end
"""
# While garbage is swept, what a new row refers to is touched; all ancestors come too.
_TOUCH = (
    """INSERT OR IGNORE INTO main.touched (kind, id)
       SELECT 'version', dst FROM temp.version_map WHERE src > :last AND src <= :end""",
    *(
        f"""INSERT OR IGNORE INTO main.touched (kind, id)
        SELECT 'blob', {column} FROM temp.version_map AS map
        CROSS JOIN main.version ON version.id = map.dst WHERE map.src > :last AND map.src <= :end"""
        for column in ("params", "origin")
    ),
)


class VersionCopier:
    """Copies the versions that are new since the last call; ``temp.version_map`` maps all."""

    def __init__(self, db: sqlite3.Connection, blobs: BlobCopier) -> None:
        self._db = db
        self._blobs = blobs
        self._last = 0
        self.copied = 0
        db.execute(_CREATE)

    def forget(self) -> None:
        """Drop the ids that are known."""
        self._db.execute("DELETE FROM temp.version_map")
        self._last = 0

    def copy_page(self, *, sweeping: bool) -> bool:
        """Copy some of the versions that are new, in the caller's transaction.

        Returns:
            ``True`` if there may be more.
        """
        (end,) = self._db.execute(_END, (self._last, _PAGE)).fetchone()
        if end is None:
            return False
        place = {"last": self._last, "end": end}
        for column in ("params", "origin"):
            self._blobs.need(_NEED.format(column=column), place)
        self._blobs.copy(sweeping=sweeping)
        self.copied += self._db.execute(_INSERT, place).rowcount
        for statement in (_UPDATE, _MAP, _PARENTS):
            self._db.execute(statement, place)
        if sweeping:
            for statement in _TOUCH:
                self._db.execute(statement, place)
        self._last = end
        return True
