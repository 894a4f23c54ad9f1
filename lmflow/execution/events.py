"""Listening to what happens in an executor: an async iterator over the events that its store gets."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Self

import attrs

from lmflow.traces.events import Event


@attrs.frozen
class Missed:
    """In place of events that came while the listener was too far behind: how many they were."""

    count: int


class Listener:
    """The events since it was made, in order. It ends when its executor closes.

    Listening never holds up a run: at most ``limit`` events wait for a listener; of a listener that
    falls further behind the oldest that wait are dropped, and one ``Missed`` says how many. The
    store has them all.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            msg = f"limit must be at least 1, found {limit}"
            raise ValueError(msg)
        self._limit = limit
        self._waiting: deque[Event] = deque()
        self._missed = 0
        self._closed = False
        self._news = asyncio.Event()

    def __aiter__(self) -> Self:
        """Itself: listeners are made anew, not rewound."""
        return self

    async def __anext__(self) -> Event | Missed:
        """The next event, or how many were missed before it."""
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        if self._missed:
            missed, self._missed = Missed(self._missed), 0
            return missed
        return self._waiting.popleft()

    def hear(self, events: tuple[Event, ...]) -> None:
        """Let events wait for the listener."""
        self._waiting.extend(events)
        while len(self._waiting) > self._limit:
            self._waiting.popleft()
            self._missed += 1
        self._news.set()

    def close(self) -> None:
        """Nothing more comes; what waits is still given."""
        self._closed = True
        self._news.set()
