"""The groups of a SQLite store, ``store.runs``, ``store.versions`` and ``store.datasets``.

Each call opens a read-only connection of its own, so threads and forks may share a group.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lmflow.data.conditions import Condition, condition
from lmflow.data.dataset import Dataset, Examples
from lmflow.messages.replies import Outcome
from lmflow.stores.sqlite.datasets import NamedDataset, put_dataset
from lmflow.stores.sqlite.reading import Reading
from lmflow.stores.sqlite.writing.dataset_draft import DatasetDraft
from lmflow.traces.events import RefMoved, ScoreRecorded
from lmflow.traces.run_rows import LIST_TITLE, RunList
from lmflow.traces.store import ExecutionQuery, StoredVersion
from lmflow.traces.trace import PlannedExecution, Run, Trace
from lmflow.traces.version_list import VersionList
from lmflow.versions.version import Version
from lmflow.views.listed import Listed
from lmflow.views.page import ROWS_SHOWN


class SqliteRuns(Listed):
    """The runs and traces of a SQLite store, ``store.runs``."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def __call__(self, limit: int = 20, before: str = "") -> Sequence[Run]:
        """Return the latest runs without their traces, newest first, older than ``before``."""
        with self._reading() as reader:
            return reader.runs(limit, before)

    def where(self, *conditions: str, limit: int = 20) -> Sequence[Run]:
        """Return the latest runs that fulfil all conditions, without their traces, newest first.

        Args:
            *conditions: The conditions, such as ``"kind=evaluate"``; ``lmflow.data.conditions``
                has the fields.
            limit: The number of runs.

        Raises:
            BadCondition: If a condition can't be read.
        """
        with self._reading() as reader:
            return reader.runs_where(_read(conditions), limit)

    def traces(self, *conditions: str, limit: int = 20) -> Sequence[Trace]:
        """Return executions that fulfil all conditions, those of the latest runs first."""
        with self._reading() as reader:
            return reader.traces_where(_read(conditions), limit)

    def get(self, run: str) -> Run:
        """Return a run with its traces, which are read when they are looked at if there are more
        than 1,000; ``NotFound``, ``Tampered``.
        """
        with self._reading() as reader:
            return reader.run(run)

    def items(self, run: str, start: int, stop: int) -> Sequence[tuple[str, Trace]]:
        """Return the labels and traces of a run at positions, from ``start`` on, up to ``stop``.

        Raises:
            NotFound: If one of them is gone, as garbage collection removed it.
        """
        with self._reading() as reader:
            return reader.long_runs.items(run, start, stop)

    def planned(self, run: str, start: int, stop: int) -> Sequence[PlannedExecution]:
        """Return the executions that a run was started for, at positions; ``NotFound``."""
        with self._reading() as reader:
            return reader.long_runs.planned(run, start, stop, gapless=True)

    def trace(self, trace: str) -> Trace:
        """Return a trace with all its calls; ``NotFound``, ``Tampered``."""
        with self._reading() as reader:
            return reader.trace(trace)

    def recorded(self, queries: Sequence[ExecutionQuery]) -> Sequence[Trace | None]:
        """Return the newest trace of each execution, finished ones first, ``None`` for none."""
        with self._reading() as reader:
            return reader.recorded(queries)

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """Return the newest reply for a request's key and its trace's id, ``None`` for none."""
        with self._reading() as reader:
            return reader.answer(key)

    def scores(self, trace: str) -> Sequence[ScoreRecorded]:
        """Return the scores of a trace, oldest first."""
        with self._reading() as reader:
            return reader.scores(trace)

    def _list(self) -> RunList:
        with self._reading() as reader:
            rows = reader.summaries(ROWS_SHOWN)
            total = reader.listing.count(()) if len(rows) == ROWS_SHOWN else len(rows)
        return RunList(LIST_TITLE, rows, total)


def _read(conditions: Iterable[str]) -> list[Condition]:
    now = time.time_ns()
    return [condition(text, now) for text in conditions]


class SqliteVersions(Listed):
    """The versions and refs of a SQLite store, ``store.versions``."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def get(self, name: str) -> Version:
        """Return the version of a ref, an id, a short id or ``REF~N``; ``UnknownVersion``."""
        with self._reading() as reader:
            return reader.versions.version(name)

    def first(self, name: str) -> Version:
        """Return the oldest stored ancestor of a version, along first parents."""
        with self._reading() as reader:
            return reader.versions.first(name)

    def saved(self, name: str) -> StoredVersion:
        """Return a version with its refs, its scores, and when and by whom it was stored."""
        with self._reading() as reader:
            return reader.versions.saved(name)

    def refs(self) -> Mapping[str, str]:
        """Return the id of the version that each ref points at, by the ref's name."""
        with self._reading() as reader:
            return reader.versions.refs()

    def reflog(self, name: str = "", limit: int = 50) -> Sequence[RefMoved]:
        """Return the latest moves of a ref, or of all, newest first."""
        with self._reading() as reader:
            return reader.versions.reflog(name, limit)

    def _list(self) -> VersionList:
        with self._reading() as reader:
            latest = list(reader.versions.latest(ROWS_SHOWN))
            return VersionList(latest, reader.versions.count())


class SqliteDatasets:
    """The data sets of a SQLite store, ``store.datasets``."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self._path = path
        self._reading = reading

    def put(
        self,
        name: str,
        parts: Examples | Mapping[str, Examples],
        *,
        origins: Mapping[str, str] | None = None,
    ) -> str:
        """Store a data set under a name; see ``SqliteStore.put_dataset``."""
        return put_dataset(self._path, name, parts, time.time_ns(), origins or {})

    def keep(self, data: Dataset) -> str:
        """Store a data set by its content alone, under no name, and return its digest."""
        return put_dataset(self._path, "", data, time.time_ns(), {})

    def draft(self, name: str) -> DatasetDraft:
        """Begin to store a data set by its content alone, a few examples at a time; ``name`` stands
        in errors.
        """
        return DatasetDraft(self._path, name)

    def get(self, name: str, split: str = "") -> Dataset:
        """Return the data set of a name or digest, or one of its splits; ``NotFound``."""
        with self._reading() as reader:
            return reader.datasets.dataset(name, split)

    def splits(self, name: str) -> Mapping[str, Dataset]:
        """Return the splits of a data set by name; one without splits is under ``""``."""
        with self._reading() as reader:
            return reader.datasets.splits(name)

    def names(self) -> Sequence[NamedDataset]:
        """Return what each name points at, sorted by name."""
        with self._reading() as reader:
            return reader.datasets.names()
