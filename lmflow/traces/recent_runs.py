"""The latest runs of an executor, read from its store when they are looked at."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, overload

import attrs

from lmflow.errors import NotFound
from lmflow.traces.run_rows import RunList, run_row
from lmflow.traces.store import Recorder
from lmflow.traces.totals import NO_CALLS, Totals
from lmflow.traces.trace import Run
from lmflow.views.lines import counted
from lmflow.views.listed import Listed
from lmflow.views.page import ROWS_SHOWN

MOST_RUNS = 1000
"""The runs that are listed."""
MOST_TRACES = 100
"""The traces that are held in memory if there is no store to read them from."""


@attrs.frozen(eq=False)
class _Entry:
    """A run as it is held: without its traces, with their counts.

    ``reference`` reaches the whole run as long as somebody holds it.
    """

    run: Run
    traces: int = 0
    sums: Totals = NO_CALLS
    reference: weakref.ref[Run] | None = None


class RecentRuns(Listed, Sequence[Run]):
    """The latest runs of an executor, oldest first: ``ex.runs[-1]`` is the last one.

    Ids and counts are held, 1,000 runs at most. Traces are read from the store when a run is looked
    at. Without a store the newest runs are held as long as they have 100 traces together; a longer
    one can be looked at while the program itself holds it.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._entries: dict[str, _Entry] = {}
        self._held: deque[Run] = deque()
        self._held_traces = 0

    def opened(self, run: Run) -> None:
        """Add a run that begins. A run that is resumed becomes the newest."""
        self._entries.pop(run.id, None)
        self._entries[run.id] = _Entry(_without_traces(run))
        if len(self._entries) > MOST_RUNS:
            del self._entries[next(iter(self._entries))]

    def closed(self, run: Run) -> None:
        """Keep what a run came to."""
        if run.id not in self._entries:
            return
        entry = _Entry(_without_traces(run), len(run), run.sums[0], weakref.ref(run))
        self._entries[run.id] = entry
        if not self._is_readable and len(run) <= MOST_TRACES:
            self._hold(run)

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, at: int, /) -> Run: ...
    @overload
    def __getitem__(self, at: slice, /) -> list[Run]: ...
    def __getitem__(self, at: int | slice, /) -> Run | list[Run]:
        """Return a run with its traces by its position, from the oldest on; ``-1`` is the last.

        Raises:
            IndexError: There are fewer runs.
            NotFound: Its traces are gone: there is no store that holds them.
        """
        entries = list(self._entries.values())
        if isinstance(at, slice):
            return [self._whole(entry) for entry in entries[at]]
        try:
            return self._whole(entries[at])
        except IndexError:
            msg = f"no run {at}: this executor has made {counted(len(entries), 'run')}"
            raise IndexError(msg) from None

    def __iter__(self) -> Iterator[Run]:
        return map(self._whole, list(self._entries.values()))

    def __repr__(self) -> str:
        last = f", the last {list(self._entries.values())[-1].run!r}" if self._entries else ""
        return f"<Runs of this executor: {len(self)}{last}>"

    def _list(self) -> RunList:
        newest = list(self._entries.values())[: -ROWS_SHOWN - 1 : -1]
        rows = [run_row(entry.run, entry.traces, entry.sums) for entry in newest]
        title = f"{counted(len(self), 'run')} of this executor, the newest first"
        return RunList(title, rows, len(self))

    @property
    def _is_readable(self) -> bool:
        return callable(getattr(self._recorder, "run", None))

    def _hold(self, run: Run) -> None:
        """Hold a run, and let go of the oldest until all have few enough traces."""
        self._held.append(run)
        self._held_traces += len(run)
        while self._held_traces > MOST_TRACES:
            self._held_traces -= len(self._held.popleft())

    def _whole(self, entry: _Entry) -> Run:
        run = entry.reference() if entry.reference else None
        if run is None and self._is_readable:
            run = self._recorded(entry.run)
        if run is not None:
            return run
        if not entry.traces:
            return entry.run
        problem = f"run {entry.run.id} is not held, as it has {counted(entry.traces, 'trace')}"
        fix = "Keep what ex.map or ex.evaluate returns, or give the executor a store: "
        raise NotFound("executor", problem, f"{fix}lf.Executor(model, lf.MemoryStore()).")

    # The end of a stopped run is not awaited, so the store may not have it yet.
    def _recorded(self, closed: Run) -> Run:
        recorder: Any = self._recorder
        run: Run = recorder.run(closed.id)
        if run.status == "open":
            return attrs.evolve(run, status=closed.status, ended=closed.ended)
        return run


# One constructor call: `attrs.evolve` would look at every field, twice a run.
def _without_traces(run: Run) -> Run:
    return Run(
        run.id,
        run.kind,
        run.name,
        target=run.target,
        status=run.status,
        started=run.started,
        ended=run.ended,
        of=run.of,
        result=run.result,
    )
