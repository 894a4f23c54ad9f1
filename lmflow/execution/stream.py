"""A run whose outputs are read as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Self

from lmflow.execution.call import OnText
from lmflow.interpreter.partial import JsonReader, MarkerReader, Partial, Source, again, reading
from lmflow.traces.trace import Trace


class Streaming:
    """The texts of a run's outputs as they come, as an async iterator of ``Partial``; at its end
    ``trace`` is there.

    Letting go of it (``aclose``, leaving ``async with``, dropping it) stops the run, which is
    recorded as stopped.
    """

    def __init__(self, run: Callable[[OnText], Coroutine[Any, Any, Trace]]) -> None:
        asyncio.get_running_loop()  # before there is a coroutine that nobody would await
        self._parts: asyncio.Queue[Partial | None] = asyncio.Queue()
        self.task = asyncio.create_task(run(listening(self._parts)))
        self.task.add_done_callback(_ending(self._parts))

    def __aiter__(self) -> Self:
        """Itself: a stream is read once."""
        return self

    async def __anext__(self) -> Partial:
        """The next piece. Raises what the run raised, after the last."""
        part = await self._parts.get()
        if part is not None:
            return part
        self._parts.put_nowait(None)
        if self.task.cancelled():
            raise StopAsyncIteration
        self.task.result()
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        """The stream itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the run if it goes on."""
        await self.aclose()

    def __del__(self) -> None:
        task = getattr(self, "task", None)  # there is none where there was no loop to run it
        if task is not None and not task.done() and not task.get_loop().is_closed():
            task.cancel()

    @property
    def trace(self) -> Trace:
        """The trace, once the run has ended. Raises what the run raised; ``RuntimeError`` while it
        goes on.
        """
        if not self.task.done():
            msg = "the run goes on: read the stream to its end, `async for part in stream`, then there is a trace"
            raise RuntimeError(msg)
        return self.task.result()

    async def aclose(self) -> None:
        """Stop the run if it goes on, and wait until it has stopped."""
        self.task.cancel()
        await asyncio.wait([self.task])


def listening(parts: asyncio.Queue[Partial | None]) -> OnText:
    """What puts the pieces of a run's outputs into a queue, as they come."""
    readings: dict[str, tuple[Source, MarkerReader | JsonReader]] = {}

    def hear(source: Source, text: str | None) -> None:
        step = source.address.rpartition("/")[0]
        void: tuple[Partial, ...] = ()
        if step not in readings:
            readings[step] = source, reading(source)
        elif readings[step][0] is not source:
            begun, void = again(readings[step][1], source)
            readings[step] = source, begun
        now, found = readings[step][1].fed(text or "", last=text is None)
        readings[step] = source, now
        for part in (*void, *found):
            parts.put_nowait(part)

    return hear


def _ending(parts: asyncio.Queue[Partial | None]) -> Callable[[asyncio.Task[Trace]], None]:
    def ended(task: asyncio.Task[Trace]) -> None:
        if not task.cancelled():
            task.exception()
        parts.put_nowait(None)

    return ended
