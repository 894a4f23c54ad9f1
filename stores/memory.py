"""A store in memory, for tests and for executors that are given no store."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from itertools import islice
from statistics import fmean
from typing import Any

import attrs

from lmflow.data.conditions import Condition, condition
from lmflow.errors import LmflowError, MissingParent, StoreError, UnknownVersion
from lmflow.messages.replies import Outcome
from lmflow.stores._memory_ids import has_prefix, resolve_id
from lmflow.stores._memory_tables import Item, MemoryTables
from lmflow.stores.filters import Recorded
from lmflow.traces.events import STEER, Event, GivenAct, RefMoved, ScoreRecorded
from lmflow.traces.reused import as_reused
from lmflow.traces.run_rows import LIST_TITLE, RunList, run_row
from lmflow.traces.store import ExecutionQuery, StoredVersion
from lmflow.traces.totals import totals
from lmflow.traces.trace import Run, Trace
from lmflow.traces.version_list import VersionList
from lmflow.values.record import digest
from lmflow.versions.history import ancestor, parent_of, point_in_reflog
from lmflow.versions.version import Version
from lmflow.views.listed import Listed
from lmflow.views.page import ROWS_SHOWN


class MemoryStore:
    """A trace store that lives as long as the process. Threads may share it.

    ``runs`` and ``versions`` group its reads; the other methods are shortcuts.

    Example:
        >>> import lmflow as lf
        >>> store = lf.MemoryStore()
        >>> store.append().result(), store.runs(), store.refs()
        (None, [], {})
    """

    name = "memory"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._tables = MemoryTables(self.name)
        self.runs = MemoryRuns(self._tables, self._lock)
        self.versions = MemoryVersions(self._tables)

    def append(self, *events: Event) -> Future[None]:
        """Store events in order, all of them or none.

        Args:
            *events: The events.

        Returns:
            A future that is done already; it raises if the store can't keep the events.

        Raises:
            StoreError: If the store is closed.
        """
        done: Future[None] = Future()
        with self._lock:
            if self._closed:
                raise StoreError(self.name, "it is closed", "Make another.")
            try:
                self._tables.write(events)
            except LmflowError as error:
                done.set_exception(error)
            except Exception as error:  # noqa: BLE001 - raised to whoever awaits the future
                problem = f"it can't keep what happened ({type(error).__name__}: {error})"
                done.set_exception(StoreError(self.name, problem))
            else:
                done.set_result(None)
        return done

    def run(self, run: str) -> Run:
        """Return ``runs.get(run)``: a run with all its traces."""
        return self.runs.get(run)

    def trace(self, trace: str) -> Trace:
        """Return ``runs.trace(trace)``: a trace with all its calls."""
        return self.runs.trace(trace)

    def recorded(self, queries: Sequence[ExecutionQuery]) -> Sequence[Trace | None]:
        """Return ``runs.recorded(queries)``: the newest trace of each execution."""
        return self.runs.recorded(queries)

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """Return ``runs.answer(key)``: the newest reply for a request's key."""
        return self.runs.answer(key)

    def scores(self, trace: str) -> Sequence[ScoreRecorded]:
        """Return ``runs.scores(trace)``: the scores of a trace."""
        return self.runs.scores(trace)

    def version(self, name: str) -> Version:
        """Return ``versions.get(name)``: the version that a ref or an id names."""
        return self.versions.get(name)

    def first(self, name: str) -> Version:
        """Return ``versions.first(name)``: the oldest stored ancestor of a version."""
        return self.versions.first(name)

    def saved(self, name: str) -> StoredVersion:
        """Return ``versions.saved(name)``: a version with its refs and scores."""
        return self.versions.saved(name)

    def refs(self) -> Mapping[str, str]:
        """Return ``versions.refs()``: the version ids by ref."""
        return self.versions.refs()

    def reflog(self, name: str = "", limit: int = 50) -> Sequence[RefMoved]:
        """Return ``versions.reflog(name, limit)``: the latest moves of refs."""
        return self.versions.reflog(name, limit)

    def acts(self, run: str, after: int = 0) -> Sequence[GivenAct]:
        """Return the acts that people gave to a search after a number, oldest first."""
        given = list(self._tables.acts.items())
        return [GivenAct(at, act) for at, act in given if act.run == run and at > after]

    def acts_taken(self, run: str) -> tuple[bool, Sequence[tuple[str, Trace]]]:
        """Return whether a run ended, and the acts that it recorded as taken."""
        if run not in self._tables.runs:
            return True, ()
        found = self.runs.get(run)
        items = [item for item in found.items if item[0].startswith(f"{STEER}[")]
        return found.status != "open", items

    def close(self) -> None:
        """Refuse further events. What is stored can still be read."""
        self._closed = True


