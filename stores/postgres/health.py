"""The health of a store in PostgreSQL."""

from __future__ import annotations

import contextlib

from lmflow.stores.postgres.connection import PostgresConnection
from lmflow.stores.postgres.location import location
from lmflow.stores.postgres.preparing import number_of
from lmflow.stores.postgres.reading import explained
from lmflow.stores.postgres.schema import VERSION
from lmflow.stores.sqlite.checks.health import Health

_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
"""
_STARTED = """
SELECT count(*) FROM run JOIN run_item ON run_item.run = run.id
JOIN call ON call.trace = run_item.trace WHERE call.status = 'started' AND run.status
"""


def health(url: str) -> Health | None:
    """Return the health of a store, ``None`` if there is none.

    Raises:
        NewerSchema: If a newer lmflow made it.
        StoreError: If the server can't be reached.
    """
    place = location(url)
    with contextlib.closing(PostgresConnection(place, read_only=True)) as db, explained(place):
        (server,) = db.run("SHOW server_version").fetchone()
        schema = number_of(db, place)
        if not schema:
            return None

        def count(query: str) -> int:
            return int(db.run(query).fetchone()[0])

        return Health(
            server=f"PostgreSQL {server}",
            schema=schema,
            current=VERSION,
            problem="",
            wal=0,
            size=count(_SIZE),
            calls=count("SELECT coalesce(max(id), 0) FROM call"),
            orphans=count(f"{_STARTED} <> 'open'"),
            open_runs=count("SELECT count(*) FROM run WHERE status = 'open'"),
            open_calls=count(f"{_STARTED} = 'open'"),
            media=count("SELECT count(*) FROM blob WHERE kind = 'media'"),
            media_size=count("SELECT coalesce(sum(size), 0) FROM blob WHERE kind = 'media'"),
        )
