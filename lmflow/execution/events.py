"""Listens to the events of an executor: an async iterator over what its store gets."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Self

import attrs

from lmflow.traces.events import Event


@attrs.frozen
class Missed:
    """Stands for the events that a listener lost because it fell too far behind."""

    count: int


class Listener:
    """The events since the listener was made, in order, as an async iterator. It ends when its
    executor closes.

    Listening never holds up a run: at most ``limit`` events wait for a listener. If it falls
    further behind, the oldest are dropped and one ``Missed`` says how many. The store has them all.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            msg = f"limit must be at least 1, found {limit}"
            raise ValueError(msg)
        self._limit = limit
        self._queue: deque[Event] = deque()
        self._missed = 0
        self._closed = False
        self._changed = asyncio.Event()

    def __aiter__(self) -> Self:
        """Return the listener itself; it cannot be rewound."""
        return self

    async def __anext__(self) -> Event | Missed:
        """Return the next event, or the number of events lost before it."""
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        if self._missed:
            missed, self._missed = Missed(self._missed), 0
            return missed
        return self._queue.popleft()

    def hear(self, events: tuple[Event, ...]) -> None:
        """Queue events for the listener."""
        self._queue.extend(events)
        while len(self._queue) > self._limit:
            self._queue.popleft()
            self._missed += 1
        self._changed.set()

    def close(self) -> None:
        """End the iterator once its queue is empty."""
        self._closed = True
        self._changed.set()
