"""Executes rollouts side by side, and tells of each that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, Generic, TypeVar

from lmflow.errors import BudgetExceeded
from lmflow.execution.live import gather_strict
from lmflow.execution.prepared_rollout import FinishedRollout, PreparedRollout
from lmflow.execution.rollout import Rollout

T = TypeVar("T")

Places = Iterable[tuple[int, Rollout]] | AsyncIterable[tuple[int, Rollout]]
"""Rollouts with their positions in the run, which are read as executions begin."""

Ended = Callable[[int, Rollout, FinishedRollout], None]
"""Is called with the position, the rollout and what it came to, after each execution."""


class Feed(Generic[T]):
    """Hands out the members of an iterable, each to one of those who wait for the next."""

    def __init__(self, members: Iterable[T] | AsyncIterable[T]) -> None:
        self._sync: Iterator[T] | None = None
        self._async: AsyncIterator[T] | None = None
        self._source: Any = members
        if isinstance(members, AsyncIterable):
            self._async = aiter(members)
        else:
            self._sync = iter(members)
        self._lock = asyncio.Lock()

    async def next(self) -> T | None:
        """Return the next member, ``None`` at the end."""
        if self._sync is not None:
            return next(self._sync, None)
        # An asynchronous generator can't be asked again before it has answered.
        async with self._lock:
            if self._async is None:
                return None
            try:
                return await anext(self._async)
            except StopAsyncIteration:
                self._async = None
                return None

    def end(self) -> None:
        """Hand out nothing more."""
        self._sync, self._async = None, None

    async def aclose(self) -> None:
        """Close the generator that is read, if it is one, so that its `finally` blocks run here."""
        source, self._async = self._source, None
        if isinstance(source, AsyncGenerator):
            await source.aclose()
        elif isinstance(source, Generator):
            source.close()


async def run_side_by_side(  # noqa: PLR0913 - what to run, how, and who is told
    run_id: str,
    places: Places,
    prepare: Callable[[Rollout], PreparedRollout],
    concurrency: int,
    ended: Ended,
    *,
    count: int | None = None,
    go_on: bool = True,
) -> int:
    """Execute rollouts side by side until all of them are durable, and return how many began.

    Those that a budget stopped aren't told of. ``count`` is the number of the rollouts, ``None``
    if nobody knows. Unless they ``go_on``, nothing more is read once a budget has stopped one.
    """
    feed = Feed(places)
    began = 0

    async def work() -> None:
        nonlocal began
        while (place := await feed.next()) is not None:
            position, rollout = place
            began += 1
            try:
                finished = await prepare(rollout).execute(run_id, rollout, position)
            except BudgetExceeded:
                if not go_on:
                    feed.end()
                continue
            await finished.durable()
            ended(position, rollout, finished)

    # Not one task for each rollout, but for twice as many as may be open: half of them wait for
    # their records to become durable, so the other half keeps all slots busy. A hundred thousand
    # rollouts then cost no more memory at once than a hundred.
    workers = 2 * concurrency - 1 if count is None else min(2 * concurrency - 1, count)
    try:
        await gather_strict([work() for _ in range(workers)])
    finally:
        await feed.aclose()
    return began
