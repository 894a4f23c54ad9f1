"""The parts of an executor that belong to one event loop: its connections, slots and batches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from lmflow.errors import OtherEventLoop
from lmflow.execution.batching_writer import BatchingWriter
from lmflow.models.transport.http import HttpSession


class LoopResources:
    """Binds an executor to the event loop that it runs in, and to a later one once that is closed,
    so that one executor serves several ``asyncio.run``.
    """

    def __init__(self, http: HttpSession, writer: BatchingWriter, concurrency: int) -> None:
        self._http, self._writer, self._concurrency = http, writer, concurrency
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closer: AsyncGenerator[None] | None = None
        self.slots = asyncio.Semaphore(concurrency)
        self.at_work = 0
        """The calls that hold a slot, but for those that wait for the budget."""

    async def enter(self) -> None:
        """Bind to the running loop. Raises ``OtherEventLoop`` if the executor is bound to another
        loop that is not closed.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None:
            if not self._loop.is_closed():
                state = "is running" if self._loop.is_running() else "is not closed"
                raise OtherEventLoop(state)
            # What waited in the closed loop is gone with it, but what it recorded is not.
            self._writer.rebind()
            self._http.drop()
            self.slots, self.at_work = asyncio.Semaphore(self._concurrency), 0
        self._loop = loop
        self._closer = _close_with_loop(self._http)
        await anext(self._closer)

    @contextlib.contextmanager
    def idle(self) -> Iterator[None]:
        """Count a call that holds a slot as not at work until the block ends."""
        self.at_work -= 1
        try:
            yield
        finally:
            self.at_work += 1

    async def aclose(self) -> None:
        """Close the connections."""
        if self._closer is not None:
            await self._closer.aclose()
        await self._http.close()


# `asyncio.run` closes the asynchronous generators of its loop before it closes the loop. That is
# the only moment at which connections that nobody closed can still be closed: sockets of a closed
# loop leak, with a warning, and requests over them fail.
async def _close_with_loop(http: HttpSession) -> AsyncGenerator[None]:
    """Close the connections when the generator is closed: by ``aclose`` or at the loop's end."""
    try:
        yield
    finally:
        await http.close()


def ends_the_task(error: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Tell whether an exception that left the code of a model or tool is meant for the task that
    runs it: Ctrl-C, a cancellation of the task, or the end of its coroutine.
    """
    if isinstance(error, KeyboardInterrupt):
        return True
    if isinstance(error, asyncio.CancelledError):
        return task is None or task.cancelling() > 0
    # A coroutine is closed from outside its task; code inside the task raised its own.
    return isinstance(error, GeneratorExit) and (task is None or task is not _current_task())


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs any more
        return None
