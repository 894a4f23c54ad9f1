"""Data sets in a SQLite trace store: by content, in splits, under names that point at digests."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from lmflow.data.dataset import Dataset, Examples, example_id, splits_of
from lmflow.errors import BadData, NotFound, StoreError, Tampered, near, short
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite.blobs.format import body_of, digest_bytes, digest_text
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.blobs.writer import BlobWriter
from lmflow.stores.sqlite.bulk import insert_rows
from lmflow.stores.sqlite.generation import generation_of, is_sweeping
from lmflow.stores.sqlite.opening import is_writable, read_only
from lmflow.stores.sqlite.schema import prepare
from lmflow.values.record import Record, digest
from lmflow.values.unicode import well_formed
from lmflow.versions.version import check_ref

KIND = "example"
"""The kind of the blobs of examples."""

SHORTEST = 4
"""Digits that a short digest has at least."""

_NAMED = "SELECT dataset FROM dataset_name WHERE name = ? ORDER BY id DESC LIMIT 1"
_ITEMS = "INSERT INTO item (dataset, position, split, example, origin) VALUES {rows}"


@attrs.frozen
class NamedDataset:
    """A name and the data set that it points at.

    Args:
        name: The name.
        digest: The data set's digest.
        size: The number of examples.
        splits: The number of examples by split.
        at: The time when the name was moved, in nanoseconds since the epoch.
    """

    name: str
    digest: str
    size: int
    splits: Record
    at: int


def dataset_digest(parts: Mapping[str, Dataset]) -> str:
    """Return the digest of a data set.

    It is the digest of the examples; with splits, the digest of the splits' names and digests.
    """
    if list(parts) == [""]:
        return parts[""].digest
    return digest("splits", [[name, part.digest] for name, part in sorted(parts.items())])


def put_dataset(
    path: str | Path,
    name: str,
    parts: Examples | Mapping[str, Examples],
    at: int,
    origins: Mapping[str, str],
) -> str:
    """Store a data set and point a name at it; nothing that is stored is changed.

    Args:
        path: The store's file.
        name: The name; empty to find the data set by its digest alone.
        parts: The data set or its rows, or its splits by name.
        at: The time, in nanoseconds since the epoch.
        origins: The ids of the traces that examples come from, by the examples' ids.

    Returns:
        The digest.

    Raises:
        BadRef: If ``name`` can't be a name.
        BadData: If there are no rows, or an example is in two splits.
        StoreError: If the store can't be written.
    """
    splits = splits_of(name, parts)
    check_parts(name, splits)
    if not is_writable(Path(path)):
        raise read_only(str(path))
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None)
    try:
        prepare(db, Path(path))
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("BEGIN IMMEDIATE")
        row = keep_rows(db, splits, at, origins)
        if name:
            name_dataset(db, name, row, at)
        db.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        fix = "Is it in use, or the disk full?"
        raise StoreError(str(path), f"it can't keep the data set ({error})", fix) from error
    finally:
        db.close()
    return dataset_digest(splits)


class DatasetReader:
    """Reads data sets through one connection; ``NotFound`` if none has the name or digest."""

    def __init__(self, connection: sqlite3.Connection, store: str, blobs: BlobReader) -> None:
        self._db = connection
        self._store = store
        self._blobs = blobs

    def names(self) -> list[NamedDataset]:
        """Return the data set that each name points at now, sorted by name."""
        query = (
            "SELECT name, dataset, at_ns, hash, size FROM dataset_name"
            " JOIN dataset ON dataset.id = dataset"
            " WHERE dataset_name.id IN (SELECT max(id) FROM dataset_name GROUP BY name)"
            " ORDER BY name"
        )
        return [
            NamedDataset(
                row["name"],
                digest_text(row["hash"]),
                row["size"],
                self._sizes(row["dataset"]),
                row["at_ns"],
            )
            for row in self._db.execute(query).fetchall()
        ]

    def splits(self, name: str) -> dict[str, Dataset]:
        """Return the splits of a data set by name; one without splits is under ``""``.

        Raises:
            NotFound: If no single data set has the name or digest.
            Tampered: If the examples do not match the digest.
        """
        row, hashed = self._row(name)
        examples: dict[str, list[Record]] = {}
        for split, _, example in self._items(row):
            examples.setdefault(split, []).append(example)
        parts = {split: Dataset(_title(name, split), rows) for split, rows in examples.items()}
        if (derived := dataset_digest(parts)) != hashed:
            raise Tampered(self._store, f"data set {short(hashed)} hashes to {short(derived)}")
        return parts

    def dataset(self, name: str, split: str = "") -> Dataset:
        """Return a data set, in the order of its splits, or one of its splits."""
        parts = self.splits(name)
        if split and split not in parts:
            names = ", ".join(filter(None, parts)) or "no splits"
            problem = f"data set {name!r} has no split {split!r}, it has {names}"
            raise NotFound(self._store, problem, "`lmflow dataset show NAME` lists them.")
        if split:
            return parts[split]
        return Dataset(name, [example for part in parts.values() for example in part])

    def origins(self, name: str) -> dict[str, str]:
        """Return the ids of the traces that examples come from, by the examples' ids, in order.

        Examples of unknown origin are left out.
        """
        row, _ = self._row(name)
        return {example_id(example): origin for _, origin, example in self._items(row) if origin}

    def digest(self, name: str) -> str:
        """Return the digest that a name, or the beginning of a digest, stands for."""
        return self._row(name)[1]

    def _row(self, name: str) -> tuple[int, str]:
        name = well_formed(name)
        named = self._db.execute(_NAMED, (name,)).fetchone()
        rows = [named[0]] if named else self._matches(name.removeprefix("v1:b2:").lower())
        if len(rows) != 1:
            names = [named.name for named in self.names()]
            problem = f"data set {name!r} is ambiguous" if rows else f"no data set {name!r}"
            problem += f"; there is {', '.join(names) or 'none'}"
            raise NotFound(self._store, problem, near(name, names).strip())
        (hashed,) = self._db.execute("SELECT hash FROM dataset WHERE id = ?", (rows[0],)).fetchone()
        return int(rows[0]), digest_text(hashed)

    def _matches(self, digits: str) -> list[int]:
        if len(digits) < SHORTEST or not set(digits) <= set("0123456789abcdef"):
            return []
        query = "SELECT id FROM dataset WHERE substr(lower(hex(hash)), 1, ?) = ? LIMIT 2"
        return [row[0] for row in self._db.execute(query, (len(digits), digits)).fetchall()]

    def _items(self, row: int) -> Iterator[tuple[str, str, Record]]:
        query = "SELECT split, origin, example FROM item WHERE dataset = ? ORDER BY position"
        for item in self._db.execute(query, (row,)).fetchall():
            try:
                example = Record(self._blobs.get(item["example"]))
            except DAMAGE as error:
                thing = f"an example of row {row} of the table dataset"
                raise damaged(self._store, thing, error) from error
            yield item["split"], item["origin"], example

    def _sizes(self, row: int) -> Record:
        query = (
            "SELECT split, count(*) FROM item WHERE dataset = ?"
            " GROUP BY split ORDER BY min(position)"
        )
        return Record(dict(self._db.execute(query, (row,)).fetchall()))


def _title(name: str, split: str) -> str:
    return f"{name}/{split}" if split else name


def check_parts(name: str, parts: Mapping[str, Dataset]) -> None:
    """Refuse a bad name, a data set without rows, and an example that is in two splits."""
    if name:
        check_ref(name)
    if not any(parts.values()):
        raise BadData(name, "it has no rows", "Give at least one example.")
    home: dict[str, str] = {}
    for split, rows in parts.items():
        for example in rows.ids:
            if home.setdefault(example, split) != split:
                problem = f"the example {short(example)!r} is in {home[example]!r} and in {split!r}"
                fix = "An example is in one split: part the rows, lf.split(rows, {...})."
                raise BadData(name, problem, fix)


def name_dataset(db: sqlite3.Connection, name: str, row: int, at: int) -> None:
    """Point a name at the data set in a row; the caller begins and commits."""
    db.execute("INSERT INTO dataset_name (name, dataset, at_ns) VALUES (?, ?, ?)", (name, row, at))


def keep_rows(
    db: sqlite3.Connection, parts: Mapping[str, Dataset], at: int, origins: Mapping[str, str]
) -> int:
    """Return the row of a data set, new if its digest is; the caller begins and commits."""
    hashed = digest_bytes(dataset_digest(parts))
    if row := db.execute("SELECT id FROM dataset WHERE hash = ?", (hashed,)).fetchone():
        return int(row[0])
    blobs = BlobWriter(db)
    blobs.forget(sweeping=is_sweeping(generation_of(db)))
    blobs.begin()
    examples = [(split, example) for split, rows in parts.items() for example in rows]
    insert = "INSERT INTO dataset (hash, size, created_ns) VALUES (?, ?, ?) RETURNING id"
    (dataset,) = db.execute(insert, (hashed, len(examples), at)).fetchone()
    items: list[tuple[Any, ...]] = []
    for position, (split, example) in enumerate(examples):
        origin = origins.get(example_id(example), "")
        items.append((dataset, position, split, blobs.put(body_of(KIND, example)), origin))
    blobs.flush()
    insert_rows(db, _ITEMS, items)
    return int(dataset)
