"""Batches events for the recorder and tells who waits when each batch is durable."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from lmflow.errors import LmflowError, StoreError
from lmflow.traces.events import Event
from lmflow.traces.store import GroupRecorder, Recorder

LONGEST_WAIT = 0.02
"""Seconds after which events are handed over, if nobody has waited for them by then."""


class WriteReceipt:
    """Stands for a batch of events that the recorder writes whole or not at all."""

    __slots__ = ("_error", "_hasten", "_settled", "_waiters", "events")

    def __init__(self, hasten: Callable[[], None] | None = None) -> None:
        self.events: list[Event] = []
        self._hasten = hasten
        self._waiters: list[asyncio.Future[None]] = []
        self._settled = False
        self._error: BaseException | None = None

    async def durable(self) -> None:
        """Wait until the batch is durable. Raises ``StoreError`` if it could not be written."""
        if not self._settled:
            if self._hasten is not None:
                self._hasten()
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self._error is not None:
            raise self._error

    @property
    def is_settled(self) -> bool:
        """Tell whether the outcome of the write is known."""
        return self._settled

    def check(self) -> None:
        """Raise the error of the write if it is known already: a store that is only read refuses
        events at once, before anything is sent.
        """
        if self._error is not None:
            raise self._error

    def handed_over(self) -> None:
        """Note that the recorder has the batch."""
        self._hasten = None

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
    """Hands events to the recorder in batches, in order: at the end of the turn of the event loop
    in which somebody waits for one of them, or ``LONGEST_WAIT`` later.
    """

    # Each batch costs a commit. Nobody waits for the start of a call, unless there is a budget, so
    # it is committed with the reply to the call, if that comes soon; and 64 open calls don't commit
    # one by one what ends in one turn of the loop.
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._groups = recorder if isinstance(recorder, GroupRecorder) else None
        self._batches: list[WriteReceipt] = []
        self._takes_more = False
        self._last: WriteReceipt | None = None
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._outcomes: deque[tuple[WriteReceipt, BaseException | None]] = deque()
        self._wake_up_scheduled = False

    def add(self, events: Iterable[Event]) -> WriteReceipt:
        """Add events to the open batch and return its receipt."""
        if not self._takes_more:
            self._open_batch()
        receipt = self._batches[-1]
        receipt.events += events
        return receipt

    # A store may refuse an event (a ref that may not move, a version that is damaged). In a batch
    # of its own such an event can't take the calls beside it down with it.
    def add_alone(self, events: Iterable[Event]) -> WriteReceipt:
        """Add events as a batch of their own. A store that takes none at all says so at once, by
        ``WriteReceipt.check``.
        """
        self._takes_more = False
        receipt = self.add(events)
        self._takes_more = False
        if self._groups is None:
            self.flush()
            return receipt
        try:
            self._groups.check_open()
        except LmflowError:
            self.flush()
        return receipt

    def _open_batch(self) -> None:
        self._batches.append(WriteReceipt(self._hasten))
        self._takes_more = True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LONGEST_WAIT, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        self.flush()

    def _hasten(self) -> None:
        """Hand over what there is at the end of this turn of the loop."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Hand over what there is, if anything, to the recorder."""
        batches, self._batches = self._batches, []
        self._takes_more = self._is_due = False
        if not batches:
            return
        self._last = batches[-1]
        for receipt in batches:
            receipt.handed_over()
        if self._groups is None:
            for receipt in batches:
                self._append(receipt)
            return
        try:
            written = self._groups.append_groups([receipt.events for receipt in batches])
        except LmflowError as error:
            _settle(batches, error)
            return
        except BaseException:  # Ctrl-C: what is handed over is written, but nobody hears of it
            _settle(batches, StoreError("the store", "writing was interrupted", "Run it again."))
            raise
        for receipt, future in zip(batches, written, strict=True):
            self._expect(receipt, future)

    def _append(self, receipt: WriteReceipt) -> None:
        try:
            written = self._recorder.append(*receipt.events)
        except LmflowError as error:
            receipt.settle(error)
        else:
            self._expect(receipt, written)

    def _expect(self, receipt: WriteReceipt, written: Future[None]) -> None:
        if written.done():
            receipt.settle(written.exception())
            return
        loop = asyncio.get_running_loop()
        written.add_done_callback(lambda future: self._hand_over(loop, receipt, future.exception()))

    @property
    def settled(self) -> bool:
        """Tell whether every event is durable, or known not to be written."""
        return not self._batches and (self._last is None or self._last.is_settled)

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
        while self._outcomes:
            receipt, error = self._outcomes.popleft()
            receipt.settle_unheard(error)
        self._wake_up_scheduled = False
        self._timer = None
        self.flush()

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
            try:
                loop.call_soon_threadsafe(self._settle_all)
            except RuntimeError:  # it was closed meanwhile
                self._wake_up_scheduled = False
                receipt.settle_unheard(error)

    # The flag falls before the queue is read: a batch settled meanwhile schedules another wake-up,
    # which may find nothing, but no batch is ever left waiting.
    def _settle_all(self) -> None:
        self._wake_up_scheduled = False
        while self._outcomes:
            receipt, error = self._outcomes.popleft()
            receipt.settle(error)


def _settle(receipts: Iterable[WriteReceipt], error: BaseException) -> None:
    for receipt in receipts:
        receipt.settle(error)
