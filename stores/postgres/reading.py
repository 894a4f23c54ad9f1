"""Opens a store in PostgreSQL for reading, on a connection of its own that can't write."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import psycopg

from lmflow.errors import StoreError
from lmflow.stores.postgres.connection import PostgresConnection
from lmflow.stores.postgres.location import Location, location
from lmflow.stores.postgres.preparing import check
from lmflow.stores.sqlite.reader import Reader


@contextlib.contextmanager
def reading(url: str) -> Iterator[Reader]:
    """Open a store that exists for reading; nothing is written.

    Args:
        url: The store's URL.

    Yields:
        A reader, which only this thread may use and only within the block.

    Raises:
        NewerSchema: If a newer lmflow made the store.
        StoreError: If the server can't be reached, or there is no store.
    """
    with reading_at(location(url)) as reader:
        yield reader


@contextlib.contextmanager
def reading_at(place: Location) -> Iterator[Reader]:
    """Open a store at a place for reading; see ``reading``."""
    with contextlib.closing(PostgresConnection(place, read_only=True)) as db, explained(place):
        check(db, place)
        yield reader_of(db, place)


def reader_of(db: PostgresConnection, place: Location) -> Reader:
    """Return a reader of a connection to a store that was checked."""
    return Reader(db.as_sqlite(), place.name, functools.partial(reading_at, place))


@contextlib.contextmanager
def explained(place: Location) -> Iterator[None]:
    """Raise errors of the server as ``StoreError``."""
    try:
        yield
    except psycopg.Error as error:
        problem = f"it can't be read ({place.clean(error)})"
        raise StoreError(place.name, problem, "Is the server up? Try again.") from None
