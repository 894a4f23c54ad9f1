"""A store in memory: for tests, and for executors that are given none."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import attrs

from lmflow.errors import NotFound, UnknownVersion
from lmflow.params import Version
from lmflow.trace import (
    CallEnded,
    CallStarted,
    Chosen,
    Event,
    RefMoved,
    Run,
    RunClosed,
    RunOpened,
    Trace,
    TraceClosed,
    TraceOpened,
    VersionSaved,
)

SHORTEST = 4


class MemoryStore:
    """Keeps events while the process lives. Safe to share between threads."""

    name = "memory"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._items: dict[str, list[tuple[int, str, str]]] = {}
        self._traces: dict[str, Trace] = {}
        self._versions: dict[str, Version] = {}
        self._refs: dict[str, str] = {}

    def append(self, *events: Event) -> Future[None]:
        """Keep events; the future is done at once."""
        done: Future[None] = Future()
        try:
            with self._lock:
                for event in events:
                    self._keep(event)
        except Exception as error:  # noqa: BLE001 - the caller awaits it
            done.set_exception(error)
        else:
            done.set_result(None)
        return done

    def runs(self, limit: int = 20, before: str = "") -> Sequence[Run]:
        """The latest runs without their traces, newest first."""
        ids = sorted((run for run in self._runs if not before or run < before), reverse=True)
        return [self._runs[run] for run in ids[:limit]]

    def run(self, run: str) -> Run:
        """A run with all its traces."""
        found = self._runs[_only("run", run, self._runs, self.name)]
        items = tuple((label, self._traces[trace]) for _, label, trace in sorted(self._items[found.id]))
        return attrs.evolve(found, items=items)

    def trace(self, trace: str) -> Trace:
        """A trace with all its calls."""
        return self._traces[_only("trace", trace, self._traces, self.name)]

    def version(self, name: str) -> Version:
        """The version that a ref, an id or a short id names."""
        wanted = self._refs.get(name, name)
        found = [known for known in self._versions if _begins(known, wanted)]
        if len(found) != 1:
            raise UnknownVersion(name, tuple(self._refs))
        return self._versions[found[0]]

    def refs(self) -> Mapping[str, str]:
        """The refs: name -> version id."""
        return dict(self._refs)

    def close(self) -> None:
        """Nothing to do."""

    def _keep(self, event: Event) -> None:  # noqa: C901 - one case an event
        match event:
            case RunOpened(run):
                self._runs[run.id], self._items[run.id] = run, []
            case TraceOpened(run, label, position, trace):
                self._items[run].append((position, label, trace.id))
                self._traces[trace.id] = attrs.evolve(trace, code=None)
                self._versions.setdefault(trace.version.id, trace.version)
            case CallStarted(trace_id, call):
                self._change(trace_id, calls=(*self._traces[trace_id].calls, call))
            case CallEnded(trace_id, call):
                others = (
                    c for c in self._traces[trace_id].calls if (c.address, c.attempt) != (call.address, call.attempt)
                )
                self._change(trace_id, calls=(*others, call))
            case Chosen(trace_id, address, winner):
                self._change(trace_id, choices=self._traces[trace_id].choices | {address: winner})
            case TraceClosed(trace):
                ended: dict[str, Any] = {
                    "outputs": trace.outputs,
                    "failure": trace.failure,
                    "ended": trace.ended,
                    "world": trace.world,
                }
                self._traces[trace.id] = attrs.evolve(self._traces[trace.id], **ended)
            case RunClosed(run_id, status, _, ended_at):
                self._runs[run_id] = attrs.evolve(self._runs[run_id], status=status, ended=ended_at)
            case VersionSaved(version):
                self._versions.setdefault(version.id, version)
            case RefMoved(name, version_id):
                if version_id not in self._versions:
                    raise UnknownVersion(version_id, tuple(self._refs))
                self._refs[name] = version_id

    def _change(self, trace: str, **changes: Any) -> None:
        self._traces[trace] = attrs.evolve(self._traces[trace], **changes)


def _begins(known: str, wanted: str) -> bool:
    return known == wanted or (
        known.removeprefix("v1:b2:").startswith(wanted.removeprefix("v1:b2:")) and len(wanted) >= SHORTEST
    )


def _only(kind: str, wanted: str, known: Mapping[str, object], store: str) -> str:
    found = (
        [wanted]
        if wanted in known
        else [name for name in known if (wanted and name.endswith(wanted)) or name.startswith(wanted)]
    )
    if len(found) == 1:
        return found[0]
    problem = (
        f"no {kind} {wanted!r}" if not found else f"{kind} {wanted!r} is ambiguous: {', '.join(sorted(found)[:4])}"
    )
    raise NotFound(store, problem, "`lmflow runs ls` lists what there is.")
