"""The schema version of a SQLite trace store, and the checks before a file is touched."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from lmflow.errors import NewerSchema, NotAStore, StoreError
from lmflow.stores.damage import damaged

APPLICATION = 0x6C6D666C
"""The ``application_id`` of a trace store, "lmfl"."""

VERSION = 15
"""The ``user_version`` that this lmflow writes."""

READABLE = 7
"""The oldest ``user_version`` that is read as it is; older files are brought up to date first."""

MAGIC = b"SQLite format 3\0"


def check_file(path: Path) -> bool:
    """Say whether a file has a store; nothing is written and no lock is taken.

    Returns:
        ``False`` if there is no file or an empty one.

    Raises:
        NotAStore: If the file is something else, or can't be read.
        NewerSchema: If a newer lmflow wrote it.
        Tampered: If its schema is damaged.
    """
    try:
        if not path.stat().st_size:
            return False
    except FileNotFoundError:
        return False
    except OSError as error:
        fix = "Name a file that you may read."
        raise NotAStore(str(path), f"it can't be read ({error.strerror})", fix) from None
    try:
        version, application = _header(path)
    except sqlite3.DatabaseError:
        _refuse_other(path)
        return True  # it is damaged: opening it raises an error that says how
    _check_ours(path, application, version)
    return True


def _header(path: Path) -> tuple[int, int]:
    """Return the schema version and the application in the file's header.

    SQLite reads the header, not ``open``: if a process closes any file handle on a database, POSIX
    drops all locks that the process holds on it, those of other connections too.
    """
    db = sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)
    try:
        version, application = (
            int(db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("user_version", "application_id")
        )
        return version, application
    finally:
        db.close()


def _refuse_other(path: Path) -> None:
    """Raise ``NotAStore`` if the file is not a database.

    Opening it is safe here: no connection can hold a lock on a file that isn't a database.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        fix = "Name a file that you may read."
        raise NotAStore(str(path), f"it can't be read ({error.strerror})", fix) from None
    if not MAGIC.startswith(head):
        problem = f"it isn't an SQLite database (it begins with {head!r})"
        raise NotAStore(str(path), problem, "Name another file; this one is untouched.")


def _check_ours(path: Path, application: int, version: int) -> None:
    """Raise if a database isn't a store, or a newer one."""
    if application != APPLICATION:
        fix = "Name another file; this one is untouched."
        raise NotAStore(str(path), "it is a database that lmflow didn't make", fix)
    if version > VERSION:
        problem = f"its schema is {version}, this lmflow reads up to {VERSION}"
        fix = "Upgrade: pip install -U lmflow-dsl. The file is untouched."
        raise NewerSchema(str(path), problem, fix)


def schema_of(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of a store, 0 if it was never finished.

    Raises:
        NotAStore: If the database is something else.
        NewerSchema: If a newer lmflow wrote it.
        Tampered: If its schema is damaged.
    """
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except UnicodeDecodeError as error:  # SQLite's own message quotes the damaged schema
        raise damaged(str(path), "the schema", error) from error
    if application or tables:
        _check_ours(path, application, version)
    return int(version)


def check_readable(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ``StoreError`` if a store must be brought up to date before it is read."""
    version = schema_of(connection, path)
    if version >= READABLE:
        return
    problem = "it was never finished"
    if version:
        problem = f"its schema is {version}, this lmflow reads {READABLE} to {VERSION}"
    raise StoreError(str(path), problem, "Open it once for writing, lf.SqliteStore(path).")


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a database to the current schema; several processes may do so at once."""
    for attempts_left in range(20, -1, -1):
        try:
            if schema_of(connection, path) == VERSION:
                return
            # First, so that the id is in the file itself: in WAL mode it would be in the WAL, and
            # `check_file` of another process would take the file for somebody else's.
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute("PRAGMA journal_mode = WAL")
            if _is_empty(connection):
                _create(connection)
                continue  # another process may have been first: look what is there now
            _migrate(connection)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        # Another process may have applied a migration meanwhile: then it is on record already
        # (IntegrityError), or its tables are there (OperationalError).
        except (sqlite3.OperationalError, sqlite3.IntegrityError) as error:
            if connection.in_transaction:
                connection.rollback()
            if not attempts_left:
                problem, fix = f"it can't be set up ({error})", "Is its folder writable?"
                raise StoreError(str(path), problem, fix) from error
            time.sleep(0.05)


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None


def _create(connection: sqlite3.Connection) -> None:
    """Make the schema of a new store in one transaction, without sqlite-utils.

    Importing sqlite-utils takes half a second of CPU if pandas is installed, which it imports.
    """
    from lmflow.stores.sqlite.schema_changes import apply_all  # noqa: PLC0415 - only needed once

    connection.execute("BEGIN IMMEDIATE")
    if _is_empty(connection):
        apply_all(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.commit()


def _migrate(connection: sqlite3.Connection) -> None:
    from sqlite_utils import Database  # noqa: PLC0415 - slow, and only needed once

    from lmflow.stores.sqlite.migrations import migrations  # noqa: PLC0415 - see above

    migrations.apply(Database(connection))
