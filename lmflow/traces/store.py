"""The protocol of trace stores: events are appended, runs, traces and versions are read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol, runtime_checkable

import attrs

from lmflow.data.dataset import Dataset
from lmflow.errors import short
from lmflow.messages.replies import Outcome
from lmflow.traces.events import Event, RefMoved, ScoreRecorded
from lmflow.traces.trace import PlannedExecution, Run, Trace
from lmflow.values.hashed_files import HashedFiles
from lmflow.values.printing import printable
from lmflow.values.record import Record
from lmflow.versions.version import Version
from lmflow.versions.version_text import parameter_table
from lmflow.views.lines import LINE_WIDTH, when
from lmflow.views.page import page_html, page_markdown


@attrs.frozen(repr=False)
class StoredVersion:
    """A version and what a store knows about it.

    Args:
        version: The version.
        at: The time when it was stored, in nanoseconds since the epoch.
        author: The author who stored it.
        refs: The refs that point at it.
        scores: The mean and the number of the scores of its traces, by the name of the score.
        absent: The ids of its parents that the store does not have.
    """

    version: Version
    at: int = 0
    author: str = ""
    refs: tuple[str, ...] = ()
    scores: Mapping[str, tuple[float, int]] = attrs.field(factory=dict)
    absent: tuple[str, ...] = ()

    def __str__(self) -> str:
        kept = " by ".join(part for part in (when(self.at), printable(self.author)) if part)
        scores = ", ".join(self._means)
        return self.version.text(refs=self._refs, kept=kept, scores=scores)

    def __repr__(self) -> str:
        refs = f" {self._refs}" if self.refs else ""
        return f"<StoredVersion {short(self.version.id)}{refs}: {printable(self.version.note)}>"

    def _repr_html_(self) -> str:
        return page_html(self.log_text.split("\n"), parameter_table(self.version.params))

    def _repr_markdown_(self) -> str:
        return page_markdown(self.log_text.split("\n"), parameter_table(self.version.params))

    @property
    def log_text(self) -> str:
        """Two lines: id, refs, note; then time, author, scores, parents that are missing."""
        version = self.version
        refs = f"  ({self._refs})" if self.refs else ""
        note = printable(version.note, LINE_WIDTH) or "no note"
        facts = [when(self.at), printable(self.author), *self._means]
        if len(version.parents) > 1:
            facts.append(f"merges {' and '.join(map(short, version.parents))}")
        facts += [
            f"parent {printable(short(parent))} is not in this store" for parent in self.absent
        ]
        known = " · ".join(fact for fact in facts if fact)
        return f"{short(version.id)}{refs}  {note}\n   {known}"

    @property
    def _refs(self) -> str:
        return ", ".join(map(printable, self.refs))

    @property
    def _means(self) -> list[str]:
        return [
            f"{printable(name)} {mean:.3g} (n={n})"
            for name, (mean, n) in sorted(self.scores.items())
        ]


@attrs.frozen
class ExecutionQuery:
    """The execution to look up: a program's key, a digest of parameters, inputs and a sample."""

    program: str
    tree: str
    inputs: Record
    sample: int = 0


class Pointer(Protocol):
    """Resolves one name again and again."""

    def now(self) -> tuple[Version, Version]:
        """Return the version that the name resolves to now, and the oldest stored ancestor of it.

        Raises:
            UnknownVersion: If the name resolves to nothing.
        """
        ...

    def close(self) -> None:
        """Release the connection."""
        ...


@runtime_checkable
class PointerStore(Protocol):
    """A store that resolves the same name again and again at the cost of one query."""

    def pointer(self, name: str) -> Pointer:
        """Return the pointer of a ref, an id or ``REF~N``; only one thread may use it."""
        ...


class Recorder(Protocol):
    """The part of a store that an executor needs."""

    def append(self, *events: Event) -> Future[None]:
        """Store events in order, all of them or none.

        Returns:
            A future that is done once the events are durable; it raises ``StoreError`` if the store
            can't write them.
        """
        ...

    def version(self, name: str) -> Version:
        """Return the version that a ref, an id, a short id or ``REF~N`` (N-th first parent) names.

        Raises:
            UnknownVersion: If the name resolves to no version, or to several.
        """
        ...

    def first(self, name: str) -> Version:
        """Return the oldest stored ancestor of a version, along first parents."""
        ...

    def recorded(self, queries: Sequence[ExecutionQuery], /) -> Sequence[Trace | None]:
        """Return the newest trace of each execution, ``None`` if there is none.

        Finished traces take precedence; a trace that never finished is returned if it is the only
        one.
        """
        ...


