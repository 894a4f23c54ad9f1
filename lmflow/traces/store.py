"""What a trace store does: it keeps events in order and reads runs, traces and versions back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol, runtime_checkable

import attrs

from lmflow.data.dataset import Dataset
from lmflow.messages.replies import Outcome
from lmflow.traces.events import Event, RefMoved, ScoreRecorded
from lmflow.traces.trace import Run, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version


@attrs.frozen
class Saved:
    """A version with the rows beside it: when it was kept (nanoseconds since the epoch), by whom,
    its refs, the mean score and the number of scores by name, and the parents that aren't kept.
    """

    version: Version
    at: int = 0
    author: str = ""
    refs: tuple[str, ...] = ()
    scores: Mapping[str, tuple[float, int]] = attrs.field(factory=dict)
    absent: tuple[str, ...] = ()


@attrs.frozen
class Wish:
    """What was executed: the program by its key, the digest of its parameters, its inputs, which
    sample.
    """

    program: str
    tree: str
    inputs: Record
    sample: int = 0


class Pointer(Protocol):
    """What a name points at, looked up anew each time."""

    def now(self) -> tuple[Version, Version]:
        """The version that the name stands for now, and the first that is kept of its line.
        ``UnknownVersion``.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


@runtime_checkable
class Pointing(Protocol):
    """A store that can be asked again and again what a name points at, at the price of a look."""

    def pointer(self, name: str) -> Pointer:
        """The pointer of a ref, an id or ``REF~N``. It belongs to the thread that first asks it."""
        ...


class Recorder(Protocol):
    """What an executor needs of a store."""

    def append(self, *events: Event) -> Future[None]:
        """Keep events, in order. The future is done when they are durable (``StoreError`` where
        they can't be kept).
        """
        ...

    def version(self, name: str) -> Version:
        """The version that a ref, an id or a short id names, or ``REF~N``, its N-th first parent.
        ``UnknownVersion`` otherwise.
        """
        ...

    def first(self, name: str) -> Version:
        """The first version that is kept of the line of ``name``, by first parents."""
        ...

    def recorded(self, wishes: Sequence[Wish]) -> Sequence[Trace | None]:
        """For each the newest trace of just that, ``None`` where there is none. It may be one that
        never ended.
        """
        ...


@runtime_checkable
class DataKeeper(Protocol):
    """What some stores do beside: keep data sets."""

    def keep_dataset(self, data: Dataset) -> str:
        """Keep a data set by its content alone; its digest."""
        ...


class Store(Recorder, Protocol):
    """Where recordings live. Ids may be given short where they are unambiguous (``NotFound``
    otherwise).
    """

    @property
    def name(self) -> str:
        """How the store is called in messages."""
        ...

    def runs(self, limit: int = 20, before: str = "") -> Sequence[Run]:
        """The latest runs without their traces, newest first; ``before`` a run's id continues a
        listing.
        """
        ...

    def run(self, run: str) -> Run:
        """A run with all its traces."""
        ...

    def trace(self, trace: str) -> Trace:
        """A trace with all its calls."""
        ...

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """The newest reply that was recorded for a key, with the id of its trace; ``None`` where
        there is none.

        Failures are no replies, nor is what was started and never ended.
        """
        ...

    def refs(self) -> Mapping[str, str]:
        """The refs: name -> version id."""
        ...

    def reflog(self, name: str = "", limit: int = 50) -> Sequence[RefMoved]:
        """The latest moves of a ref, or of all, newest first, each with where it pointed before."""
        ...

    def saved(self, name: str) -> Saved:
        """The version with when and by whom it was kept."""
        ...

    def scores(self, trace: str) -> Sequence[ScoreRecorded]:
        """The scores of a trace, in the order in which they were given."""
        ...

    def close(self) -> None:
        """Write what is queued and let go of the store."""
        ...
