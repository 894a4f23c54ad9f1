"""Data sets in a SQLite trace store: kept by content, in splits, under names that point at digests."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from lmflow.data.dataset import Dataset, example_id
from lmflow.errors import BadData, NotFound, StoreError, Tampered, near, short
from lmflow.stores.sqlite.blobs import BlobReader, BlobWriter, body_of, raw, text
from lmflow.stores.sqlite.schema import prepare
from lmflow.stores.sqlite.statements import many
from lmflow.values.record import Record, digest
from lmflow.versions.version import check_ref

KIND = "example"
SHORTEST = 4

_NAMED = "SELECT dataset FROM dataset_name WHERE name = ? ORDER BY id DESC LIMIT 1"
_ITEMS = "INSERT INTO item (dataset, position, split, example, origin) VALUES {rows}"


@attrs.frozen
class Kept:
    """A name and what it points at: the digest, how many examples, and how many in each split."""

    name: str
    digest: str
    size: int
    splits: Record
    at: int


def dataset_digest(parts: Mapping[str, Dataset]) -> str:
    """The digest of a data set: of one without splits that of its examples, else of its splits'
    names and digests.
    """
    if list(parts) == [""]:
        return parts[""].digest
    return digest("splits", [[name, part.digest] for name, part in sorted(parts.items())])


def put(
    path: str | Path,
    name: str,
    parts: Dataset | Mapping[str, Dataset],
    at: int,
    origins: Mapping[str, str],
) -> str:
    """Keep a data set and let the name point at it; its digest. Nothing that is kept is changed.
    Without a name it is found by its digest alone.

    No example is in two splits (``BadData``). ``origins`` maps ids of examples to the traces that
    they come from.
    """
    found = {"": parts} if isinstance(parts, Dataset) else dict(sorted(parts.items()))
    _check(name, found)
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None)
    try:
        prepare(db, Path(path))
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("BEGIN IMMEDIATE")
        row = _kept(db, found, at, origins)
        if name:
            db.execute(
                "INSERT INTO dataset_name (name, dataset, at_ns) VALUES (?, ?, ?)", (name, row, at)
            )
        db.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        raise StoreError(
            str(path), f"it can't keep the data set ({error})", "Is it in use, or the disk full?"
        ) from error
    finally:
        db.close()
    return dataset_digest(found)


class Datasets:
    """Reads data sets through one connection. ``NotFound`` where there is none of that name or
    digest.
    """

    def __init__(self, connection: sqlite3.Connection, store: str, blobs: BlobReader) -> None:
        self._db = connection
        self._store = store
        self._blobs = blobs

    def names(self) -> list[Kept]:
        """What each name points at now, by name."""
        query = (
            "SELECT name, dataset, at_ns, hash, size FROM dataset_name JOIN dataset ON dataset.id = dataset"
            " WHERE dataset_name.id IN (SELECT max(id) FROM dataset_name GROUP BY name) ORDER BY name"
        )
        return [
            Kept(
                row["name"],
                text(row["hash"]),
                row["size"],
                self._sizes(row["dataset"]),
                row["at_ns"],
            )
            for row in self._db.execute(query).fetchall()
        ]

    def splits(self, name: str) -> dict[str, Dataset]:
        """The splits of a data set, by name; one without splits is under ``""``. ``Tampered``."""
        row, hashed = self._row(name)
        examples: dict[str, list[Record]] = {}
        for split, _, example in self._items(row):
            examples.setdefault(split, []).append(example)
        parts = {
            split: Dataset(f"{name}/{split}" if split else name, rows)
            for split, rows in examples.items()
        }
        if dataset_digest(parts) != hashed:
            raise Tampered(
                self._store, f"data set {short(hashed)} hashes to {short(dataset_digest(parts))}"
            )
        return parts

    def dataset(self, name: str, split: str = "") -> Dataset:
        """A data set whole, in the order of its splits, or one of its splits."""
        parts = self.splits(name)
        if split and split not in parts:
            known = ", ".join(filter(None, parts)) or "no splits"
            problem = f"data set {name!r} has no split {split!r}, it has {known}"
            raise NotFound(self._store, problem, "`lmflow dataset show NAME` lists them.")
        if split:
            return parts[split]
        return Dataset(name, [example for part in parts.values() for example in part])

    def origins(self, name: str) -> dict[str, str]:
        """The traces that examples come from, by the examples' ids, in order; empty where none is
        known.
        """
        row, _ = self._row(name)
        return {example_id(example): origin for _, origin, example in self._items(row) if origin}

    def digest(self, name: str) -> str:
        """The digest that a name, or the beginning of a digest, stands for."""
        return self._row(name)[1]

    def _row(self, name: str) -> tuple[int, str]:
        named = self._db.execute(_NAMED, (name,)).fetchone()
        rows = [named[0]] if named else self._matches(name.removeprefix("v1:b2:").lower())
        if len(rows) != 1:
            known = [kept.name for kept in self.names()]
            what = f"data set {name!r} is ambiguous" if rows else f"no data set {name!r}"
            raise NotFound(
                self._store,
                f"{what}; there is {', '.join(known) or 'none'}",
                near(name, known).strip(),
            )
        (hashed,) = self._db.execute("SELECT hash FROM dataset WHERE id = ?", (rows[0],)).fetchone()
        return int(rows[0]), text(hashed)

    def _matches(self, digits: str) -> list[int]:
        if len(digits) < SHORTEST or not set(digits) <= set("0123456789abcdef"):
            return []
        query = "SELECT id FROM dataset WHERE substr(lower(hex(hash)), 1, ?) = ? LIMIT 2"
        return [row[0] for row in self._db.execute(query, (len(digits), digits)).fetchall()]

    def _items(self, row: int) -> Iterator[tuple[str, str, Record]]:
        query = "SELECT split, origin, example FROM item WHERE dataset = ? ORDER BY position"
        for item in self._db.execute(query, (row,)).fetchall():
            yield item["split"], item["origin"], Record(self._blobs.get(item["example"]))

    def _sizes(self, row: int) -> Record:
        query = "SELECT split, count(*) FROM item WHERE dataset = ? GROUP BY split ORDER BY min(position)"
        return Record(dict(self._db.execute(query, (row,)).fetchall()))


def _check(name: str, parts: Mapping[str, Dataset]) -> None:
    if name:
        check_ref(name)
    if not any(parts.values()):
        raise BadData(name, "it has no rows", "Give at least one example.")
    home: dict[str, str] = {}
    for split, rows in parts.items():
        for known in rows.ids:
            if home.setdefault(known, split) != split:
                problem = f"the example {short(known)!r} is in {home[known]!r} and in {split!r}"
                raise BadData(
                    name,
                    problem,
                    "An example is in one split: part the rows, lf.split(rows, {...}).",
                )


def _kept(
    db: sqlite3.Connection, parts: Mapping[str, Dataset], at: int, origins: Mapping[str, str]
) -> int:
    """The row of a data set, new where its digest is."""
    hashed = raw(dataset_digest(parts))
    if row := db.execute("SELECT id FROM dataset WHERE hash = ?", (hashed,)).fetchone():
        return int(row[0])
    (generation,) = db.execute(
        "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'gc'"
    ).fetchone()
    blobs = BlobWriter(db)
    blobs.forget(sweeping=generation % 2 == 1)
    blobs.begin()
    examples = [(split, example) for split, rows in parts.items() for example in rows]
    insert = "INSERT INTO dataset (hash, size, created_ns) VALUES (?, ?, ?) RETURNING id"
    (made,) = db.execute(insert, (hashed, len(examples), at)).fetchone()
    items: list[tuple[Any, ...]] = [
        (
            made,
            position,
            split,
            blobs.put(body_of(KIND, example)),
            origins.get(example_id(example), ""),
        )
        for position, (split, example) in enumerate(examples)
    ]
    blobs.flush()
    many(db, _ITEMS, items)
    return int(made)
