"""What another database than SQLite does in its own way; the readers of a store share the rest."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol


class Dialect(Protocol):
    """What a connection to another database brings with it, as ``connection.dialect``."""

    def matching(self, words: Sequence[str], where: str) -> tuple[str, dict[str, Any]] | None:
        """Return the query of the calls with all words, newest first, and its parameters.

        It takes ``limit`` and ``before`` too. ``where`` is SQL over the tables call and trace.
        ``None`` if there is no word in the words.
        """
        ...

    def passing(self, query: str, check: Callable[[Any, Any], bool]) -> list[Any]:
        """Return the first column of a query's rows for which a check of the others holds."""
        ...

    def content(self, digest: str) -> Callable[[], bytes] | None:
        """Return what reads a content, ``None`` if ``digest`` is no SHA-256."""
        ...

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the indexes."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait until something is committed, for so many seconds at most."""
        ...


def dialect_of(db: sqlite3.Connection) -> Dialect | None:
    """Return the dialect of a connection, ``None`` for SQLite's own."""
    return getattr(db, "dialect", None)
