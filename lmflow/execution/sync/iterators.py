"""The asynchronous iterators of an executor as ordinary ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Never, Self, TypeVar

from lmflow.execution.events import Listener, Missed
from lmflow.execution.stream import Streaming
from lmflow.execution.sync.loop_thread import LoopThread
from lmflow.interpreter.partial import Partial
from lmflow.traces.events import Event
from lmflow.traces.trace import Trace

T = TypeVar("T")


class SyncStream(Iterator[Partial]):
    """The texts of a run's outputs while they arrive; at its end ``trace`` is there.

    Letting go of it (``close``, leaving ``with``, Ctrl-C, dropping it) stops the run, which is
    recorded as stopped.
    """

    # `owner` keeps the Sync alive, whose end would end the thread.
    def __init__(self, stream: Streaming, thread: LoopThread, owner: object) -> None:
        self._stream, self._thread, self._owner = stream, thread, owner

    def __next__(self) -> Partial:
        """Return the next piece. After the last it raises what the run raised, if it failed."""
        try:
            part = self._thread.wait(lambda: _next(self._stream))
        except (KeyboardInterrupt, SystemExit):
            self.close()
            raise
        if part is None:
            raise StopIteration
        return part

    def __aiter__(self) -> Never:
        """Raise ``TypeError``: it is read without ``async``."""
        msg = "lf.Sync is for plain code: for part in stream. In async code: lf.Executor(...)"
        raise TypeError(msg)

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the run if it is not over."""
        self.close()

    # The stream's own `__del__` cancels its task, which only the loop's thread may do: the last
    # reference is dropped there.
    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None:
            self._thread.soon(stream.task.cancel)

    @property
    def trace(self) -> Trace:
        """The trace, once the run is over. Raises what the run raised, and ``RuntimeError`` before
        its end.
        """
        if not self._stream.task.done():
            msg = (
                "the run goes on: read the stream to its end, `for part in stream`,"
                " then there is a trace"
            )
            raise RuntimeError(msg)
        return self._stream.trace

    def close(self) -> None:
        """Stop the run if it is not over, and wait until it has stopped."""
        if not self._thread.ended:
            self._thread.wait(self._stream.aclose)


class SyncListener(Iterator["Event | Missed"]):
    """The events since the listener was made, in order. Reading blocks until there is one, so that
    a thread of its own should read; it ends when the executor closes.
    """

    def __init__(self, listener: Listener, thread: LoopThread, owner: object) -> None:
        self._listener, self._thread, self._owner = listener, thread, owner

    def __next__(self) -> Event | Missed:
        """Return the next event, or the number of events lost before it."""
        event = self._wait()
        if event is None:
            raise StopIteration
        return event

    # The executor may close while a thread waits here; what was queued by then is still read.
    def _wait(self) -> Event | Missed | None:
        try:
            return self._thread.wait(lambda: _next(self._listener))
        except (RuntimeError, asyncio.CancelledError):
            if not self._thread.ended:
                raise
            self._thread.join()
            return _left(self._listener)


def _left(listener: Listener) -> Event | Missed | None:
    """Return the next event of a closed listener, which waits for nothing; ``None`` at its end."""
    reading = _next(listener)
    try:
        reading.send(None)
    except StopIteration as end:
        event: Event | Missed | None = end.value
        return event
    msg = "a closed listener waits for nothing"
    raise AssertionError(msg)


async def _next(iterator: AsyncIterator[T]) -> T | None:
    """Return the next item of an asynchronous iterator, ``None`` at its end."""
    return await anext(iterator, None)
