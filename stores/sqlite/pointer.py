"""Resolves one name of a store again and again, on one connection."""

from __future__ import annotations

import contextlib
import sqlite3

from lmflow.stores.damage import unreadable
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.reading import Reading
from lmflow.versions.version import Version


class NamedLine:
    """The version of a ref, an id or ``REF~N``, which is read only if it changed.

    The connection is opened by the first call of ``now`` and belongs to that thread.
    """

    def __init__(self, reading: Reading, name: str) -> None:
        self._reading, self._name = reading, name
        self._stack = contextlib.ExitStack()
        self._reader: Reader | None = None
        self._row = 0
        self._versions: tuple[Version, Version] | None = None

    def now(self) -> tuple[Version, Version]:
        """Return the version that the name resolves to now, and its oldest stored ancestor.

        Raises:
            UnknownVersion: If the name resolves to nothing.
        """
        if self._reader is None:
            self._reader = self._stack.enter_context(self._reading())
        row = self._reader.versions.row_of_name(self._name)
        if self._versions is None or row != self._row:
            self._row, self._versions = row, self._reader.versions.line(row)
        return self._versions

    def close(self) -> None:
        """Close the connection."""
        self._stack.close()
        self._reader = None


class SqlitePointer:
    """Resolves a name of a SQLite store, as ``NamedLine`` does."""

    def __init__(self, reading: Reading, store: str, name: str) -> None:
        self._line, self._store = NamedLine(reading, name), store

    def now(self) -> tuple[Version, Version]:
        """Return the version that the name resolves to now, and its oldest stored ancestor.

        Raises:
            UnknownVersion: If the name resolves to nothing.
            StoreError: If the store can't be read.
        """
        try:
            return self._line.now()
        except sqlite3.DatabaseError as error:
            raise unreadable(self._store, error) from error

    def close(self) -> None:
        """Close the connection."""
        self._line.close()
