"""The schema of a SQLite trace store: which one a file has, and the checks before it is touched."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from lmflow.errors import NewerSchema, NotAStore, StoreError

APPLICATION = 0x6C6D666C
VERSION = 7
MAGIC = b"SQLite format 3\0"


def check_file(path: Path) -> bool:
    """Whether there is a store; ``False`` for no file or an empty one. Nothing is written, nor any
    lock taken.

    ``NotAStore`` where the file is something else, ``NewerSchema`` where a newer lmflow made it.
    """
    try:
        if not path.stat().st_size:
            return False
    except FileNotFoundError:
        return False
    except OSError as error:
        raise NotAStore(
            str(path), f"it can't be read ({error.strerror})", "Name a file that you may read."
        ) from None
    try:
        version, application = _header(path)
    except sqlite3.DatabaseError:
        _refuse_other(path)
        return True  # it is damaged: who opens it says how
    _ours(path, application, version)
    return True


def _header(path: Path) -> tuple[int, int]:
    """The version and the application in the file's header. SQLite reads it and not we: when a
    process closes any file handle of its own on a database, POSIX drops the locks that its
    connections hold there.
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
    """``NotAStore`` where the file is no database, which is why no connection can hold a lock that
    opening it drops.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise NotAStore(
            str(path), f"it can't be read ({error.strerror})", "Name a file that you may read."
        ) from None
    if not MAGIC.startswith(head):
        found = f"it is no SQLite database (it begins with {head!r})"
        raise NotAStore(str(path), found, "Name another file; this one is untouched.")


def _ours(path: Path, application: int, version: int) -> bool:
    if application != APPLICATION:
        raise NotAStore(
            str(path),
            "it is a database that lmflow didn't make",
            "Name another file; this one is untouched.",
        )
    if version > VERSION:
        problem = f"its schema is {version}, this lmflow reads up to {VERSION}"
        raise NewerSchema(
            str(path), problem, "Upgrade: pip install -U lmflow-dsl. The file is untouched."
        )
    return version == VERSION


def made(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the database is a store of this schema, as SQLite sees it now."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return _ours(path, application, version) if application or tables else False


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a database to this schema. Safe when several processes do it at once."""
    for left in range(20, -1, -1):
        try:
            if made(connection, path):
                return
            connection.execute(
                f"PRAGMA application_id = {APPLICATION}"
            )  # in the file itself, before WAL and tables
            connection.execute("PRAGMA journal_mode = WAL")
            _migrate(connection)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.OperationalError as error:
            if connection.in_transaction:
                connection.rollback()
            if not left:
                raise StoreError(
                    str(path), f"it can't be set up ({error})", "Is its folder writable?"
                ) from error
            time.sleep(0.05)


def _migrate(connection: sqlite3.Connection) -> None:
    from sqlite_utils import Database  # noqa: PLC0415 - importing it is slow, and a store that is there never needs it

    from lmflow.stores.sqlite.migrations import migrations  # noqa: PLC0415 - see above

    migrations.apply(Database(connection))
