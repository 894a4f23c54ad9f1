"""The log of a store as its writer keeps it: one row a commit, made into rows of their own later.

Writing the rows of a call takes several times as long as writing one value that holds it all, and
the rows of many calls at once take less than those of each alone. So the answer to a call waits
only for the log. What waits in the log is also in memory, and is bounded.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Sequence

import attrs

from lmflow.errors import LmflowError
from lmflow.stores.sqlite.blobs.format import digest_bytes
from lmflow.stores.sqlite.generation import generation_of, is_sweeping
from lmflow.stores.sqlite.writing.pieces import NotAPiece, written_piece
from lmflow.stores.sqlite.writing.rows import RowWriter
from lmflow.stores.sqlite.writing.settling import Piece, Reached, settle_some, write_pieces
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    RaceWon,
    RunClosed,
    RunOpened,
    RunPlanned,
    ScoreRecorded,
    TraceClosed,
    TraceOpened,
    TraceReused,
)
from lmflow.traces.trace import PlannedExecution

MOST_EVENTS = 8000
"""Events that wait at most; rows are made before more are taken."""

MOST_BYTES = 32_000_000
"""Bytes of pieces that wait at most."""

STEP = 1000
"""Events whose rows are made in one transaction, so that no commit waits for long."""

_REMEMBERED = 10_000

_TAKEN = {
    "run_item": "SELECT 1 FROM run_item WHERE run = ? AND position = ?",
    "wanted": "SELECT 1 FROM wanted WHERE run = ? AND position = ?",
}

_Place = tuple[str, str, int]
"""A table, a run and a position in it."""


@attrs.frozen
class _Kept:
    """A piece that waits, with its size and what it alone says is there."""

    piece: Piece
    size: int
    places: list[_Place]


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
        self._generation = -1
        self._opened: set[str] = set()
        self._forget()

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
            data = written_piece(events)
        except (NotAPiece, LmflowError, TypeError, ValueError, OverflowError):
            return False  # writing the rows raises what is wrong with a value
        try:
            self._db.execute("BEGIN IMMEDIATE")
            places = self._places(events)
            if places is None:
                self._db.execute("ROLLBACK")
                return False
            made = self._db.execute("INSERT INTO log (events) VALUES (?)", (data,))
            self._reached("appended")
            self._db.execute("COMMIT")
        except BaseException:
            self._forget()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._reached("committed")
        self._kept.append(_Kept(Piece(int(made.lastrowid or 0), events), len(data), places))
        self._count += len(events)
        self._bytes += len(data)
        return True

    def written(self, events: Sequence[Event]) -> None:
        """Note which runs are this process's own, after events were written as rows at once."""
        for event in events:
            if type(event) is RunOpened:
                self._opened.add(event.run.id)
            elif type(event) is RunClosed:
                self._opened.discard(event.id)

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
            self._settled(kept)
        self._count -= count

    def settle(self) -> None:
        """Make rows of all pieces, of other processes too. Raises ``sqlite3.Error``."""
        while self._kept:
            self.settle_step()
        while settle_some(self._db, self._store, self._rows, self._reached):
            pass
        self._forget()

    def _settled(self, kept: _Kept) -> None:
        self._pending.difference_update(kept.places)
        for event in kept.piece.events or ():
            if type(event) is TraceClosed:
                self._traces.discard(event.trace.id)
            elif type(event) is RunClosed:
                self._runs.discard(event.id)
                self._opened.discard(event.id)

    def _forget(self) -> None:
        self._runs: set[str] = set()
        self._traces: set[str] = set()
        self._versions: set[str] = set()
        self._pending: set[_Place] = {place for kept in self._kept for place in kept.places}
        for kept in self._kept:
            for event in kept.piece.events or ():
                if type(event) is TraceOpened:
                    self._traces.add(event.trace.id)
                elif type(event) is RunOpened:
                    self._runs.add(event.run.id)

    # Errors of events must fail for whoever handed them in, and rows are made too late for that. So
    # a piece is kept only if all that its rows will refer to is there, and nothing is there twice.
    def _places(self, events: Sequence[Event]) -> list[_Place] | None:
        """Return the places that events take, ``None`` if they can't be kept as a piece."""
        generation = generation_of(self._db)
        if is_sweeping(generation):
            return None
        if generation != self._generation or len(self._versions) > _REMEMBERED:
            self._generation = generation
            self._forget()
        places: list[_Place] = []
        if all(self._fits(event, places) for event in events):
            return places
        self._forget()
        return None

    def _fits(  # noqa: PLR0911 - one return a kind
        self, event: Event, places: list[_Place]
    ) -> bool:
        match event:
            case CallStarted(trace) | CallEnded(trace) | RaceWon(trace) | ScoreRecorded(trace):
                return self._has_trace(trace)
            case TraceClosed(trace):
                return self._has_trace(trace.id)
            case TraceOpened(run, _, position, trace):
                return (
                    self._has_version(trace.version.id)
                    and self._takes("run_item", run, position, places)
                    and self._is_new_trace(trace.id)
                )
            case TraceReused(run, _, position, trace):
                return self._has_trace(trace) and self._takes("run_item", run, position, places)
            case RunOpened(run, versions):
                return (
                    all(self._has_version(version.id) for version in versions)
                    and self._is_new_run(run.id)
                    and self._plans(run.id, 0, run.wanted, places)
                )
            case RunPlanned(run, position, executions):
                return self._plans(run, position, executions, places)
            case RunClosed(run):
                return self._has_run(run)
        return False

    def _plans(
        self, run: str, first: int, planned: Sequence[PlannedExecution], places: list[_Place]
    ) -> bool:
        return all(
            self._has_version(execution.version) and self._takes("wanted", run, position, places)
            for position, execution in enumerate(planned, first)
        )

    def _takes(self, table: str, run: str, position: int, places: list[_Place]) -> bool:
        """Take a place of a run; ``False`` if another process opened it, or the place is taken.

        A place that a piece of another process takes can't be seen. So only who opened a run keeps
        pieces with its places, and a process that resumes the run writes rows.
        """
        place = table, run, position
        if (
            run not in self._opened
            or place in self._pending
            or self._has(_TAKEN[table], run, position)
        ):
            return False
        self._pending.add(place)
        places.append(place)
        return True

    def _is_new_run(self, run: str) -> bool:
        if self._has_run(run):
            return False
        self._runs.add(run)
        self._opened.add(run)
        return True

    def _is_new_trace(self, trace: str) -> bool:
        if self._has_trace(trace):
            return False
        self._traces.add(trace)
        return True

    def _has_run(self, run: str) -> bool:
        if run in self._runs:
            return True
        return self._noted(self._runs, run, self._has("SELECT 1 FROM run WHERE id = ?", run))

    def _has_trace(self, trace: str) -> bool:
        return trace in self._traces or self._has("SELECT 1 FROM trace WHERE uid = ?", trace)

    def _has_version(self, version: str) -> bool:
        if version in self._versions:
            return True
        query = "SELECT 1 FROM version WHERE hash = ?"
        return self._noted(self._versions, version, self._has(query, digest_bytes(version)))

    def _noted(self, names: set[str], name: str, is_there: bool) -> bool:  # noqa: FBT001
        if is_there:
            names.add(name)
        return is_there

    def _has(self, query: str, *values: str | int | bytes) -> bool:
        return self._db.execute(query, values).fetchone() is not None
