"""Resolves one name of a store in PostgreSQL again and again, on one connection."""

from __future__ import annotations

import contextlib

import psycopg

from lmflow.errors import StoreError
from lmflow.stores.postgres.location import Location
from lmflow.stores.postgres.reading import reading_at
from lmflow.stores.sqlite.reader import Reader
from lmflow.versions.version import Version


class PostgresPointer:
    """Resolves a ref, an id or ``REF~N``, and reads the version only if it changed.

    The pointer opens its connection at the first call of ``now`` and belongs to that thread.
    """

    def __init__(self, place: Location, name: str) -> None:
        self._place, self._name = place, name
        self._stack = contextlib.ExitStack()
        self._reader: Reader | None = None
        self._row = 0
        self._versions: tuple[Version, Version] | None = None

    def now(self) -> tuple[Version, Version]:
        """Return the version that the name resolves to now, and its oldest stored ancestor.

        Raises:
            UnknownVersion: If the name resolves to nothing.
            StoreError: If the store can't be read; the next call connects anew.
        """
        try:
            return self._resolved()
        except psycopg.Error as error:
            self.close()
            problem = f"it can't be read ({self._place.clean(error)})"
            raise StoreError(self._place.name, problem, "Is the server up? Try again.") from None

    def _resolved(self) -> tuple[Version, Version]:
        if self._reader is None:
            self._reader = self._stack.enter_context(reading_at(self._place))
        row = self._reader.versions.row_of_name(self._name)
        if self._versions is None or row != self._row:
            self._row, self._versions = row, self._reader.versions.line(row)
        return self._versions

    def close(self) -> None:
        """Close the connection."""
        self._stack.close()
        self._reader = None
