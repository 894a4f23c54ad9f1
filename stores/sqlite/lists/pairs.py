"""Executions of the same inputs under two versions, for comparing their answers."""

from __future__ import annotations

import attrs

from lmflow.stores.sqlite.reader import Reader

_PAIRS = """
SELECT max(a.id) AS a, max(b.id) AS b FROM trace a
JOIN trace b ON b.inputs = a.inputs AND b.program = a.program AND b.sample = a.sample
WHERE a.version = :a AND b.version = :b AND a.outputs IS NOT NULL AND b.outputs IS NOT NULL
GROUP BY a.inputs, a.program, a.sample ORDER BY 1 LIMIT :limit
"""


@attrs.frozen
class Pair:
    """Two finished executions of the same inputs: their rows and ids."""

    row_a: int
    row_b: int
    a: str
    b: str


def pairs(reader: Reader, version_a: str, version_b: str, limit: int) -> list[Pair]:
    """Return the latest executions of each input that ran under both versions, by whole ids."""
    listing, everything = reader.listing, reader.listing.filter((), "trace")
    versions = {
        name: reader.versions.row_of(id_) for name, id_ in (("a", version_a), ("b", version_b))
    }
    found = [tuple(row) for row in listing.rows(_PAIRS, everything, {**versions, "limit": limit})]
    uids = listing.uids([row for pair in found for row in pair])
    return [Pair(a, b, uids[a], uids[b]) for a, b in found]
