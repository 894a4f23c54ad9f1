"""Batches events for the recorder and tells who waits when each batch is durable."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from lmflow.errors import LmflowError
from lmflow.traces.events import Event
from lmflow.traces.store import Recorder


class WriteReceipt:
    """Stands for a batch of events that the recorder writes whole or not at all."""

    __slots__ = ("_error", "_settled", "_waiters", "events")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._settled = False
        self._error: BaseException | None = None

    async def durable(self) -> None:
        """Wait until the batch is durable. Raises ``StoreError`` if it could not be written."""
        if not self._settled:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self._error is not None:
            raise self._error

    def check(self) -> None:
        """Raise the error of the write if it is known already: a store that is only read refuses
        events at once, before anything is sent.
        """
        if self._error is not None:
            raise self._error

    def settle(self, error: BaseException | None) -> None:
        """Set the outcome of the write and wake the coroutines that wait for it."""
        self._settled, self._error = True, error
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def settle_unheard(self, error: BaseException | None) -> None:
        """Set the outcome of the write after the loop of the coroutines that waited was closed."""
        self._settled, self._error = True, error
        self._waiters.clear()


class BatchingWriter:
    """Hands the events of one turn of the event loop to the recorder as one batch, in order."""

    # Each batch costs a lock, a queue entry and a wake-up from the recorder's thread. One batch for
    # each event would cost more than writing it, and 64 open calls would wake the loop 64 times for
    # what the recorder commits in one transaction.
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._batch: WriteReceipt | None = None
        self._last: WriteReceipt | None = None
        self._outcomes: deque[tuple[WriteReceipt, BaseException | None]] = deque()
        self._wake_up_scheduled = False

    def add(self, events: Iterable[Event]) -> WriteReceipt:
        """Add events to this turn's batch and return its receipt."""
        if self._batch is None:
            self._batch = WriteReceipt()
            asyncio.get_running_loop().call_soon(self.flush)
        self._batch.events += events
        return self._batch

    def flush(self) -> None:
        """Hand the open batch, if there is one, to the recorder."""
        receipt, self._batch = self._batch, None
        if receipt is None:
            return
        self._last = receipt
        try:
            written = self._recorder.append(*receipt.events)
        except LmflowError as error:
            receipt.settle(error)
            return
        if written.done():
            receipt.settle(written.exception())
        else:
            loop = asyncio.get_running_loop()
            written.add_done_callback(
                lambda future: self._hand_over(loop, receipt, future.exception())
            )

    # Asking the recorder would fail if it was closed meanwhile, though closing wrote everything. It
    # is asked only if the last batch failed: by its own events, or since the store can't write.
    async def written(self) -> None:
        """Wait until every event is settled; batches are written in order, so the last one tells.

        Raises ``StoreError`` if the store can't write any more.
        """
        self.flush()
        if self._last is None:
            return
        try:
            await self._last.durable()
        except LmflowError:
            empty = self.add(())
            self.flush()
            await empty.durable()

    def rebind(self) -> None:
        """Go on in another event loop: hand over what the last one left, and expect no wake-up of
        it.
        """
        self.flush()
        self._outcomes.clear()
        self._wake_up_scheduled = False

    # Called on the recorder's thread. Futures of the loop may only be touched on the loop's own
    # thread, and one wake-up serves all batches that are settled before the loop gets to it.
    def _hand_over(
        self, loop: asyncio.AbstractEventLoop, receipt: WriteReceipt, error: BaseException | None
    ) -> None:
        if loop.is_closed():
            receipt.settle_unheard(error)
            return
        self._outcomes.append((receipt, error))
        if not self._wake_up_scheduled:
            self._wake_up_scheduled = True
            loop.call_soon_threadsafe(self._settle_all)

    # The flag falls before the queue is read: a batch settled meanwhile schedules another wake-up,
    # which may find nothing, but no batch is ever left waiting.
    def _settle_all(self) -> None:
        self._wake_up_scheduled = False
        while self._outcomes:
            receipt, error = self._outcomes.popleft()
            receipt.settle(error)
