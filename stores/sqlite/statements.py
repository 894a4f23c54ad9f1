"""Rows in bulk: one statement for many, since at each step SQLite lets go of the interpreter and
waits for it again.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

SIZES = (128, 64, 32, 16, 8, 4, 2, 1)
"""Rows a statement, so that few statements are prepared."""


def many(db: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run a statement whose ``{rows}`` stands for rows of values, as few times as ``SIZES`` allow."""
    at = 0
    for size in SIZES:
        while len(rows) - at >= size:
            db.execute(
                _of_rows(statement, size, len(rows[at])),
                tuple(chain.from_iterable(rows[at : at + size])),
            )
            at += size


def among(db: sqlite3.Connection, query: str, keys: Sequence[Any]) -> list[Any]:
    """The rows of a query whose ``{keys}`` stands for a list of values."""
    found: list[Any] = []
    at = 0
    for size in SIZES:
        while len(keys) - at >= size:
            found += db.execute(
                query.format(keys=", ".join("?" * size)), keys[at : at + size]
            ).fetchall()
            at += size
    return found


@functools.lru_cache(maxsize=256)
def _of_rows(statement: str, rows: int, columns: int) -> str:
    """The statement for that many rows: a long text, which SQLite's module looks prepared
    statements up by.
    """
    return statement.format(rows=", ".join([f"({', '.join('?' * columns)})"] * rows))
