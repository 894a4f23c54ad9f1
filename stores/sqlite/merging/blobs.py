"""Copies blobs by hash, and maps the ids that they have in the source to those in the target."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmflow.errors import Tampered
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite.blobs.format import (
    WITHOUT_CONTENTS,
    contents_named,
    digest_bytes,
    digest_text,
    hash_form,
    pack,
    parts_of,
    unpack,
    unpack_bytes,
    unpack_text,
)
from lmflow.stores.sqlite.blobs.media import MEDIA
from lmflow.stores.sqlite.bulk import select_in
from lmflow.values.record import canonical, digest

_CREATE = (
    "CREATE TEMP TABLE blob_map (src INTEGER PRIMARY KEY, dst INTEGER)",
    "CREATE TEMP TABLE need (id INTEGER PRIMARY KEY)",
)
_NEEDED = "temp.need CROSS JOIN src.blob AS blob ON blob.id = need.id"
_PLAIN = "blob.kind NOT IN ('prefix', 'request')"
# New blobs are numbered as they come: `next_blob` is a function of Python, called once a row.
_MAP = f"""
INSERT INTO temp.blob_map
SELECT need.id, coalesce(here.id, CASE WHEN {_PLAIN} THEN next_blob() END)
FROM {_NEEDED} LEFT JOIN main.blob AS here ON here.hash = blob.hash ORDER BY need.id
"""
_COPY_PLAIN = """
INSERT INTO main.blob (id, hash, kind, enc, size, data)
SELECT map.dst, blob.hash, blob.kind, blob.enc, blob.size, blob.data
FROM temp.blob_map AS map CROSS JOIN src.blob AS blob ON blob.id = map.src
WHERE map.dst > ? AND is_sound(blob.hash, blob.kind, blob.enc, blob.data) ORDER BY map.src
"""
_COMPOSED = f"""
SELECT blob.id, blob.hash, blob.kind, blob.enc, blob.data FROM {_NEEDED} WHERE NOT {_PLAIN}
AND NOT EXISTS (SELECT 1 FROM temp.blob_map AS map WHERE map.src = need.id AND map.dst IS NOT NULL)
ORDER BY blob.kind, blob.id
"""
_NAMING = f"""
SELECT blob.id, blob.enc, blob.data FROM {_NEEDED}
WHERE blob.kind NOT IN ({", ".join(f"'{kind}'" for kind in WITHOUT_CONTENTS)})
"""
_INSERT = "INSERT INTO main.blob (id, hash, kind, enc, size, data) VALUES (?, ?, ?, ?, ?, ?)"
_TOUCH = """
INSERT OR IGNORE INTO main.touched (kind, id)
SELECT 'blob', dst FROM temp.blob_map WHERE dst IS NOT NULL
"""
_LAST = "SELECT coalesce(max(seq), 0) FROM main.sqlite_sequence WHERE name = 'blob'"
_CONTENTS_SINCE = "SELECT max(id) FROM src.blob WHERE id > ? AND kind = 'media'"


class BlobCopier:
    """Copies the blobs whose ids are in ``temp.need``, each after the blobs that it is made of.

    ``temp.blob_map`` has the ids of those that were copied last. A blob whose content doesn't match
    its hash raises ``Tampered``; a request is checked against its call's key when it is read.
    """

    def __init__(self, db: sqlite3.Connection, source: str) -> None:
        self._db = db
        self._source = source
        self._seen = self._contents = 0
        self._bad: list[bytes] = []
        self._numbers = itertools.count()
        self.copied = 0
        for statement in _CREATE:
            db.execute(statement)
        db.create_function("next_blob", 0, lambda: next(self._numbers))
        db.create_function("is_sound", 4, self._is_sound, deterministic=True)

    def need(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> None:
        """Add the ids that a query returns to those to copy; NULL is none."""
        self._db.execute(
            f"INSERT OR IGNORE INTO temp.need SELECT * FROM ({query}) WHERE true",
            parameters,
        )

    def copy(self, *, sweeping: bool) -> None:
        """Copy the blobs that are needed, and map their ids.

        While garbage is swept, the blobs that the target has already are touched.
        """
        db = self._db
        db.execute("DELETE FROM temp.blob_map")
        self._add_parts()
        self._add_contents()
        (base,) = db.execute(_LAST).fetchone()
        self._numbers = itertools.count(base + 1)
        db.execute(_MAP)
        if sweeping:
            db.execute(_TOUCH)
        self.copied += db.execute(_COPY_PLAIN, (base,)).rowcount
        self._check_sound()
        self._copy_composed()
        db.execute("DELETE FROM temp.need")
        self._check_all_there()

    def _check_all_there(self) -> None:
        query = "SELECT src FROM temp.blob_map WHERE dst IS NULL"
        row = self._db.execute(query).fetchone()
        if row is not None:
            raise damaged(self._source, f"blob {row[0]}")

    def _is_sound(self, hashed: bytes, kind: str, enc: int, data: bytes) -> bool:
        """Tell whether the content of a blob matches its hash, and note it if not."""
        try:
            if kind == MEDIA:
                sound = hashlib.sha256(data).digest() == hashed
            else:
                sound = hash_form(kind, unpack_bytes(enc, data)) == hashed
        except DAMAGE:
            sound = False
        if not sound:
            self._bad.append(hashed)
        return sound

    def _check_sound(self) -> None:
        if self._bad:
            shown = digest_text(self._bad[0])[:18]
            self._bad.clear()
            problem = f"a blob ({shown}) doesn't match its hash"
            raise Tampered(self._source, problem, "`lmflow verify` says what is wrong with it.")

    def _add_parts(self) -> None:
        """Add the parts of requests and prefixes to what is needed."""
        while ids := {
            part
            for _, _, kind, enc, data in self._composed()
            for part in self._parts(kind, enc, data)
        }:
            before = self._db.total_changes
            add = "INSERT OR IGNORE INTO temp.need VALUES (?)"
            self._db.executemany(add, [(part,) for part in ids])
            if self._db.total_changes == before:
                return

    def _parts(self, kind: str, enc: int, data: bytes) -> list[int]:
        try:
            return parts_of(kind, unpack(enc, data))
        except DAMAGE as error:
            raise damaged(self._source, f"a {kind} blob", error) from error

    def _composed(self) -> list[Any]:
        return self._db.execute(_COMPOSED).fetchall()

    def _add_contents(self) -> None:
        """Add the contents of pictures, sounds and files that needed blobs name."""
        (last,) = self._db.execute(_CONTENTS_SINCE, (self._contents,)).fetchone()
        (end,) = self._db.execute("SELECT max(id) FROM src.blob").fetchone()
        self._seen = max(self._seen, last or 0)
        self._contents = end or 0
        if not self._seen:
            return
        add = (
            "INSERT OR IGNORE INTO temp.need"
            " SELECT id FROM src.blob WHERE hash = ? AND kind = 'media'"
        )
        for named in self._contents_named():
            self._db.executemany(add, [(hashed,) for hashed in named])

    def _contents_named(self) -> Iterator[set[bytes]]:
        reading = self._db.cursor().execute(_NAMING)
        found: list[set[bytes]] = []
        while rows := reading.fetchmany(1000):
            try:
                found.append(
                    {h for _, enc, data in rows for h in contents_named(unpack_text(enc, data))}
                )
            except DAMAGE as error:
                raise damaged(self._source, "a blob", error) from error
        return iter(found)

    def _copy_composed(self) -> None:
        """Copy prefixes, then requests, with the ids that their parts have in the target."""
        rows = []
        for blob, hashed, kind, enc, data in self._composed():
            at = next(self._numbers)
            rows.append((at, hashed, kind, *self._translated(hashed, kind, enc, data)))
            self._db.execute("UPDATE temp.blob_map SET dst = ? WHERE src = ?", (at, blob))
        self._db.executemany(_INSERT, rows)
        self.copied += len(rows)

    def _translated(
        self, hashed: bytes, kind: str, enc: int, data: bytes
    ) -> tuple[int, int, bytes]:
        """Return encoding, size and data of a composed blob as the target names its parts."""
        value = unpack(enc, data)
        parts = parts_of(kind, value)
        if kind == "request" and not parts:
            return enc, len(unpack_bytes(enc, data)), data
        mapped = "SELECT src, dst FROM temp.blob_map WHERE src IN ({keys})"
        ids = dict(tuple(row) for row in select_in(self._db, mapped, list(set(parts))))
        if kind == "prefix":
            self._check_prefix(hashed, parts)
            return _packed(canonical([ids[part] for part in parts]))
        prefix, *last = [ids[part] for part in parts]
        return _packed(canonical(value | {"messages": {"prefix": prefix, "last": last}}))

    def _check_prefix(self, hashed: bytes, parts: Sequence[int]) -> None:
        query = "SELECT id, hash FROM src.blob WHERE id IN ({keys})"
        hashes = dict(tuple(row) for row in select_in(self._db, query, list(set(parts))))
        digests = [digest_text(hashes[part]) for part in parts]
        if digest_bytes(digest("prefix", digests)) != hashed:
            self._bad.append(hashed)
            self._check_sound()


def _packed(form: str) -> tuple[int, int, bytes]:
    enc, data = pack(form)
    return enc, len(form), data
