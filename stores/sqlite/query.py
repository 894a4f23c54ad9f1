"""Answers SQL queries of a store; whatever the SQL says, nothing is written and no file opened."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from lmflow.errors import StoreError, near
from lmflow.stores.damage import unreadable
from lmflow.stores.sqlite.schema import VERSION, check_file, check_readable, schema_of
from lmflow.stores.sqlite.writing.settled import opened_to_read

LONGEST = 256 * 2**20
"""Bytes that a value of a query may have, so that no query takes all memory."""

_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile"})
_PRAGMAS = frozenset(
    {
        "application_id",
        "compile_options",
        "data_version",
        "foreign_key_list",
        "function_list",
        "index_info",
        "index_list",
        "index_xinfo",
        "page_count",
        "page_size",
        "table_info",
        "table_list",
        "table_xinfo",
        "user_version",
    }
)
"""The pragmas that only read; the others change the connection or the file."""

_STEPS = 20_000
"""Instructions of SQLite between two looks at the clock, some milliseconds."""

_NAMED = re.compile(r"no such (table|column): (?:\w+\.)?(.+)")
_ONLY_READS = "Only queries are answered: SELECT, WITH, VALUES, EXPLAIN and PRAGMA table_info."
_INTERRUPTED = "interrupted"
_OLDER = (
    "An earlier lmflow wrote the store: it gets the columns of now when it is opened for writing,"
    " lf.SqliteStore(path)."
)
_SQL = 'Write one query in SQLite\'s SQL: lmflow sql "select id, calls, usd from v_runs".'


@attrs.frozen
class Answer:
    """The rows of a query.

    Args:
        columns: The names of the columns, each once.
        rows: The rows, at most as many as were asked for.
        more: Whether there are more rows.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool


def query(path: str | Path, sql: str, *, limit: int, seconds: float) -> Answer:
    """Run one statement that reads, and return its first rows.

    Args:
        path: The store's file.
        sql: The statement.
        limit: The number of rows that are returned.
        seconds: The time that it may take.

    Raises:
        StoreError: If the statement can't be run, writes, opens a file, or takes too long.
    """
    path = _store_at(path)
    deadline = time.monotonic() + seconds
    try:
        with opened_to_read(path) as db:
            check_readable(db, path)
            db.text_factory = _text
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
            db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            names, is_older = _names(db), schema_of(db, path) < VERSION
            db.execute("PRAGMA query_only = ON")
            db.set_authorizer(_authorized)
            db.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            try:
                cursor = db.execute(sql)
                rows = [tuple(row) for row in _first(cursor, limit + 1)]
            except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
                if str(error) == _INTERRUPTED and time.monotonic() <= deadline:
                    # Ctrl-C is raised in the progress handler, where sqlite3 swallows it.
                    raise KeyboardInterrupt from None
                refusal = _refused(path, error, names, seconds)
                if is_older and _NAMED.match(str(error)):
                    refusal = StoreError(refusal.store, refusal.problem, f"{refusal.fix} {_OLDER}")
                raise refusal from None
    except sqlite3.DatabaseError as error:
        raise unreadable(path, error) from error
    if cursor.description is None:
        raise StoreError(str(path), "there is no query", _SQL)
    columns = distinct([str(column[0]) for column in cursor.description])
    return Answer(columns, tuple(rows[:limit]), len(rows) > limit)


def tables_of(path: str | Path) -> Mapping[str, Sequence[str]]:
    """Return the columns of the views that people read, then of the tables, by name.

    Raises:
        StoreError: If the store can't be read.
    """
    path = _store_at(path)
    try:
        with opened_to_read(path) as db:
            check_readable(db, path)
            names = _names(db)
    except sqlite3.DatabaseError as error:
        raise unreadable(path, error) from error
    return {name: columns for name, columns in names.items() if not name.startswith("search_")}


def _store_at(path: str | Path) -> Path:
    path = Path(path)
    if not check_file(path):
        fix = "Record a run first, `lmflow run`, or name the store, --store FILE."
        raise StoreError(str(path), "there is no such file", fix)
    return path


def _names(db: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the columns of views and tables by name, views first."""
    tables = db.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_%' ESCAPE '\\'"
        " ORDER BY type DESC, name"
    ).fetchall()
    info = "SELECT name FROM pragma_table_info(?)"
    return {name: [row[0] for row in db.execute(info, (name,))] for (name,) in tables}


def _authorized(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Allow what reads; SQLite asks for each part of a statement while it compiles it."""
    if action in _ALLOWED:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and str(second).lower() not in _FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and str(first).lower() in _PRAGMAS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _first(cursor: sqlite3.Cursor, count: int) -> Sequence[tuple[Any, ...]]:
    # SQLite takes no number of rows beyond 32 bits.
    return cursor.fetchmany(min(count, 2**31 - 1))


def _refused(
    path: Path, error: Exception, names: Mapping[str, Sequence[str]], seconds: float
) -> StoreError:
    """Return the error for a statement that can't be run, with the names that are near."""
    words = str(error)
    if "authoriz" in words or "prohibited" in words or "readonly" in words:
        return StoreError(str(path), "it is only read", _ONLY_READS)
    if words == _INTERRUPTED:
        fix = "Ask for less, or give it more, --timeout SECONDS."
        return StoreError(str(path), f"the query took longer than {seconds:g} s", fix)
    if "one statement" in words:
        return StoreError(str(path), "there are several statements", _SQL)
    match = _NAMED.match(words)
    if match is None:
        return StoreError(str(path), f"the query can't be answered ({words})", _SQL)
    kind, name = match[1], match[2]
    columns = dict.fromkeys(column for own in names.values() for column in own)
    fix = near(name, names if kind == "table" else columns).strip()
    return StoreError(str(path), words, f"{fix} `lmflow sql` lists tables and columns.".strip())


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names, each of which occurs once: later ones have a number."""
    distinct: list[str] = []
    for name in names:
        number, unique = 1, name
        while unique in distinct:
            number += 1
            unique = f"{name}_{number}"
        distinct.append(unique)
    return tuple(distinct)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