class MemoryRuns(Listed):
    """The runs and traces of a store in memory, ``store.runs``."""

    def __init__(self, tables: MemoryTables, lock: threading.Lock) -> None:
        self._tables = tables
        self._lock = lock

    def __call__(self, limit: int = 20, before: str = "") -> Sequence[Run]:
        """Return the latest runs without their traces, newest first, older than the run ``before``.
        ``NotFound`` if there is no such run.
        """
        runs = self._tables.runs
        if before:
            before = resolve_id("run", before, runs, self._tables.store)
        ids = sorted((run for run in runs if not before or run < before), reverse=True)
        return [attrs.evolve(runs[run], wanted=()) for run in ids[:limit]]

    def where(self, *conditions: str, limit: int = 20) -> Sequence[Run]:
        """Return the latest runs that fulfil all conditions, without their traces, newest first.

        Args:
            *conditions: The conditions, such as ``"kind=evaluate"``; ``lmflow.data.conditions``
                has the fields.
            limit: The number of runs.
        """
        criteria = self._criteria(conditions)
        newest = (self._recorded(run) for run in sorted(self._tables.runs, reverse=True))
        fitting = (recorded.run for recorded in newest if recorded.run_holds(criteria))
        return [attrs.evolve(run, items=(), wanted=()) for run in islice(fitting, limit)]

    def traces(self, *conditions: str, limit: int = 20) -> Sequence[Trace]:
        """Return executions that fulfil all conditions, those of the latest runs first."""
        criteria = self._criteria(conditions)
        newest = (self._recorded(run) for run in sorted(self._tables.runs, reverse=True))
        fitting = (
            trace
            for recorded in newest
            for label, trace in recorded.run.items
            if recorded.trace_holds(label, trace, criteria)
        )
        return list(islice(fitting, limit))

    def get(self, run: str) -> Run:
        """Return a run with all its traces; ``NotFound`` if no single run has the id."""
        run_id = resolve_id("run", run, self._tables.runs, self._tables.store)
        with self._lock:
            items = [item for _, item in sorted(self._tables.items[run_id].items())]
            traces = tuple((item.label, self._trace_of(item)) for item in items)
            return attrs.evolve(self._tables.runs[run_id], items=traces)

    def _trace_of(self, item: Item) -> Trace:
        trace = self._tables.traces[item.trace]
        return as_reused(trace) if item.reused else trace

    def trace(self, trace: str) -> Trace:
        """Return a trace with all its calls; ``NotFound`` if no single trace has the id."""
        return self._tables.traces[self._trace_id(trace)]

    def recorded(self, queries: Sequence[ExecutionQuery]) -> Sequence[Trace | None]:
        """Return the newest trace of each execution, finished ones first, ``None`` for none."""
        with self._lock:
            traces = sorted(self._tables.traces.values(), key=lambda trace: trace.done)
        newest = {
            ExecutionQuery(trace.program, trace.version.tree, trace.inputs, trace.sample): trace
            for trace in traces
        }
        return [newest.get(query) for query in queries]

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """Return the newest reply for a request's key and its trace's id, ``None`` for none."""
        with self._lock:
            answer = self._tables.answers.get(key)
        return None if answer is None else (answer.trace, answer.outcome)

    def scores(self, trace: str) -> Sequence[ScoreRecorded]:
        """Return the scores of a trace, oldest first."""
        return self._tables.scores.get(self._trace_id(trace), ())

    def _list(self) -> RunList:
        runs = [self.get(run.id) for run in self()]
        return RunList(LIST_TITLE, list(map(self._row, runs)), len(self._tables.runs))

    def _row(self, run: Run) -> dict[str, Any]:
        sums = totals(call for trace in run for call in trace.calls)
        row = run_row(run, len(run), sums)
        values: dict[str, list[float]] = {}
        for trace in run:
            scores = (score for score in self.scores(trace.id) if score.run in {"", run.id})
            latest = {score.name: score.value for score in scores}
            for name, value in latest.items():
                if value is not None:
                    values.setdefault(name, []).append(value)
        return {**row, "scores": {name: fmean(group) for name, group in values.items()}}

    def _recorded(self, run: str) -> Recorded:
        return Recorded(self.get(run), self.scores)

    def _criteria(self, conditions: Iterable[str]) -> list[Condition]:
        now = time.time_ns()
        return [self._resolved(condition(text, now)) for text in conditions]

    def _resolved(self, criterion: Condition) -> Condition:
        """Return the condition, with the whole id if it names a run, trace or version."""
        if criterion.operator not in {"=", "!="}:
            return criterion
        name, tables = str(criterion.literal), self._tables
        match criterion.field:
            case "version":
                literal = MemoryVersions(tables).get(name).id
            case "run":
                literal = resolve_id("run", name, tables.runs, tables.store)
            case "trace":
                literal = self._trace_id(name)
            case _:
                return criterion
        return attrs.evolve(criterion, literal=literal)

    def _trace_id(self, trace: str) -> str:
        return resolve_id("trace", trace, self._tables.traces, self._tables.store)


