"""A store in memory: for tests, and for executors that are given none."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import attrs
import toolz

from lmflow.errors import (
    LmflowError,
    MissingParent,
    NotFound,
    RefChanged,
    StoreError,
    UnknownVersion,
)
from lmflow.messages.replies import Failure, Outcome
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    Pinned,
    RaceWon,
    RefMoved,
    RunClosed,
    RunOpened,
    ScoreRecorded,
    TraceClosed,
    TraceOpened,
    VersionSaved,
)
from lmflow.traces.store import Saved, Wish
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.versions.history import ancestor, parent_of
from lmflow.versions.version import Version, check_ref

SHORTEST = 4


class MemoryStore:
    """Keeps events while the process lives. Safe to share between threads."""

    name = "memory"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._runs: dict[str, Run] = {}
        self._items: dict[str, tuple[tuple[int, str, str], ...]] = {}
        self._traces: dict[str, Trace] = {}
        self._versions: dict[str, Version] = {}
        self._kept: dict[str, tuple[int, str]] = {}
        self._refs: dict[str, str] = {}
        self._log: dict[int, RefMoved] = {}
        self._scores: dict[str, tuple[ScoreRecorded, ...]] = {}
        self._pins: dict[str, str] = {}
        self._answers: dict[str, tuple[int, Any]] = {}

    def append(self, *events: Event) -> Future[None]:
        """Keep events, all or none; the future is done at once."""
        done: Future[None] = Future()
        with self._lock:
            if self._closed:
                raise StoreError(self.name, "it is closed", "Make another.")
            try:
                for event in events:
                    self._keep(event)
            except Exception as error:  # noqa: BLE001 - the caller awaits it
                for table, key, before in reversed(self._undo):
                    table.pop(key, None) if before is None else table.update({key: before})
                problem = f"it can't keep what happened ({type(error).__name__}: {error})"
                done.set_exception(
                    error if isinstance(error, LmflowError) else StoreError(self.name, problem)
                )
            else:
                done.set_result(None)
            self._undo.clear()
        return done

    def runs(self, limit: int = 20, before: str = "") -> Sequence[Run]:
        """The latest runs without their traces, newest first."""
        ids = sorted((run for run in self._runs if not before or run < before), reverse=True)
        return [attrs.evolve(self._runs[run], wanted=()) for run in ids[:limit]]

    def run(self, run: str) -> Run:
        """A run with all its traces."""
        found = self._runs[_only("run", run, self._runs, self.name)]
        items = tuple(
            (label, self._traces[trace]) for _, label, trace in sorted(self._items[found.id])
        )
        return attrs.evolve(found, items=items)

    def trace(self, trace: str) -> Trace:
        """A trace with all its calls."""
        return self._traces[_only("trace", trace, self._traces, self.name)]

    def version(self, name: str) -> Version:
        """The version that a ref, an id or a short id names, or ``REF~N``."""
        return ancestor(name, self._named)

    def first(self, name: str) -> Version:
        """The first version that is kept of its line, by first parents."""
        version = self.version(name)
        while version.parents:
            try:
                version = parent_of(version, version.parents[0], self._versions.__getitem__)
            except MissingParent:
                break
        return version

    def saved(self, name: str) -> Saved:
        """The version with what stands beside it."""
        version = self.version(name)
        given = [
            s
            for id_, scores in self._scores.items()
            if self._traces[id_].version == version
            for s in scores
        ]
        scored = toolz.groupby(
            lambda score: score.name, (score for score in given if score.value is not None)
        )
        means = {
            name: (sum(s.value for s in group) / len(group), len(group))
            for name, group in scored.items()
        }
        refs = tuple(sorted(name for name, id_ in self._refs.items() if id_ == version.id))
        absent = tuple(parent for parent in version.parents if parent not in self._versions)
        return Saved(version, *self._kept[version.id], refs, means, absent)

    def reflog(self, name: str = "", limit: int = 50) -> Sequence[RefMoved]:
        """The latest moves of a ref, or of all, newest first."""
        return [
            moved
            for _, moved in sorted(self._log.items(), reverse=True)
            if name in {"", moved.name}
        ][:limit]

    def scores(self, trace: str) -> Sequence[ScoreRecorded]:
        """The scores of a trace, in the order in which they were given."""
        return self._scores.get(_only("trace", trace, self._traces, self.name), ())

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """The newest reply that was recorded for a key, with the id of its trace."""
        with self._lock:
            found: tuple[str, Outcome] | None = self._answers.get(key, (0, None))[1]
        return found

    def recorded(self, wishes: Sequence[Wish]) -> Sequence[Trace | None]:
        """For each the newest trace of just that, one that ended where there is such."""
        with self._lock:
            every = sorted(self._traces.values(), key=lambda trace: trace.done)
        newest = {
            Wish(trace.program, trace.version.tree, trace.inputs, trace.sample): trace
            for trace in every
        }
        return [newest.get(wish) for wish in wishes]

    def refs(self) -> Mapping[str, str]:
        """The refs: name -> version id."""
        return dict(self._refs)

    def close(self) -> None:
        """Take no more events. What is kept can still be read."""
        self._closed = True

    def _keep(self, event: Event) -> None:  # noqa: C901, PLR0912 - one case an event
        match event:
            case RunOpened(run, versions):
                for version in versions:
                    self._set(self._versions, version.id, version)
                if run.id in self._runs:
                    raise StoreError(self.name, f"run {run.id} was opened before")
                for wanted in run.wanted:
                    self._known(wanted.version)
                self._set(self._runs, run.id, run)
                self._set(self._items, run.id, ())
            case TraceOpened(run_id, label, position, trace):
                self._set(self._items, run_id, (*self._items[run_id], (position, label, trace.id)))
                self._set(self._traces, trace.id, attrs.evolve(trace, code=None))
                self._save(trace.version, trace.started, "")
            case CallStarted(trace_id, call) | CallEnded(trace_id, call):
                self._call(trace_id, call)
            case RaceWon(trace_id, address, winner):
                self._change(trace_id, choices=self._traces[trace_id].choices | {address: winner})
            case TraceClosed(trace):
                ended = {
                    "outputs": trace.outputs,
                    "failure": trace.failure,
                    "ended": trace.ended,
                    "world": trace.world,
                }
                self._change(trace.id, **ended)
            case RunClosed(run_id, status, _, ended_at, result):
                run = attrs.evolve(self._runs[run_id], status=status, ended=ended_at, result=result)
                self._set(self._runs, run_id, run)
            case VersionSaved(version, at, author):
                self._save(version, at, author)
            case RefMoved():
                self._ref(event)
            case ScoreRecorded():
                self._set(
                    self._scores,
                    event.trace,
                    (*self._scores.get(self._traces[event.trace].id, ()), event),
                )
            case Pinned(version_id, why):
                self._set(self._pins, self._known(version_id), why if event.on else None)

    def _named(self, name: str) -> Version:
        wanted = self._refs.get(name, name)
        found = [known for known in self._versions if _begins(known, wanted)]
        if len(found) != 1:
            matches = tuple(known[6:22] for known in found[:4])
            raise UnknownVersion(name, tuple(self._refs), matches)
        return self._versions[found[0]]

    def _known(self, version: str) -> str:
        if version not in self._versions:
            raise UnknownVersion(version, tuple(self._refs))
        return version

    def _save(self, version: Version, at: int, author: str) -> None:
        if version.id not in self._versions:
            self._set(self._versions, version.id, version)
            self._set(self._kept, version.id, (at, author))

    def _ref(self, moved: RefMoved) -> None:
        found = self._refs.get(moved.name, "")
        if moved.before is not None and moved.before != found:
            raise RefChanged(moved.name, moved.before, found)
        if moved.version:
            self._set(self._refs, check_ref(moved.name), self._known(moved.version))
        elif found:
            self._set(self._refs, moved.name, None)
        else:
            raise UnknownVersion(moved.name, tuple(self._refs))
        self._set(self._log, len(self._log), attrs.evolve(moved, before=found))

    def _call(self, trace: str, call: CallAttempt) -> None:
        calls = {(known.address, known.attempt): known for known in self._traces[trace].calls}
        if call.outcome is not None or (call.address, call.attempt) not in calls:
            calls[call.address, call.attempt] = call
        replied = call.outcome is not None and not isinstance(call.outcome, Failure)
        if replied and call.ended >= self._answers.get(call.key, (0, None))[0]:
            self._set(self._answers, call.key, (call.ended, (trace, call.outcome)))
        self._change(trace, calls=tuple(calls.values()))

    def _change(self, trace: str, **changes: Any) -> None:
        self._set(self._traces, trace, attrs.evolve(self._traces[trace], **changes))

    def _set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Set what undoing sets back; ``None`` takes it out."""
        self._undo.append((table, key, table.get(key)))
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value


def _begins(known: str, wanted: str) -> bool:
    digits = wanted.removeprefix("v1:b2:").lower()
    return known.removeprefix("v1:b2:").startswith(digits) and len(digits) >= SHORTEST


def _only(kind: str, wanted: str, known: Mapping[str, object], store: str) -> str:
    if wanted in known:
        return wanted
    found = [
        name for name in known if wanted and (name.startswith(wanted) or name.endswith(wanted))
    ]
    if len(found) == 1:
        return found[0]
    problem = (
        f"{kind} {wanted!r} is ambiguous: {', '.join(sorted(found)[:4])}"
        if found
        else f"no {kind} {wanted!r}"
    )
    raise NotFound(store, problem, "`lmflow runs ls` lists what there is.")
