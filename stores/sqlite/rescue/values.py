"""Drops from a rescued store the blobs and versions that do not match their hashes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from lmflow.errors import Tampered, short
from lmflow.stores.damage import DAMAGE
from lmflow.stores.sqlite.blobs.format import digest_bytes, digest_text
from lmflow.stores.sqlite.blobs.media import MEDIA
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.rescue.indexes import Indexes
from lmflow.stores.sqlite.rescue.report import Losses
from lmflow.stores.sqlite.versions import VersionReader

_UNSURE_REFS = """
SELECT ref.rowid FROM ref WHERE ref.version IS NOT
    (SELECT after FROM reflog WHERE reflog.name = ref.name ORDER BY id DESC LIMIT 1)
"""
_BLOB = "SELECT id, kind, enc, size, data FROM blob WHERE id = ?"


def drop_wrong_blobs(db: sqlite3.Connection, store: str) -> int:
    """Delete the blobs that do not match their hashes; return their number.

    A blob that is composed of others is wrong if one of those is.
    """
    reader = BlobReader(db, store)
    wrong = []
    for (blob,) in db.execute("SELECT id FROM blob ORDER BY id").fetchall():
        try:
            reader.get(blob)
            _mend_size(db, blob)
        except (Tampered, *DAMAGE):
            wrong.append((blob,))
    db.executemany("DELETE FROM blob WHERE id = ?", wrong)
    return len(wrong)


def _mend_size(db: sqlite3.Connection, blob: int) -> None:
    """Derive the size of a blob again, which no hash covers."""
    _, kind, enc, size, data = db.execute(_BLOB, (blob,)).fetchone()
    derived = len(data) if kind == MEDIA or not enc else None
    if derived is not None and derived != size:
        db.execute("UPDATE blob SET size = ? WHERE id = ?", (derived, blob))


def drop_unsure_pointers(db: sqlite3.Connection, indexes: Indexes, losses: Losses) -> None:
    """Delete the refs, moves of refs and names of data sets whose rows the indexes have otherwise,
    and the refs whose last move went elsewhere.
    """
    for row in indexes.unsure("reflog"):
        losses.note(f"a move of a ref is lost (row {row} of the table reflog)")
        db.execute("DELETE FROM reflog WHERE id = ?", (row,))
    for name in indexes.lost("ref", "name"):
        losses.note(f"ref {name} is lost")
    unsure = set(indexes.unsure("ref"))
    unsure |= {row for (row,) in db.execute(_UNSURE_REFS)}
    for row in sorted(unsure):
        (name,) = db.execute("SELECT name FROM ref WHERE rowid = ?", (row,)).fetchone()
        losses.note(f"ref {name} is lost: it is not sure where it pointed")
        db.execute("DELETE FROM ref WHERE rowid = ?", (row,))
    for row in indexes.unsure("dataset_name"):
        losses.note(f"a name of a data set is lost (row {row} of the table dataset_name)")
        db.execute("DELETE FROM dataset_name WHERE id = ?", (row,))


def drop_wrong_versions(
    db: sqlite3.Connection, store: str, indexes: Indexes, losses: Losses
) -> None:
    """Delete the versions that do not match their ids, and what points at them."""
    for hashed in indexes.lost("version", "hash"):
        losses.note(f"version {short(digest_text(hashed))} is lost")
    reader = VersionReader(db, store, BlobReader(db, store))
    wrong = []
    for row, hashed, tree in db.execute("SELECT id, hash, tree FROM version").fetchall():
        try:
            version = reader.at(row)
        except (Tampered, *DAMAGE):
            wrong.append((row,))
            losses.note(f"version {short(digest_text(hashed))} is lost")
            continue
        if digest_bytes(version.tree) != tree:
            db.execute(
                "UPDATE version SET tree = ? WHERE id = ?", (digest_bytes(version.tree), row)
            )
    db.executemany("DELETE FROM version WHERE id = ?", wrong)
    db.execute("DELETE FROM parent WHERE version NOT IN (SELECT id FROM version)")
    _drop_pointers(db, losses)


def _drop_pointers(db: sqlite3.Connection, losses: Losses) -> None:
    """Delete refs, moves of refs and pins whose version is lost."""
    absent = "NOT IN (SELECT id FROM version)"
    for name in _texts(db, f"SELECT name FROM ref WHERE version {absent}"):
        losses.note(f"ref {name} is lost: the version that it points at is")
    moves = f"(after IS NOT NULL AND after {absent}) OR (before IS NOT NULL AND before {absent})"
    for name in _texts(db, f"SELECT name FROM reflog WHERE {moves}"):
        losses.note(f"moves of ref {name} are lost: a version that it pointed at is")
    for why in _texts(db, f"SELECT why FROM pin WHERE version {absent}"):
        losses.note(f"a pin is lost: its version is (reason: {why or 'none'})")
    db.execute(f"DELETE FROM ref WHERE version {absent}")
    db.execute(f"DELETE FROM reflog WHERE {moves}")
    db.execute(f"DELETE FROM pin WHERE version {absent}")
    db.execute(f"DELETE FROM act WHERE run NOT IN (SELECT id FROM run) OR version {absent}")


def _texts(db: sqlite3.Connection, query: str) -> Iterable[str]:
    return [str(row[0]) for row in db.execute(query).fetchall()]