class MemoryVersions(Listed):
    """The versions and refs of a store in memory, ``store.versions``."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    def get(self, name: str) -> Version:
        """Return the version that a name stands for, as in git; ``UnknownVersion``."""
        return ancestor(name, self._named, self._pointed_at)

    def first(self, name: str) -> Version:
        """Return the oldest stored ancestor of a version, along first parents."""
        version = self.get(name)
        while version.parents:
            try:
                version = parent_of(version, version.parents[0], self._tables.versions.__getitem__)
            except MissingParent:
                break
        return version

    def saved(self, name: str) -> StoredVersion:
        """Return a version with its refs, its scores, and when and by whom it was stored."""
        version = self.get(name)
        tables = self._tables
        refs = tuple(sorted(ref for ref, id_ in tables.refs.items() if id_ == version.id))
        absent = tuple(parent for parent in version.parents if parent not in tables.versions)
        at, author = tables.saved[version.id]
        return StoredVersion(version, at, author, refs, self._means(version), absent)

    def refs(self) -> Mapping[str, str]:
        """Return the id of the version that each ref points at, by the ref's name."""
        return dict(self._tables.refs)

    def reflog(self, name: str = "", limit: int = 50) -> Sequence[RefMoved]:
        """Return the latest moves of a ref, or of all, newest first."""
        moves = [move for _, move in sorted(self._tables.reflog.items(), reverse=True)]
        return [move for move in moves if name in {"", move.name}][:limit]

    def _list(self) -> VersionList:
        latest = list(self._tables.saved)[: -ROWS_SHOWN - 1 : -1]
        return VersionList(list(map(self.saved, latest)), len(self._tables.saved))

    # An example is scored again by each evaluation, so only its latest score by a metric counts;
    # judgements of people all count. `lmflow.stores.sqlite.versions` counts in the same way.
    def _means(self, version: Version) -> dict[str, tuple[float, int]]:
        """Return the mean and the number of the scores of a version, by name."""
        counted: dict[Any, tuple[str, float]] = {}
        for position, score in self._tables.all_scores.items():
            trace = self._tables.traces[score.trace]
            if score.value is None or trace.version != version:
                continue
            example = score.name, digest("inputs", trace.inputs), trace.sample
            counted[example if score.metric else position] = score.name, score.value
        values: dict[str, list[float]] = {}
        for name, value in counted.values():
            values.setdefault(name, []).append(value)
        return {name: (sum(group) / len(group), len(group)) for name, group in values.items()}

    def _pointed_at(self, ref: str, at: str) -> str:
        """Return the id of the version that a ref pointed at, by ``REF@{at}``."""
        moves = self.reflog(ref, len(self._tables.reflog))
        if not moves:
            raise UnknownVersion(ref, tuple(self._tables.refs))
        log = [(move.at, move.before or "", move.version) for move in moves]
        return point_in_reflog(ref, at, log, time.time_ns())

    def _named(self, name: str) -> Version:
        id_or_prefix = self._tables.refs.get(name, name)
        matches = [id_ for id_ in self._tables.versions if has_prefix(id_, id_or_prefix)]
        if len(matches) != 1:
            shown = tuple(match[6:22] for match in matches[:4])
            raise UnknownVersion(name, tuple(self._tables.refs), shown)
        return self._tables.versions[matches[0]]
