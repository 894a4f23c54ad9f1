"""A run whose outputs are read while they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Self

from lmflow.execution.listening import OnText
from lmflow.interpreter.pacing import PacedReader
from lmflow.interpreter.partial import Partial, ReplySource, new_reader, restart_reader
from lmflow.traces.trace import Trace


class Streaming:
    """The texts of a run's outputs while they arrive, as an async iterator of ``Partial``; at its
    end ``trace`` is there.

    Letting go of it (``aclose``, leaving ``async with``, dropping it) stops the run, which is
    recorded as stopped.
    """

    def __init__(self, run: Callable[[OnText], Coroutine[Any, Any, Trace]]) -> None:
        # Without a loop this raises before `run` makes a coroutine that nobody would await.
        _check_loop()
        self._parts: asyncio.Queue[Partial | None] = asyncio.Queue()
        self.task = asyncio.create_task(run(queue_parts(self._parts)))
        self.task.add_done_callback(_end_queue(self._parts))

    def __aiter__(self) -> Self:
        """Return the stream itself; it is read once."""
        return self

    async def __anext__(self) -> Partial:
        """Return the next piece. After the last it raises what the run raised, if it failed."""
        part = await self._parts.get()
        if part is not None:
            return part
        self._parts.put_nowait(None)
        if self.task.cancelled():
            raise StopAsyncIteration
        self.task.result()
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the run if it is not over."""
        await self.aclose()

    def __del__(self) -> None:
        task = getattr(self, "task", None)  # without a loop __init__ raised before there was one
        if task is not None and not task.done() and not task.get_loop().is_closed():
            task.cancel()

    @property
    def trace(self) -> Trace:
        """The trace, once the run is over. Raises what the run raised, and ``RuntimeError`` before
        its end.
        """
        if not self.task.done():
            msg = (
                "the run goes on: read the stream to its end, `async for part in stream`,"
                " then there is a trace"
            )
            raise RuntimeError(msg)
        return self.task.result()

    async def aclose(self) -> None:
        """Stop the run if it is not over, and wait until it has stopped."""
        self.task.cancel()
        await asyncio.wait([self.task])


def _check_loop() -> None:
    """Raise ``RuntimeError`` with the line for plain code if no event loop runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        fix = "In plain code: with lf.Sync(model) as ex: for part in ex.stream(program, ...): ..."
        msg = f"a stream needs a running event loop. {fix}"
        raise RuntimeError(msg) from None


def queue_parts(parts: asyncio.Queue[Partial | None]) -> OnText:
    """Return a listener that reads replies and queues the pieces of the outputs."""
    readings: dict[str, tuple[ReplySource, PacedReader]] = {}

    # A step that retries sends again under the same address: the new reply's source is another
    # object, and what was shown of the old reply is taken back.
    def on_text(source: ReplySource, text: str | None) -> None:
        step = source.address.rpartition("/")[0]
        retractions: tuple[Partial, ...] = ()
        if step not in readings:
            readings[step] = source, PacedReader(new_reader(source))
        elif readings[step][0] is not source:
            reader, retractions = restart_reader(readings[step][1].reader, source)
            readings[step] = source, PacedReader(reader)
        pieces = readings[step][1].feed(text or "", last=text is None)
        for part in (*retractions, *pieces):
            parts.put_nowait(part)

    return on_text


def _end_queue(parts: asyncio.Queue[Partial | None]) -> Callable[[asyncio.Task[Trace]], None]:
    def on_done(task: asyncio.Task[Trace]) -> None:
        # Reading the exception keeps asyncio from logging it: whoever reads the stream gets it.
        if not task.cancelled():
            task.exception()
        parts.put_nowait(None)

    return on_done
