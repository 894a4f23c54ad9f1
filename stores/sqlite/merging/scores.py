"""Copies scores: each that the target hasn't, by all that it says."""

from __future__ import annotations

import sqlite3

from lmflow.stores.sqlite.merging.blobs import BlobCopier

_PAGE = 20_000
_CREATE = """
CREATE TEMP TABLE scored (
    at INTEGER PRIMARY KEY, trace INTEGER NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL,
    value REAL, feedback INTEGER, metric TEXT NOT NULL, who TEXT NOT NULL, at_ns INTEGER NOT NULL,
    run TEXT NOT NULL, nth INTEGER NOT NULL
)
"""
_END = "SELECT max(id) FROM (SELECT id FROM src.score WHERE id > ? ORDER BY id LIMIT ?)"
_NEED = """
SELECT feedback FROM src.score WHERE id > :last AND id <= :end AND feedback IS NOT NULL
"""
_EQUAL = """
{a}.at_ns = {b}.at_ns AND {a}.name = {b}.name AND {a}.value IS {b}.value
AND {a}.feedback IS {b}.feedback AND {a}.metric = {b}.metric AND {a}.who = {b}.who
AND {a}.run = {b}.run
"""
# Equal scores of one trace are all kept, as often as the store has them that has them most often.
_FIND = f"""
INSERT INTO temp.scored
SELECT there.id, trace.id, version.dst, there.name, there.value, feedback.dst, there.metric,
       there.who, there.at_ns, there.run,
       (SELECT count(*) FROM src.score AS before WHERE before.trace = there.trace
        AND before.id <= there.id AND {_EQUAL.format(a="before", b="there")})
FROM src.score AS there CROSS JOIN src.trace AS source ON source.id = there.trace
CROSS JOIN main.trace ON trace.uid = source.uid
CROSS JOIN temp.version_map AS version ON version.src = there.version
LEFT JOIN temp.blob_map AS feedback ON feedback.src = there.feedback
WHERE there.id > :last AND there.id <= :end
"""
_INSERT = f"""
INSERT INTO main.score (trace, version, name, value, feedback, metric, who, at_ns, run)
SELECT there.trace, there.version, there.name, there.value, there.feedback, there.metric,
       there.who, there.at_ns, there.run
FROM temp.scored AS there
WHERE (SELECT count(*) FROM main.score AS here
       WHERE here.trace = there.trace AND {_EQUAL.format(a="here", b="there")}) < there.nth
ORDER BY there.at
"""


class ScoreCopier:
    """Copies scores by their numbers in the source, a page in each transaction."""

    def __init__(self, db: sqlite3.Connection, blobs: BlobCopier) -> None:
        self._db = db
        self._blobs = blobs
        self._last = 0
        self.copied = 0
        db.execute(_CREATE)

    def copy_page(self, *, sweeping: bool) -> bool:
        """Copy the next scores, in the caller's transaction; ``True`` if there may be more."""
        (end,) = self._db.execute(_END, (self._last, _PAGE)).fetchone()
        if end is None:
            return False
        place = {"last": self._last, "end": end}
        self._blobs.need(_NEED, place)
        self._blobs.copy(sweeping=sweeping)
        self._db.execute("DELETE FROM temp.scored")
        self._db.execute(_FIND, place)
        self.copied += self._db.execute(_INSERT).rowcount
        self._last = end
        return True