@runtime_checkable
class GroupRecorder(Protocol):
    """A recorder that takes several groups of events at once, which cost it one commit."""

    def check_open(self) -> None:
        """Raise ``StoreError`` if the store takes no events: it is closed, or only read."""
        ...

    def append_groups(self, groups: Sequence[Sequence[Event]], /) -> Sequence[Future[None]]:
        """Store groups of events in order, each of them whole or not at all.

        Returns:
            A future for each group, as ``append`` returns it.

        Raises:
            StoreError: If the store takes no events.
        """
        ...


@runtime_checkable
class FileStore(Protocol):
    """A store that keeps files too, such as trained weights, in a folder beside it."""

    @property
    def files(self) -> HashedFiles:
        """The folder of files by the sha256 of their content."""
        ...


def files_of(store: object) -> HashedFiles | None:
    """Return the folder of a store's files, ``None`` if it keeps none."""
    return store.files if isinstance(store, FileStore) else None


@runtime_checkable
class DatasetStore(Protocol):
    """A store that keeps data sets too."""

    def keep_dataset(self, data: Dataset) -> str:
        """Store a data set by its content alone and return its digest."""
        ...


@runtime_checkable
class RunPages(Protocol):
    """The runs of a store whose executions can be read a few at a time."""

    def items(self, run: str, start: int, stop: int) -> Sequence[tuple[str, Trace]]:
        """Return the labels and traces of a run at positions, from ``start`` on, up to ``stop``.

        Raises:
            NotFound: If one of them is gone.
        """
        ...

    def planned(self, run: str, start: int, stop: int) -> Sequence[PlannedExecution]:
        """Return the executions that a run was started for, at positions.

        Raises:
            NotFound: If one of them is gone.
        """
        ...


class Runs(Protocol):
    """The runs and traces of a store. Ids may be shortened if they stay unambiguous."""

    def __call__(self, limit: int = 20, before: str = "") -> Sequence[Run]:
        """Return the latest runs without their traces, newest first.

        Args:
            limit: The number of runs.
            before: The id of a run; only older ones are returned, which continues a listing.
        """
        ...

    def get(self, run: str) -> Run:
        """Return a run with all its traces.

        Raises:
            NotFound: If no run, or more than one, has the id.
        """
        ...

    def trace(self, trace: str) -> Trace:
        """Return a trace with all its calls.

        Raises:
            NotFound: If no trace, or more than one, has the id.
        """
        ...

    def recorded(self, queries: Sequence[ExecutionQuery], /) -> Sequence[Trace | None]:
        """Return the newest trace of each execution, ``None`` if there is none."""
        ...

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """Return the newest reply for a request's key and its trace's id, ``None`` for none.

        Failures, and calls that never ended, are not replies.
        """
        ...

    def scores(self, trace: str) -> Sequence[ScoreRecorded]:
        """Return the scores of a trace, oldest first."""
        ...


class Versions(Protocol):
    """The versions and refs of a store. A name is a ref, an id, a short id or ``REF~N``."""

    def get(self, name: str) -> Version:
        """Return the version that a name resolves to.

        Raises:
            UnknownVersion: If the name resolves to no version, or to several.
        """
        ...

    def first(self, name: str) -> Version:
        """Return the oldest stored ancestor of a version, along first parents."""
        ...

    def saved(self, name: str) -> StoredVersion:
        """Return a version with its refs, its scores, and when and by whom it was stored."""
        ...

    def refs(self) -> Mapping[str, str]:
        """Return the id of the version that each ref points at, by the ref's name."""
        ...

    def reflog(self, name: str = "", limit: int = 50) -> Sequence[RefMoved]:
        """Return the latest moves of a ref, or of all, newest first."""
        ...


class Store(Recorder, Protocol):
    """A place where recordings live: ``runs`` and ``versions`` group its reads.

    ``run``, ``trace`` and ``refs`` are shortcuts for the reads that scripts need most.
    """

    @property
    def name(self) -> str:
        """The name of the store in messages."""
        ...

    @property
    def runs(self) -> Runs:
        """The runs and traces; ``store.runs()`` lists the latest runs."""
        ...

    @property
    def versions(self) -> Versions:
        """The versions and refs."""
        ...

    def run(self, run: str) -> Run:
        """Return ``runs.get(run)``: a run with all its traces."""
        ...

    def trace(self, trace: str) -> Trace:
        """Return ``runs.trace(trace)``: a trace with all its calls."""
        ...

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """Return ``runs.answer(key)``: the newest reply for a request's key."""
        ...

    def refs(self) -> Mapping[str, str]:
        """Return ``versions.refs()``: the version ids by ref."""
        ...

    def close(self) -> None:
        """Write what is queued and release the store."""
        ...
