"""What a run has come to while its executions end: the root, the sums, and the first traces."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence

import attrs

from lmflow.execution.connections import Connections
from lmflow.programs.program import Program
from lmflow.traces.paged import HELD, Paged, Read
from lmflow.traces.run_root import RunRoot
from lmflow.traces.store import RunPages
from lmflow.traces.totals import Sums
from lmflow.traces.trace import PlannedExecution, Run, Trace

Item = tuple[str, Trace]


class Collected:
    """Collects the executions of a run as they end.

    All traces are held, unless there are more than ``HELD`` and the store can read them back as
    they are: then they are let go, and the run reads them when they are looked at.
    """

    # A redacted store has other texts than the caller, who may look at what was sent.
    def __init__(self, connections: Connections, run_id: str, *, hold: int = HELD) -> None:
        pages = getattr(connections.recorder, "runs", None)
        self._pages: RunPages | None = None
        if isinstance(pages, RunPages) and connections.redactor is None:
            self._pages = pages
        self._run_id, self._hold = run_id, hold
        self._held: dict[int, Item] | None = {}
        self._plan: list[PlannedExecution] | None = []
        self._planned = 0
        self._codes: dict[str, Program] = {}
        self._root, self._sums = RunRoot(), Sums()
        self.count = self.failures = 0

    def add(self, position: int, label: str, trace: Trace) -> None:
        """Add an execution that has ended."""
        self.count += 1
        self.failures += trace.failure is not None
        self._root.add(position, label, trace.root)
        self._sums.add(trace.calls)
        if trace.code is not None:
            self._codes[trace.program] = trace.code
        if self._held is None:
            return
        self._held[position] = label, trace
        if self._pages is not None and len(self._held) > self._hold:
            self._held = None

    def plan(self, executions: Sequence[PlannedExecution]) -> None:
        """Add executions that the run is planned for beside those that it was opened with."""
        self._planned += len(executions)
        if self._plan is not None:
            self._plan += executions
            if self._pages is not None and len(self._plan) > self._hold:
                self._plan = None

    def closed(self, run: Run) -> Run:
        """Return the run as it ended, with all its executions."""
        failed = run.kind in {"run", "serve"} and self.failures
        closed = attrs.evolve(
            run,
            items=self.items(),
            wanted=self._wanted() if self._planned else run.wanted,
            status="failed" if failed else "done",
            ended=time.time_ns(),
        )
        # What its traces give, so that nobody has to read them for it. They aren't fields: a run
        # with other items, as `attrs.evolve` makes one, computes its own.
        sums = self._sums.totals(), self.failures
        vars(closed).update(root=self._root.value(), sums=sums)
        return closed

    def _wanted(self) -> Sequence[PlannedExecution]:
        if self._plan is not None:
            return tuple(self._plan)
        assert self._pages is not None  # noqa: S101 - else the plan is held
        return Paged(functools.partial(self._pages.planned, self._run_id), self._planned)

    def items(self) -> Sequence[Item]:
        """Return the executions so far, in order; those that aren't held are read later."""
        if self._held is not None:
            return tuple(item for _, item in sorted(self._held.items(), key=_position))
        assert self._pages is not None  # noqa: S101 - else the traces are held
        return Paged(read_back(self._pages, self._run_id, self._codes), self.count)


def read_back(pages: RunPages, run_id: str, codes: dict[str, Program]) -> Read[Item]:
    """Return the function that reads executions of a run from its store; the traces have their
    programs again, by the programs' keys.
    """

    def read(start: int, stop: int) -> Sequence[Item]:
        items = pages.items(run_id, start, stop)
        return [
            (label, attrs.evolve(trace, code=codes.get(trace.program))) for label, trace in items
        ]

    return read


def _position(place: tuple[int, Item]) -> int:
    return place[0]
