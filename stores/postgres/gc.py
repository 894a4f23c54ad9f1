"""Collects garbage in a store in PostgreSQL, as ``lmflow.stores.sqlite.gc`` says."""

from __future__ import annotations

import contextlib
import time

import psycopg

from lmflow.errors import StoreError
from lmflow.stores.postgres.connection import PostgresConnection
from lmflow.stores.postgres.location import location
from lmflow.stores.postgres.preparing import check
from lmflow.stores.sqlite.gc import Collector, GarbageCounts

_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"


def collect(
    url: str, *, older_than: int | None = None, dry_run: bool = True, now: int | None = None
) -> GarbageCounts:
    """Remove versions and blobs that no ref, reflog, pin or run reaches, and old runs.

    Args:
        url: The store's URL.
        older_than: The age in nanoseconds from which runs are removed; ``None`` keeps all runs.
        dry_run: Whether to count only.
        now: The time, in nanoseconds since the epoch; ``None`` for the clock's.

    Returns:
        What was removed; in a dry run, what would be.

    Raises:
        StoreError: If there is no store, it can't be written, or another collection started.
    """
    place = location(url)
    with contextlib.closing(PostgresConnection(place)) as db:
        try:
            check(db, place)
            moment = time.time_ns() if now is None else now
            return Collector(db.as_sqlite(), place.name, moment).collect(
                older_than, dry_run=dry_run
            )
        except psycopg.Error as error:
            problem = f"garbage can't be collected ({place.clean(error)})"
            raise StoreError(place.name, problem, "What was swept is consistent.") from None


def shrink(url: str) -> None:
    """Give the space of removed rows back for new ones.

    Raises:
        StoreError: If the server refuses.
    """
    place = location(url)
    with contextlib.closing(PostgresConnection(place)) as db:
        try:
            check(db, place)
            tables = [row[0] for row in db.run(_TABLES).fetchall()]
            db.run(f"VACUUM (ANALYZE) {', '.join(tables)}")
        except psycopg.Error as error:
            problem = f"it can't be vacuumed ({place.clean(error)})"
            raise StoreError(place.name, problem, "It is whole: try again later.") from None
