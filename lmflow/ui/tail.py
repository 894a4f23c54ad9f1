"""Follows a store for all open pages at once: one thread looks, each page is told what changed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import attrs

from lmflow.errors import LmflowError

LOOK_SECONDS = 0.25
"""The time between two looks at the store. A look at one that didn't change costs a read of its
change counter and of the latest runs.
"""

_RUNS = 20
_WAITING = 100  # changes that a page may leave unread before the oldest is dropped


@attrs.frozen
class Change:
    """What changed since the last look: calls that ended by run, runs by their states, and an error
    if the store could not be read any more.
    """

    calls: Mapping[str, int] = attrs.field(factory=dict)
    runs: Mapping[str, str] = attrs.field(factory=dict)
    problem: str = ""

    def concerns(self, run: str) -> bool:
        """Tell whether the change is one of a run; ``*`` stands for all runs."""
        return run == "*" or bool(self.problem) or run in self.calls or run in self.runs


@attrs.define(eq=False)
class Tail:
    """Looks for changes while somebody listens.

    Args:
        reading: Opens a reader of the store.
    """

    reading: Callable[[], AbstractContextManager[Any]]
    _queues: set[asyncio.Queue[Change]] = attrs.field(factory=set, init=False)
    _stop: threading.Event | None = attrs.field(default=None, init=False)

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[asyncio.Queue[Change]]:
        """Give a queue of the changes from now on; the first listener starts the thread."""
        queue: asyncio.Queue[Change] = asyncio.Queue(_WAITING)
        self._queues.add(queue)
        if self._stop is None:
            self._stop = threading.Event()
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._watch, args=(loop, self._stop), daemon=True).start()
        try:
            yield queue
        finally:
            self._queues.discard(queue)
            if not self._queues:
                self.close()

    def close(self) -> None:
        """End the thread."""
        if self._stop is not None:
            self._stop.set()
            self._stop = None

    def _watch(self, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        """Look until it is stopped. A loop that is closed meanwhile takes no more changes."""
        with contextlib.suppress(RuntimeError):
            try:
                with self.reading() as reader:
                    for change in _changes(reader, stop):
                        loop.call_soon_threadsafe(self._publish, change)
            except LmflowError as error:
                loop.call_soon_threadsafe(self._fail, stop, str(error))

    def _fail(self, stop: threading.Event, problem: str) -> None:
        self._publish(Change(problem=problem))
        if self._stop is stop:
            self._stop = None

    def _publish(self, change: Change) -> None:
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(change)


def _changes(reader: Any, stop: threading.Event) -> Any:
    """Yield what changes until ``stop`` is set."""
    feed, known = reader.follow(), _states(reader)
    while not stop.wait(LOOK_SECONDS):
        calls = Counter(call.run for call in feed.ended())
        states = _states(reader)
        runs = {run: status for run, status in states.items() if known.get(run) != status}
        known = states
        if calls or runs:
            yield Change(dict(calls), runs)


def _states(reader: Any) -> dict[str, str]:
    return {run.id: run.status for run in reader.runs(_RUNS, "")}
