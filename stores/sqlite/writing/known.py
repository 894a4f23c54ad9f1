"""Tells whether rows can be made of events later, mostly without asking the store.

Errors of events must fail for whoever hands them in, and rows are made too late for that. So events
are kept as a piece of the log only if all that their rows will refer to is there, and nothing of
them is there twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from lmflow.stores.sqlite.blobs.format import digest_bytes
from lmflow.stores.sqlite.generation import generation_of, is_sweeping
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

REMEMBERED = 10_000
"""Ids, and places of a run beyond the first gap, that are remembered."""

_ITEM, _PLAN = "run_item", "wanted"
_TAKEN = {
    _ITEM: "SELECT 1 FROM run_item WHERE run = ? AND position = ?",
    _PLAN: "SELECT 1 FROM wanted WHERE run = ? AND position = ?",
}

Place = tuple[str, str, int]
"""A table, a run and a position in it."""


class Known:
    """What a store has, as the one connection that writes has seen it.

    SQLite tells whether another connection has committed since; if none has, what is remembered is
    all there is.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._generation = -1
        self._opened: set[str] = set()
        self._runs = _Ids(db, "run", "id")
        self._traces = _Ids(db, "trace", "uid")
        self.forget(())

    def forget(self, waiting: Iterable[Event]) -> None:
        """Drop what is remembered, apart from what waits in the log."""
        self._commits = -1
        self._versions: set[str] = set()
        self._free: dict[tuple[str, str], _Free] = {}
        self._pending: set[Place] = set()
        self._runs.forget()
        self._traces.forget()
        for event in waiting:
            self._note(event)

    def look_again(self) -> None:
        """Let the next look at the store find what others may have added."""
        self._commits = -1

    def is_usable(self, waiting: Iterable[Event]) -> bool:
        """Look for commits of others, in a transaction; ``False`` if garbage is being swept."""
        (commits,) = self._db.execute("PRAGMA data_version").fetchone()
        if commits != self._commits:
            generation = generation_of(self._db)
            if generation != self._generation or len(self._versions) > REMEMBERED:
                self._generation = generation
                self.forget(waiting)
            self._commits = commits
            self._free.clear()
            self._runs.look()
            self._traces.look()
        return not is_sweeping(self._generation)

    def fits(self, events: Iterable[Event]) -> bool:
        """Tell whether rows can be made of events, and remember them as there; call ``forget`` if
        they don't fit, or aren't committed.
        """
        return all(self._fits(event) for event in events)

    def written(self, events: Iterable[Event]) -> None:
        """Note events of which rows were made at once, and which runs are this process's own."""
        for event in events:
            if type(event) is RunOpened:
                self._open(event.run.id)
            self._note(event)
        self.settled(events)

    def settled(self, events: Iterable[Event]) -> None:
        """Let go of what is over, once there are rows of events."""
        for event in events:
            self._pending.difference_update(_places(event))
            if type(event) is TraceClosed:
                self._traces.close(event.trace.id)
            elif type(event) is RunClosed:
                self._runs.close(event.id)
                self._opened.discard(event.id)
                self._free.pop((_ITEM, event.id), None)
                self._free.pop((_PLAN, event.id), None)

    def _note(self, event: Event) -> None:
        match event:
            case TraceOpened(_, _, _, trace):
                self._traces.add(trace.id)
            case RunOpened(run):
                self._runs.add(run.id)
        for place in _places(event):
            self._pending.add(place)
            if (free := self._free.get(place[:2])) is not None:
                free.take(place[2])

    def _fits(  # noqa: PLR0911 - one return a kind
        self, event: Event
    ) -> bool:
        match event:
            case CallStarted(trace) | CallEnded(trace) | RaceWon(trace) | ScoreRecorded(trace):
                return self._traces.has(trace)
            case TraceClosed(trace):
                return self._traces.has(trace.id)
            case TraceOpened(_, _, _, trace):
                return (
                    self._has_version(trace.version.id)
                    and self._takes_places(event)
                    and self._traces.is_new(trace.id)
                )
            case TraceReused(_, _, _, trace):
                return self._traces.has(trace) and self._takes_places(event)
            case RunOpened(run, versions):
                return (
                    all(self._has_version(version.id) for version in versions)
                    and self._opens(run.id)
                    and all(self._has_version(plan.version) for plan in run.wanted)
                    and self._takes_places(event)
                )
            case RunPlanned(_, _, executions):
                return all(
                    self._has_version(plan.version) for plan in executions
                ) and self._takes_places(event)
            case RunClosed(run):
                return self._runs.has(run)
        return False

    def _opens(self, run: str) -> bool:
        is_new = self._runs.is_new(run)
        if is_new:
            self._open(run)
        return is_new

    def _open(self, run: str) -> None:
        self._opened.add(run)
        self._free[_ITEM, run], self._free[_PLAN, run] = _Free(), _Free()

    def _takes_places(self, event: Event) -> bool:
        return all(self._takes(place) for place in _places(event))

    # A place that a piece of another process takes can't be seen. So only who opened a run keeps
    # pieces with its places, and a process that resumes the run writes rows.
    def _takes(self, place: Place) -> bool:
        """Take a place of a run; ``False`` if another process opened it, or the place is taken."""
        table, run, position = place
        free = self._free.get((table, run))
        if free is not None:
            if not free.take(position):
                return False
            if len(free.beyond) > REMEMBERED:
                del self._free[table, run]
        elif (
            run not in self._opened
            or place in self._pending
            or self._db.execute(_TAKEN[table], (run, position)).fetchone() is not None
        ):
            return False
        self._pending.add(place)
        return True

    def _has_version(self, version: str) -> bool:
        if version in self._versions:
            return True
        query = "SELECT 1 FROM version WHERE hash = ?"
        if self._db.execute(query, (digest_bytes(version),)).fetchone() is None:
            return False
        self._versions.add(version)
        return True


