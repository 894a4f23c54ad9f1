"""The migrations of a SQLite trace store: its schema's changes as sqlite-utils applies them."""

from __future__ import annotations

from collections.abc import Callable

import sqlite_utils
from sqlite_utils import Migrations

from lmflow.stores.sqlite.schema_changes import CHANGES, MIGRATIONS, Change


def _migrating(change: Change) -> Callable[[sqlite_utils.Database], None]:
    return lambda db: change.apply(db.conn)


def _migrations() -> Migrations:
    migrations = Migrations(MIGRATIONS)
    for change in CHANGES:
        migrations(name=change.name)(_migrating(change))
    return migrations


migrations = _migrations()
"""The changes that a store hasn't on record, which ``migrations.apply`` makes one by one."""
