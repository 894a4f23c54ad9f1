"""Opens a SQLite trace store for reading, on a read-only connection of its own."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from lmflow.errors import StoreError
from lmflow.stores.damage import unreadable
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.schema import check_file, check_readable
from lmflow.stores.sqlite.writing.settled import opened_to_read

Reading = Callable[[], AbstractContextManager[Reader]]
"""Opens a reader."""


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[Reader]:
    """Open a store that exists for reading; nothing is written, so its folder may be read-only.

    Args:
        path: The store's file.

    Yields:
        A reader, which only this thread may use and only within the block.

    Raises:
        NotAStore: If the file is something else.
        NewerSchema: If a newer lmflow wrote it.
        StoreError: If the file does not exist, is damaged, was never finished, or is so old that it
            must be opened for writing once.
    """
    path = Path(path)
    if not check_file(path):
        fix = "Record a run first, `lmflow run`, or name the store, --store FILE."
        raise StoreError(str(path), "there is no such file", fix)
    try:
        with opened_to_read(path) as db:
            db.row_factory = sqlite3.Row
            check_readable(db, path)
            yield Reader(db, str(path), functools.partial(reading, path))
    except sqlite3.Error as error:
        raise unreadable(path, error) from error
