"""Opens the store of a name: the path of an SQLite file, or the URL of a PostgreSQL database."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

from lmflow.errors import StoreError
from lmflow.stores.postgres.location import location
from lmflow.stores.sqlite import gc as sqlite_gc
from lmflow.stores.sqlite import query as sqlite_query
from lmflow.stores.sqlite import reading as sqlite_reading
from lmflow.stores.sqlite.checks.health import Health, health
from lmflow.stores.sqlite.gc import GarbageCounts
from lmflow.stores.sqlite.query import Answer
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.schema import check_file
from lmflow.stores.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from lmflow.stores.postgres.store import PostgresStore

AnyStore: TypeAlias = "SqliteStore | PostgresStore"
"""A store that processes share."""

_URL = re.compile(r"\s*[a-z][a-z0-9+.-]+(://|:/[^/]*@)", re.IGNORECASE)


class StoreURL(str):
    """The URL of a store, which reads without its password wherever it is printed or stored.

    Args:
        url: The URL.

    Raises:
        StoreError: If it can't be read.
    """

    __slots__ = ("url",)
    url: str

    def __new__(cls, url: str) -> Self:
        """Return the URL; as a text it has no password."""
        name = str.__new__(cls, location(url).name)
        name.url = url
        return name


def store_name(name: str) -> str:
    """Return the name of a store; if it is a URL, one that shows no password.

    Raises:
        StoreError: If it is a URL that can't be read, or of another kind of database.
    """
    return StoreURL(name) if is_url(name) and not isinstance(name, StoreURL) else name


def is_url(name: str | Path) -> bool:
    """Say whether a name is a URL, not the path of a file.

    A URL of another database is one too, and is refused when it is read: as the path of a file it
    would be shown with its password.
    """
    return isinstance(name, str) and _URL.match(name) is not None


def open_store(name: str) -> AnyStore:
    """Open a store for writing; it is made if it does not exist.

    Raises:
        StoreError: If it can't be opened.
    """
    if not is_url(name):
        return SqliteStore(name)
    url = _url_of(name)
    from lmflow.stores.postgres.store import PostgresStore  # noqa: PLC0415 - an extra

    return PostgresStore(url)


def reading(name: str) -> AbstractContextManager[Reader]:
    """Open a store that exists for reading; nothing is written.

    Raises:
        StoreError: If there is no such store, or it can't be read.
    """
    if not is_url(name):
        return sqlite_reading.reading(name)
    url = _url_of(name)
    from lmflow.stores.postgres.reading import reading as postgres_reading  # noqa: PLC0415 - an extra

    return postgres_reading(url)


def is_there(name: str) -> bool:
    """Say whether there is a store of a name.

    Raises:
        NotAStore: If the name is a file of another kind.
        StoreError: If the server can't be reached.
    """
    if not is_url(name):
        return check_file(Path(name))
    url = _url_of(name)
    from lmflow.stores.postgres.preparing import is_made  # noqa: PLC0415 - an extra

    return is_made(location(url))


def collect_garbage(name: str, *, older_than: int | None, dry_run: bool) -> GarbageCounts:
    """Remove what nothing reaches, and old runs; see ``lmflow.stores.sqlite.gc.collect``."""
    if not is_url(name):
        return sqlite_gc.collect(name, older_than=older_than, dry_run=dry_run)
    url = _url_of(name)
    from lmflow.stores.postgres.gc import collect  # noqa: PLC0415 - an extra

    return collect(url, older_than=older_than, dry_run=dry_run)


def shrink_store(name: str) -> None:
    """Give free space back: of a file to the disk, of a database to new rows; ``StoreError``."""
    if not is_url(name):
        sqlite_gc.shrink(name)
        return
    url = _url_of(name)
    from lmflow.stores.postgres.gc import shrink  # noqa: PLC0415 - an extra

    shrink(url)


def health_of(name: str) -> Health | None:
    """Return the health of a store, ``None`` if there is no store of a name.

    Raises:
        StoreError: If it can't be read.
    """
    if not is_url(name):
        return health(name)
    url = _url_of(name)
    from lmflow.stores.postgres.health import health as database_health  # noqa: PLC0415 - an extra

    return database_health(url)


def query_store(name: str, sql: str, *, limit: int, seconds: float) -> Answer:
    """Run one statement that reads; see ``lmflow.stores.sqlite.query.query``."""
    if not is_url(name):
        return sqlite_query.query(name, sql, limit=limit, seconds=seconds)
    url = _url_of(name)
    from lmflow.stores.postgres.query import query  # noqa: PLC0415 - an extra

    return query(url, sql, limit=limit, seconds=seconds)


def tables_of_store(name: str) -> Mapping[str, Sequence[str]]:
    """Return the columns of views and tables by name; see ``lmflow.stores.sqlite.query``."""
    if not is_url(name):
        return sqlite_query.tables_of(name)
    url = _url_of(name)
    from lmflow.stores.postgres.query import tables_of  # noqa: PLC0415 - an extra

    return tables_of(url)


def path_of(name: str, fix: str) -> Path:
    """Return the path of a store's file, for what only a file can do.

    Args:
        name: The name of the store.
        fix: What does the same for a database.

    Raises:
        StoreError: If the store is a database.
    """
    if is_url(name):
        raise StoreError(name, "it is a database, and this needs a file", fix)
    return Path(name)


def _url_of(name: str) -> str:
    """Return the URL for the driver; ``StoreError`` if the driver isn't installed."""
    if importlib.util.find_spec("psycopg") is None:
        fix = "Install it: pip install 'lmflow-dsl[postgres]'."
        raise StoreError(store_name(name), "the package psycopg is missing", fix)
    return name.url if isinstance(name, StoreURL) else name
