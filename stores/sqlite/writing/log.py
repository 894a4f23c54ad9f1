"""The log of a store as its writer keeps it: one row a commit, made into rows of their own later.

Writing the rows of a call takes several times as long as writing one value that holds it all, and
the rows of many calls at once take less than those of each alone. So the answer to a call waits
only for the log. What waits in the log is also in memory, and is bounded.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence

import attrs

from lmflow.errors import LmflowError
from lmflow.stores.sqlite.writing.bodies import Forms
from lmflow.stores.sqlite.writing.known import Known
from lmflow.stores.sqlite.writing.pieces import NotAPiece, written_piece_with_forms
from lmflow.stores.sqlite.writing.rows import RowWriter
from lmflow.stores.sqlite.writing.settling import Piece, Reached, settle_some, write_pieces
from lmflow.traces.events import Event

MOST_EVENTS = 8000
"""Events that wait at most; rows are made before more are taken."""

MOST_BYTES = 8_000_000
"""Bytes of pieces that wait at most; the file has that many free for rows afterwards."""

STEP = 1000
"""Events whose rows are made in one transaction, so that no commit waits for long."""


@attrs.frozen
class _Kept:
    """A piece that waits, with its size."""

    piece: Piece
    size: int


class Log:
    """Keeps events as pieces, through the one connection that writes."""

    def __init__(
        self, db: sqlite3.Connection, store: str, rows: RowWriter, reached: Reached
    ) -> None:
        self._db = db
        self._store = store
        self._rows = rows
        self._reached = reached
        self._kept: deque[_Kept] = deque()
        self._count = 0
        self._bytes = 0
        self._known = Known(db)

    @property
    def waits(self) -> bool:
        """Whether a piece of this process waits."""
        return bool(self._kept)

    @property
    def is_full(self) -> bool:
        """Whether rows must be made before more is kept."""
        return self._count > MOST_EVENTS or self._bytes > MOST_BYTES

    def keep(self, events: Sequence[Event]) -> bool:
        """Commit events as one piece.

        Returns:
            ``False`` if they must be written as rows at once: they name what isn't stored, their
            errors must reach who handed them in, or garbage is being swept.

        Raises:
            sqlite3.Error: If the store can't be written.
        """
        try:
            data, forms = written_piece_with_forms(events)
        except (NotAPiece, LmflowError, TypeError, ValueError, OverflowError):
            return False  # writing the rows raises what is wrong with a value
        made: sqlite3.Cursor | None = None
        try:
            self._db.execute("BEGIN IMMEDIATE")
            if not (self._known.is_usable(self._waiting_events()) and self._known.fits(events)):
                self._db.execute("ROLLBACK")
                self._forget()
                return False
            made = self._db.execute("INSERT INTO log (events) VALUES (?)", (data,))
            self._reached("appended")
            self._db.execute("COMMIT")
            self._reached("committed")
        except BaseException as error:
            # Ctrl-C may come after the COMMIT, too: the piece is in the file then, and waits.
            if made is None or self._db.in_transaction or isinstance(error, sqlite3.Error):
                self._forget()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            else:
                self._note(made, events, forms, len(data))
            raise
        self._note(made, events, forms, len(data))
        return True

    def ends_with(self, events: Sequence[Event]) -> bool:
        """Tell whether the newest piece that waits has these very events."""
        return bool(self._kept) and self._kept[-1].piece.events is events

    def _note(self, made: sqlite3.Cursor, events: Sequence[Event], forms: Forms, size: int) -> None:
        self._kept.append(_Kept(Piece(int(made.lastrowid or 0), events, forms), size))
        self._count += len(events)
        self._bytes += size

    def written(self, events: Sequence[Event]) -> None:
        """Note events that were written as rows at once."""
        self._known.written(events)

    def look_again(self) -> None:
        """Note that rows were made of pieces of other processes."""
        self._known.look_again()

    def settle_step(self) -> None:
        """Make rows of the oldest pieces of this process, in one transaction.

        Raises:
            sqlite3.Error: If the store can't be written now; nothing is lost.
        """
        taken: list[_Kept] = []
        count = 0
        for kept in self._kept:
            taken.append(kept)
            count += len(kept.piece.events or ())
            if count >= STEP:
                break
        pieces = [kept.piece for kept in taken]
        write_pieces(self._db, self._store, self._rows, pieces, self._reached)
        for kept in taken:
            self._kept.popleft()
            self._bytes -= kept.size
            self._known.settled(kept.piece.events or ())
        self._count -= count

    def settle(self) -> None:
        """Make rows of all pieces, of other processes too. Raises ``sqlite3.Error``."""
        while self._kept:
            self.settle_step()
        while settle_some(self._db, self._store, self._rows, self._reached):
            self.look_again()

    def _forget(self) -> None:
        self._known.forget(self._waiting_events())

    def _waiting_events(self) -> Iterator[Event]:
        return (event for kept in self._kept for event in kept.piece.events or ())
