"""Answers SQL queries of a store in PostgreSQL; whatever the SQL says, nothing is written."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import errors

from lmflow.errors import StoreError
from lmflow.stores.postgres.connection import PostgresConnection
from lmflow.stores.postgres.location import Location, location
from lmflow.stores.postgres.preparing import check
from lmflow.stores.sqlite.query import Answer, distinct

_ONLY_READS = "Only queries are answered: SELECT, WITH and VALUES."
_SQL = 'Write one query in PostgreSQL\'s SQL: lmflow sql "select id, calls, usd from v_runs".'
_TABLES = "SELECT name FROM sqlite_master ORDER BY type DESC, name"
_COLUMNS = "SELECT name FROM pragma_table_info($1)"
_INNER = frozenset({"change", "log", "sqlite_master", "sqlite_sequence"})
_PLAIN = (int, float, str, bytes, type(None))


def query(url: str, sql: str, *, limit: int, seconds: float) -> Answer:
    """Run one query and return its first rows.

    Args:
        url: The store's URL.
        sql: The query.
        limit: The number of rows that are returned.
        seconds: The time that it may take.

    Raises:
        StoreError: If the query can't be answered, writes, or takes too long.
    """
    place = location(url)
    with contextlib.closing(PostgresConnection(place, read_only=True)) as db:
        check(db, place)
        try:
            columns, rows = db.declared(sql, limit + 1, seconds)
        except psycopg.Error as error:
            raise _refused(place, error, seconds) from None
    return Answer(distinct(columns), tuple(map(_plain, rows[:limit])), len(rows) > limit)


def tables_of(url: str) -> Mapping[str, Sequence[str]]:
    """Return the columns of the views that people read, then of the tables, by name.

    Raises:
        StoreError: If the store can't be read.
    """
    place = location(url)
    with contextlib.closing(PostgresConnection(place, read_only=True)) as db:
        check(db, place)
        names = [row[0] for row in db.run(_TABLES).fetchall() if row[0] not in _INNER]
        return {name: [row[0] for row in db.run(_COLUMNS, [name]).fetchall()] for name in names}


def _plain(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value if isinstance(value, _PLAIN) else str(value) for value in row)


def _refused(place: Location, error: psycopg.Error, seconds: float) -> StoreError:
    words = place.clean(error)
    match error:
        case errors.QueryCanceled():
            fix = "Ask for less, or give it more, --timeout SECONDS."
            return StoreError(place.name, f"the query took longer than {seconds:g} s", fix)
        case errors.UndefinedTable() | errors.UndefinedColumn():
            return StoreError(place.name, words, "`lmflow sql` lists tables and columns.")
        case errors.ReadOnlySqlTransaction() | errors.FeatureNotSupported():
            return StoreError(place.name, "it is only read", _ONLY_READS)
    return StoreError(place.name, f"the query can't be answered ({words})", f"{_ONLY_READS} {_SQL}")
