"""Statements over many rows at once.

Python's SQLite module releases the interpreter's lock at each step and waits for it again, so with
busy threads a statement a row is slow.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

SIZES = (128, 64, 32, 16, 8, 4, 2, 1)
"""Rows a statement: a few fixed sizes, so that few statements are prepared and cached."""


def insert_rows(db: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run an INSERT for all rows; ``{rows}`` in the statement is replaced by placeholders."""
    at = 0
    for size in SIZES:
        while len(rows) - at >= size:
            values = tuple(chain.from_iterable(rows[at : at + size]))
            db.execute(_with_rows(statement, size, len(rows[at])), values)
            at += size


def select_in(db: sqlite3.Connection, query: str, keys: Sequence[Any]) -> list[Any]:
    """Return the rows of a query for all keys; ``{keys}`` in it is replaced by placeholders."""
    rows: list[Any] = []
    at = 0
    for size in SIZES:
        while len(keys) - at >= size:
            statement = query.format(keys=", ".join("?" * size))
            rows += db.execute(statement, keys[at : at + size]).fetchall()
            at += size
    return rows


@contextlib.contextmanager
def collection_paused() -> Iterator[None]:
    """Pause the collection of reference cycles while many values are made that all stay.

    The collector would walk over all of them again and again, and free nothing. If threads pause it
    at the same time, the first to come restores it, maybe early.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@functools.lru_cache(maxsize=256)
def _with_rows(statement: str, rows: int, columns: int) -> str:
    """Return the statement for that many rows.

    Python's SQLite module finds prepared statements by their text, so it is built only once.
    """
    return statement.format(rows=", ".join([f"({', '.join('?' * columns)})"] * rows))
