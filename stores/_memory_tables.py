"""The tables of a store in memory, and how each event changes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from lmflow.errors import RefChanged, StoreError, UnknownVersion
from lmflow.messages.replies import Outcome
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    Pinned,
    RaceWon,
    RefMoved,
    RunClosed,
    RunOpened,
    RunPlanned,
    ScoreRecorded,
    SearchSteered,
    TraceClosed,
    TraceOpened,
    TraceReused,
    VersionSaved,
)
from lmflow.traces.trace import CallAttempt, PlannedExecution, Run, Trace
from lmflow.versions.version import Version, check_ref


@attrs.frozen
class Item:
    """An execution of a run: its label, its trace, and whether an earlier run recorded it."""

    label: str
    trace: str
    reused: bool = False


@attrs.frozen
class Answer:
    """The newest reply for a key: when it ended, and the trace that it is from."""

    ended: int
    trace: str
    outcome: Outcome


class MemoryTables:
    """Runs, traces, versions and refs in dictionaries.

    Each change is noted with what it replaced, so that events that fail halfway are undone.
    """

    def __init__(self, store: str) -> None:
        self.store = store
        self.runs: dict[str, Run] = {}
        self.items: dict[str, dict[int, Item]] = {}
        self.traces: dict[str, Trace] = {}
        self.versions: dict[str, Version] = {}
        self.saved: dict[str, tuple[int, str]] = {}
        self.refs: dict[str, str] = {}
        self.reflog: dict[int, RefMoved] = {}
        self.scores: dict[str, tuple[ScoreRecorded, ...]] = {}
        self.all_scores: dict[int, ScoreRecorded] = {}
        self.answers: dict[str, Answer] = {}
        self.acts: dict[int, SearchSteered] = {}
        self._pins: dict[str, str] = {}
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []

    def write(self, events: Iterable[Event]) -> None:
        """Apply events in order; if one fails, undo those before it and raise."""
        try:
            for event in events:
                self._write(event)
        except BaseException:
            for table, key, before in reversed(self._undo):
                _restore(table, key, before)
            raise
        finally:
            self._undo.clear()

    def _write(self, event: Event) -> None:  # noqa: C901 - one case an event
        match event:
            case RunOpened(run, versions):
                self._open_run(run, versions)
            case TraceOpened(run_id, label, position, trace):
                self._set(self.items[run_id], position, Item(label, trace.id))
                self._set(self.traces, trace.id, attrs.evolve(trace, code=None))
                self._save(trace.version, trace.started, "")
            case RunPlanned(run_id, _, executions):
                self._plan(run_id, executions)
            case TraceReused(run_id, label, position, trace_id):
                item = Item(label, self.traces[trace_id].id, reused=True)
                self._set(self.items[run_id], position, item)
            case CallStarted(trace_id, call) | CallEnded(trace_id, call):
                self._call(trace_id, call)
            case RaceWon(trace_id, address, winner):
                self._change(trace_id, choices=self.traces[trace_id].choices | {address: winner})
            case TraceClosed(trace):
                self._close_trace(trace)
            case RunClosed(run_id, status, _, ended, result):
                run = attrs.evolve(self.runs[run_id], status=status, ended=ended, result=result)
                self._set(self.runs, run_id, run)
            case VersionSaved(version, at, author):
                self._save(version, at, author)
            case RefMoved():
                self._move_ref(event)
            case ScoreRecorded():
                trace = self.traces[event.trace]
                self._set(self.scores, trace.id, (*self.scores.get(trace.id, ()), event))
                self._set(self.all_scores, len(self.all_scores), event)
            case Pinned() | SearchSteered():
                self._note(event)

    def _note(self, event: Pinned | SearchSteered) -> None:
        if event.version:
            self._check_known(event.version)
        if isinstance(event, Pinned):
            self._set(self._pins, event.version, event.why if event.on else None)
        elif event.run not in self.runs:
            raise StoreError(self.store, f"there is no run {event.run}")
        else:
            self._set(self.acts, len(self.acts) + 1, event)

    def _open_run(self, run: Run, versions: tuple[Version, ...]) -> None:
        for version in versions:
            self._save(version, run.started, "")
        if run.id in self.runs:
            raise StoreError(self.store, f"run {run.id} was opened before")
        self._set(self.items, run.id, {})
        self._set(self.runs, run.id, attrs.evolve(run, wanted=()))
        self._plan(run.id, run.wanted)

    def _plan(self, run: str, executions: Iterable[PlannedExecution]) -> None:
        planned = tuple(executions)
        for execution in planned:
            self._check_known(execution.version)
        opened = self.runs[run]
        self._set(self.runs, run, attrs.evolve(opened, wanted=(*opened.wanted, *planned)))

    def _close_trace(self, trace: Trace) -> None:
        self._change(
            trace.id,
            outputs=trace.outputs,
            failure=trace.failure,
            ended=trace.ended,
            world=trace.world,
        )

    def _check_known(self, version: str) -> str:
        if version not in self.versions:
            raise UnknownVersion(version, tuple(self.refs))
        return version

    def _save(self, version: Version, at: int, author: str) -> None:
        if version.id not in self.versions:
            self._set(self.versions, version.id, version)
            self._set(self.saved, version.id, (at, author))

    def _move_ref(self, move: RefMoved) -> None:
        current = self.refs.get(move.name, "")
        if move.before is not None and move.before != current:
            raise RefChanged(move.name, move.before, current)
        if move.version:
            self._set(self.refs, check_ref(move.name), self._check_known(move.version))
        elif current:
            self._set(self.refs, move.name, None)
        else:
            raise UnknownVersion(move.name, tuple(self.refs))
        self._set(self.reflog, len(self.reflog), attrs.evolve(move, before=current))

    def _call(self, trace: str, call: CallAttempt) -> None:
        calls = {
            (attempt.address, attempt.attempt): attempt for attempt in self.traces[trace].calls
        }
        if call.outcome is not None or (call.address, call.attempt) not in calls:
            calls[call.address, call.attempt] = call
        if call.outcome is not None and call.status == "ok":
            newest = self.answers.get(call.key)
            if newest is None or call.ended >= newest.ended:
                self._set(self.answers, call.key, Answer(call.ended, trace, call.outcome))
        self._change(trace, calls=tuple(calls.values()))

    def _change(self, trace: str, **changes: Any) -> None:
        self._set(self.traces, trace, attrs.evolve(self.traces[trace], **changes))

    def _set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Set an entry, or delete it if the value is ``None``, and note how to undo that."""
        self._undo.append((table, key, table.get(key)))
        _restore(table, key, value)


def _restore(table: dict[Any, Any], key: Any, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
