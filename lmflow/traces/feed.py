"""What a store gives to an exporter: what ended since a cursor, as values."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import attrs

from lmflow.traces.events import ScoreRecorded
from lmflow.traces.trace import Run, Trace


@attrs.frozen
class EndedExecution:
    """An execution that ended, where it stands in its run, and the refs of its version."""

    run: Run
    label: str
    trace: Trace
    reused: bool = False
    refs: tuple[str, ...] = ()


@attrs.frozen
class EndedRun:
    """A run that ended, without its executions; ``root`` is empty if the store has none."""

    run: Run
    root: str


@attrs.frozen
class PlacedScore:
    """A score, and where the execution stands that it is of: run, kind of run, label. ``id`` is the
    score's number.
    """

    id: int
    run: str
    kind: str
    label: str
    score: ScoreRecorded


@attrs.frozen
class Cursor:
    """How far a store was exported; ``Cursor()`` is its beginning.

    Args:
        item: The number of the last execution that was looked at.
        at: The run and the position of that execution, which tell if numbers were given anew.
        open: The numbers of executions that had not ended by then.
        runs: The runs that had not ended by then.
        score: The number of the last score.
    """

    item: int = 0
    at: tuple[str, int] = ("", 0)
    open: tuple[int, ...] = ()
    runs: tuple[str, ...] = ()
    score: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the cursor as JSON values."""
        return attrs.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cursor:
        """Make the cursor from the JSON values of ``to_json``."""
        run, position = data["at"]
        return cls(
            int(data["item"]),
            (str(run), int(position)),
            tuple(map(int, data["open"])),
            tuple(map(str, data["runs"])),
            int(data["score"]),
        )


@attrs.frozen
class Look:
    """What ended since a cursor, and the cursor after it; ``more`` if there is more to look at."""

    executions: tuple[EndedExecution, ...]
    runs: tuple[EndedRun, ...]
    scores: tuple[PlacedScore, ...]
    cursor: Cursor
    more: bool = False

    @property
    def is_empty(self) -> bool:
        """``True`` if nothing ended."""
        return not (self.executions or self.runs or self.scores)


class Feed(Protocol):
    """What ended in a store, through one connection, which only one thread may use."""

    @property
    def store(self) -> str:
        """The unique id of the store, which stays the same when its file is moved."""
        ...

    def cursor(self, name: str) -> Cursor:
        """Return the cursor of a name; the beginning if there is none."""
        ...

    def move(self, name: str, cursor: Cursor) -> None:
        """Store the cursor of a name, durably."""
        ...

    def look(self, cursor: Cursor, limit: int) -> Look:
        """Return what ended since a cursor, at most ``limit`` executions and scores."""
        ...


@runtime_checkable
class FeedStore(Protocol):
    """A store that can be exported as it grows."""

    def feed(self) -> AbstractContextManager[Feed]:
        """Open a feed of what ended."""
        ...
