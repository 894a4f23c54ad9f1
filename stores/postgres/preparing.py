"""Brings a schema in PostgreSQL up to date before writing, and checks it before reading."""

from __future__ import annotations

import contextlib

import psycopg

from lmflow.errors import NewerSchema, StoreError
from lmflow.stores.postgres.connection import PostgresConnection
from lmflow.stores.postgres.location import Location
from lmflow.stores.postgres.schema import CHANGES, VERSION

_RECORD = """
CREATE TABLE IF NOT EXISTS change (
    number BIGINT PRIMARY KEY, name TEXT NOT NULL, at TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('lmflow schema ' || $1, 0))"
_HAS = "SELECT to_regclass('change') IS NOT NULL"
_UPGRADE = "Upgrade: pip install -U lmflow-dsl. The database is untouched."


def prepare(db: PostgresConnection, location: Location) -> None:
    """Make what is missing of a store; several processes may do so at once.

    Raises:
        NewerSchema: If a newer lmflow made the store; it is left unchanged.
        StoreError: If the user may not make the tables, or the database isn't in UTF-8.
    """
    try:
        if number_of(db, location) == VERSION:
            return
        _check_encoding(db, location)
        db.run("BEGIN")
        db.run(_LOCK, [location.schema])
        db.run(f'CREATE SCHEMA IF NOT EXISTS "{location.schema}"')
        db.run(_RECORD)
        _apply(db, number_of(db, location))
        db.run("COMMIT")
    except psycopg.Error as error:
        fix = f'May the user do this: CREATE SCHEMA "{location.schema}"?'
        raise StoreError(
            location.name, f"it can't be set up ({location.clean(error)})", fix
        ) from None
    finally:
        if db.in_transaction:
            db.rollback()


def check(db: PostgresConnection, location: Location) -> None:
    """Raise unless a store can be read as it is.

    Raises:
        NewerSchema: If a newer lmflow made the store.
        StoreError: If there is no store, or it must be opened for writing once.
    """
    number = number_of(db, location)
    if number == 0:
        fix = "Record a run first, `lmflow run`, or name the store, --store URL."
        raise StoreError(location.name, f"there is no schema {location.schema!r} in it", fix)
    if number < VERSION:
        problem = f"its schema is {number}, this lmflow reads {VERSION}"
        raise StoreError(location.name, problem, "Open it once for writing, lf.PostgresStore(url).")


def number_of(db: PostgresConnection, location: Location) -> int:
    """Return the number of the last change of a store, 0 if there is none; ``NewerSchema``."""
    if not db.run(_HAS).fetchone()[0]:
        return 0
    (number,) = db.run("SELECT coalesce(max(number), 0) FROM change").fetchone()
    if number > VERSION:
        problem = f"its schema is {number}, this lmflow reads up to {VERSION}"
        raise NewerSchema(location.name, problem, _UPGRADE)
    return int(number)


def _apply(db: PostgresConnection, number: int) -> None:
    for change in CHANGES:
        if change.number > number:
            for statement in change.statements:
                db.run(statement)
            db.run(
                "INSERT INTO change (number, name) VALUES ($1, $2)", [change.number, change.name]
            )


def _check_encoding(db: PostgresConnection, location: Location) -> None:
    (encoding,) = db.run("SHOW server_encoding").fetchone()
    if encoding != "UTF8":
        fix = "Make it anew: createdb --encoding=UTF8 --template=template0 NAME."
        raise StoreError(location.name, f"the database is in {encoding}, not in UTF8", fix)


def is_made(location: Location) -> bool:
    """Say whether a store is there; ``StoreError`` if the server can't be reached."""
    with contextlib.closing(PostgresConnection(location, read_only=True)) as db:
        return number_of(db, location) > 0
