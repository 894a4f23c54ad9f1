"""Resolves one name of a store in PostgreSQL again and again, on one connection."""

from __future__ import annotations

import psycopg

from lmflow.errors import StoreError
from lmflow.stores.postgres.location import Location
from lmflow.stores.postgres.reading import reading_at
from lmflow.stores.sqlite.pointer import NamedLine
from lmflow.versions.version import Version


class PostgresPointer:
    """Resolves a name of a store in PostgreSQL, as ``NamedLine`` does."""

    def __init__(self, place: Location, name: str) -> None:
        self._place = place
        self._line = NamedLine(lambda: reading_at(place), name)

    def now(self) -> tuple[Version, Version]:
        """Return the version that the name resolves to now, and its oldest stored ancestor.

        Raises:
            UnknownVersion: If the name resolves to nothing.
            StoreError: If the store can't be read; the next call connects anew.
        """
        try:
            return self._line.now()
        except psycopg.Error as error:
            self.close()
            problem = f"it can't be read ({self._place.clean(error)})"
            raise StoreError(self._place.name, problem, "Is the server up? Try again.") from None

    def close(self) -> None:
        """Close the connection."""
        self._line.close()
