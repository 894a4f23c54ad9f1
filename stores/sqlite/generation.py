"""The generation of garbage collection, ``meta.gc``, by which writers know that one is running.

The number grows by one when a collection starts and by one when it ends. So an odd generation means
that garbage is being swept, and a generation that changed since a writer last looked means that the
ids it remembers may be gone.
"""

from __future__ import annotations

import sqlite3

from lmflow.stores.damage import damaged


def generation_of(db: sqlite3.Connection) -> int:
    """Return the current generation; ``Tampered`` if the store has none."""
    row = db.execute("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'gc'").fetchone()
    if row is None or row[0] is None:
        _, _, path = db.execute("PRAGMA database_list").fetchone()
        raise damaged(path, "the row gc of the table meta")
    return int(row[0])


def is_sweeping(generation: int) -> bool:
    """Say whether garbage is being swept in a generation."""
    return generation % 2 == 1


def next_sweeping(generation: int) -> int:
    """Return the next generation in which garbage is swept.

    A collection that was killed leaves a sweeping generation behind; the next one takes another
    number, so that the killed one, should it still run, notices.
    """
    return generation + (2 if is_sweeping(generation) else 1)


def next_idle(generation: int) -> int:
    """Return the next generation in which no garbage is swept."""
    return generation + (1 if is_sweeping(generation) else 2)
