"""Makes rows of the pieces that wait in the log of a store, whichever process left them there.

A piece is deleted in the transaction that writes its rows, so a crash at any point loses nothing
and keeps nothing twice.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from lmflow.errors import LmflowError
from lmflow.stores.damage import DAMAGE
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.bulk import select_in
from lmflow.stores.sqlite.versions import VersionReader
from lmflow.stores.sqlite.writing.bodies import Forms
from lmflow.stores.sqlite.writing.piece_reader import VersionOf, events_of
from lmflow.stores.sqlite.writing.rows import RowWriter
from lmflow.traces.events import Event
from lmflow.versions.version import Version

Reached = Callable[[str], None]
"""Is told each point that is reached, so that tests can end the process there."""

PIECES = 64
"""Pieces of other processes whose rows are made in one transaction."""

TIMEOUT = 5.0

_WAITING = "SELECT id FROM log WHERE problem = '' ORDER BY id LIMIT ?"
_STILL = "SELECT id FROM log WHERE problem = '' AND id IN ({keys})"
_BAD = (
    *(LmflowError, *DAMAGE),
    *(sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
)
"""Errors of a piece itself; the others, such as a full disk, may be over when it is tried again."""


@attrs.frozen
class Piece:
    """A piece that waits in the log. ``events`` are in memory if this process left it there, with
    the canonical forms of some of their values.
    """

    id: int
    events: Sequence[Event] | None = None
    forms: Forms = attrs.field(factory=dict, eq=False, repr=False)


def unnoticed(_: str) -> None:
    """Go on at each point."""


def settle_file(path: Path, reached: Reached = unnoticed) -> bool:
    """Make rows of all pieces in a store's log; say whether none waits any more.

    It is ``False`` if the store can't be written now: another process writes it for long, or the
    disk is full.
    """
    from lmflow.stores.sqlite.schema import prepare  # noqa: PLC0415 - its `damage` reads stores

    try:
        with contextlib.closing(
            sqlite3.connect(path, timeout=TIMEOUT, isolation_level=None, check_same_thread=False)
        ) as db:
            prepare(db, path)
            settle(db, str(path), reached)
    except sqlite3.OperationalError:
        return False
    return True


def settle(db: sqlite3.Connection, store: str, reached: Reached = unnoticed) -> None:
    """Make rows of all pieces in the log, through a connection that may write.

    Raises:
        sqlite3.Error: If the store can't be written now; nothing is lost.
    """
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA foreign_keys = ON")
    rows = RowWriter(db)
    while settle_some(db, store, rows, reached):
        pass


def settle_within(db: sqlite3.Connection, store: str) -> bool:
    """Make rows of all pieces in the log, in the caller's transaction; say whether any waited."""
    pieces = [Piece(row[0]) for row in db.execute(_WAITING, (-1,)).fetchall()]
    if pieces:
        write_rows(db, store, RowWriter(db), pieces, unnoticed)
    return bool(pieces)


def settle_some(db: sqlite3.Connection, store: str, rows: RowWriter, reached: Reached) -> bool:
    """Make rows of the oldest pieces in the log; say whether there were any."""
    pieces = [Piece(row[0]) for row in db.execute(_WAITING, (PIECES,)).fetchall()]
    if pieces:
        write_pieces(db, store, rows, pieces, reached)
    return bool(pieces)


def write_pieces(
    db: sqlite3.Connection,
    store: str,
    rows: RowWriter,
    pieces: Sequence[Piece],
    reached: Reached,
) -> None:
    """Make rows of pieces in one transaction; if that fails, one by one, so that only a bad one
    stays in the log, with its problem.

    Raises:
        sqlite3.Error: If the store can't be written now; what isn't rows yet stays in the log.
    """
    error = _written(db, store, rows, pieces, reached)
    if error is None:
        return
    for piece in pieces:
        if (problem := _written(db, store, rows, [piece], reached)) is not None:
            _mark(db, piece, problem)


def _written(
    db: sqlite3.Connection,
    store: str,
    rows: RowWriter,
    pieces: Sequence[Piece],
    reached: Reached,
) -> Exception | None:
    """Make rows of pieces that still wait, in one transaction; return the error of a bad one."""
    try:
        db.execute("BEGIN IMMEDIATE")
        write_rows(db, store, rows, pieces, reached)
        db.execute("COMMIT")
        reached("settled")
    except _BAD as error:
        _undo(db, rows)
        return error
    except BaseException:
        _undo(db, rows)
        raise
    return None


# The pieces are deleted first, so that the rows go to their pages and the file grows less.
def write_rows(
    db: sqlite3.Connection,
    store: str,
    rows: RowWriter,
    pieces: Sequence[Piece],
    reached: Reached,
) -> None:
    """Make rows of those pieces that still wait, in the caller's transaction."""
    ids = [piece.id for piece in pieces]
    waiting = {row[0] for row in select_in(db, _STILL, ids)}
    if len(waiting) < len(pieces):
        # Another process made rows of the others: what this writer remembers is out of date.
        rows.forget()
    version_of = _versions(db, store)
    events = [
        event for piece in pieces if piece.id in waiting for event in _events(db, piece, version_of)
    ]
    forms = {key: form for piece in pieces for key, form in piece.forms.items()}
    keys = [(piece.id,) for piece in pieces]
    db.executemany("DELETE FROM log WHERE id = ? AND problem = ''", keys)
    reached("deleted")
    rows.write(events, forms)
    reached("rows")


def _events(db: sqlite3.Connection, piece: Piece, version_of: VersionOf) -> Sequence[Event]:
    if piece.events is not None:
        return piece.events
    (data,) = db.execute("SELECT events FROM log WHERE id = ?", (piece.id,)).fetchone()
    return events_of(data, version_of)


def _versions(db: sqlite3.Connection, store: str) -> VersionOf:
    reader = VersionReader(db, store, BlobReader(db, store))

    @functools.cache
    def version_of(version_id: str) -> Version:
        return reader.at(reader.row_of(version_id))

    return version_of


def _undo(db: sqlite3.Connection, rows: RowWriter) -> None:
    rows.forget()
    if db.in_transaction:
        db.execute("ROLLBACK")


def _mark(db: sqlite3.Connection, piece: Piece, problem: Exception) -> None:
    """Keep a piece of which no rows can be made, and say why."""
    words = f"{type(problem).__name__}: {problem}"
    db.execute("UPDATE log SET problem = ? WHERE id = ?", (words, piece.id))
