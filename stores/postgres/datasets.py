"""The data sets of a store in PostgreSQL, ``store.datasets``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence

import psycopg

from lmflow.data.dataset import Dataset, Examples, splits_of
from lmflow.errors import StoreError
from lmflow.stores.postgres.connection import PostgresConnection
from lmflow.stores.postgres.location import Location
from lmflow.stores.sqlite.datasets import (
    NamedDataset,
    check_parts,
    dataset_digest,
    keep_rows,
    name_dataset,
)
from lmflow.stores.sqlite.reading import Reading


class PostgresDatasets:
    """The data sets of a store in PostgreSQL, ``store.datasets``."""

    def __init__(self, place: Location, reading: Reading) -> None:
        self._place, self._reading = place, reading

    def put(
        self,
        name: str,
        parts: Examples | Mapping[str, Examples],
        *,
        origins: Mapping[str, str] | None = None,
    ) -> str:
        """Store a data set under a name; see ``PostgresStore.put_dataset``."""
        splits = splits_of(name, parts)
        check_parts(name, splits)
        at, place = time.time_ns(), self._place
        with contextlib.closing(PostgresConnection(place)) as connection:
            db = connection.as_sqlite()
            try:
                db.execute("BEGIN IMMEDIATE")
                row = keep_rows(db, splits, at, origins or {})
                if name:
                    name_dataset(db, name, row, at)
                connection.commit()
            except psycopg.Error as error:
                problem = f"it can't keep the data set ({place.clean(error)})"
                raise StoreError(place.name, problem, "Is the server up? Try again.") from None
        return dataset_digest(splits)

    def keep(self, data: Dataset) -> str:
        """Store a data set by its content alone, under no name, and return its digest."""
        return self.put("", data)

    def get(self, name: str, split: str = "") -> Dataset:
        """Return the data set of a name or digest, or one of its splits; ``NotFound``."""
        with self._reading() as reader:
            return reader.datasets.dataset(name, split)

    def splits(self, name: str) -> Mapping[str, Dataset]:
        """Return the splits of a data set by name; one without splits is under ``""``."""
        with self._reading() as reader:
            return reader.datasets.splits(name)

    def names(self) -> Sequence[NamedDataset]:
        """Return what each name points at, sorted by name."""
        with self._reading() as reader:
            return reader.datasets.names()
