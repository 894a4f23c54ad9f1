"""What a name points at in a SQLite trace store, looked up again and again on one connection."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable

from lmflow.errors import StoreError
from lmflow.stores.sqlite.reader import Reader
from lmflow.versions.version import Version

Reading = Callable[[], contextlib.AbstractContextManager[Reader]]


class SqlitePointer:
    """Looks at what a ref, an id or ``REF~N`` points at, and reads the version only where that has
    changed.

    It opens its connection when it is first asked, and belongs to that thread.
    """

    def __init__(self, reading: Reading, store: str, name: str) -> None:
        self._reading, self._store, self._name = reading, store, name
        self._stack = contextlib.ExitStack()
        self._reader: Reader | None = None
        self._row = 0
        self._found: tuple[Version, Version] | None = None

    def now(self) -> tuple[Version, Version]:
        """The version that the name stands for now, and the first of its line. ``UnknownVersion``,
        ``StoreError``.
        """
        if self._reader is None:
            self._reader = self._stack.enter_context(self._reading())
        try:
            row = self._reader.versions.place(self._name)
            if self._found is None or row != self._row:
                self._row, self._found = row, self._reader.versions.line(row)
        except sqlite3.DatabaseError as error:
            raise StoreError(
                self._store, f"it can't be read ({error})", "Is it whole? `lmflow doctor`."
            ) from error
        return self._found

    def close(self) -> None:
        """Close the connection."""
        self._stack.close()
        self._reader = None