def _places(event: Event) -> Iterator[Place]:
    """Yield the places of a run that an event takes."""
    match event:
        case TraceOpened(run, _, position) | TraceReused(run, _, position):
            yield _ITEM, run, position
        case RunPlanned(run, first, executions):
            for position in range(first, first + len(executions)):
                yield _PLAN, run, position
        case RunOpened(run):
            for position in range(len(run.wanted)):
                yield _PLAN, run.id, position


class _Ids:
    """The ids in a column of a table.

    Ids grow with the time, so nearly every new one is greater than all that the table has; only
    the others have to be looked up.
    """

    def __init__(self, db: sqlite3.Connection, table: str, column: str) -> None:
        self._db = db
        self._greatest_of = f"SELECT max({column}) FROM {table}"  # noqa: S608 - of this module
        self._one = f"SELECT 1 FROM {table} WHERE {column} = ?"  # noqa: S608 - of this module
        self.forget()

    def forget(self) -> None:
        """Drop what is remembered."""
        self._greatest = ""
        self._open: set[str] = set()
        self._latest: set[str] = set()

    def look(self) -> None:
        """Look up the greatest id."""
        (greatest,) = self._db.execute(self._greatest_of).fetchone()
        self._greatest = max(greatest or "", self._greatest)

    def add(self, name: str) -> None:
        """Note a new id."""
        self._open.add(name)
        self._latest.add(name)
        if len(self._latest) > REMEMBERED:
            self._greatest, self._latest = max(*self._latest, self._greatest), set()

    def close(self, name: str) -> None:
        """Note that little will be said of an id any more."""
        self._open.discard(name)

    def is_new(self, name: str) -> bool:
        """Tell whether an id is new, and note it then."""
        is_new = not self.has(name)
        if is_new:
            self.add(name)
        return is_new

    def has(self, name: str) -> bool:
        """Tell whether there is an id."""
        if name in self._open or name in self._latest:
            return True
        if name > self._greatest:
            return False
        return self._db.execute(self._one, (name,)).fetchone() is not None


class _Free:
    """The positions of a run that are free: those from ``first`` on that aren't in ``beyond``."""

    __slots__ = ("beyond", "first")

    def __init__(self) -> None:
        self.first = 0
        self.beyond: set[int] = set()

    def take(self, position: int) -> bool:
        """Take a position; ``False`` if it is taken."""
        if position < self.first or position in self.beyond:
            return False
        self.beyond.add(position)
        while self.first in self.beyond:
            self.beyond.discard(self.first)
            self.first += 1
        return True
