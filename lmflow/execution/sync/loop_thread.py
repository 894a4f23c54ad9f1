"""An event loop in a thread of its own, whose coroutines other threads wait for."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

_SECONDS_BETWEEN_LOOKS = 0.05
_IN_ITS_OWN_LOOP = (
    "it waits in its own event loop, which would stand still. "
    "In a flow: await step(...); a metric asks no model: lf.Judge(program, ...)."
)

_OF_ANOTHER_PROCESS = (
    "this lf.Sync began in the process that was forked: its thread stayed there. "
    "Make one in each process: with lf.Sync(model, store) as ex: ..."
)

T = TypeVar("T")


class LoopThread:
    """An event loop that runs in a daemon thread from the first call until ``end``."""

    _stop: asyncio.Event

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread()
        self._lock = threading.Lock()
        self._cancellations: WeakKeyDictionary[asyncio.Task[Any], int] = WeakKeyDictionary()
        self.ended = False

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this thread."""
        return threading.current_thread() is self._thread

    def wait(self, go: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function in the loop and block until it returns.

        If the wait is broken off, by Ctrl-C or because the task that waits is cancelled, the
        coroutine is cancelled, and the wait goes on until it has ended.

        Raises:
            RuntimeError: The thread has ended, is one of the process that was forked, or the
                caller runs in the loop itself.
            BaseException: What the coroutine raised.
        """
        if self.is_current:
            raise RuntimeError(_IN_ITS_OWN_LOOP)
        call = _Call(go)
        self._check_cancelled()
        self._begin(call)
        try:
            while not call.ended.wait(_SECONDS_BETWEEN_LOOKS):
                self._check_cancelled()
        except BaseException:
            self.soon(call.cancel)
            call.ended.wait()
            raise
        return call.result()

    def soon(self, function: Callable[[], object]) -> None:
        """Call a function in the loop, without waiting; do nothing if the loop does not run."""
        with self._lock:
            if self._loop is not None and not self.ended:
                self._loop.call_soon_threadsafe(function)

    def end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a last coroutine function, end the loop and wait for both; raise what it raised.
        Without effect if the loop has ended or never began.

        In the loop's own thread, where the garbage collector may call it, it does not wait.
        """
        errors: list[BaseException] = []
        with self._lock:
            loop, is_over = self._loop, self.ended
            self.ended = True
            if loop is None or is_over or self._is_left_behind:
                return
            loop.call_soon_threadsafe(self._finish, last, errors)
        if not self.is_current:
            self.join()
            if errors:
                raise errors[0]

    # A fork copies the object but not its thread, so that a call would wait for ever.
    @property
    def _is_left_behind(self) -> bool:
        """Whether the process was forked after the thread began."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Wait until the thread, whose end has begun, is over."""
        self._thread.join()

    # In a running loop Ctrl-C cancels the task instead of raising in its thread, so a plain wait
    # would never see it. The count outlasts the call: a Ctrl-C between two calls stops the second.
    def _check_cancelled(self) -> None:
        """Raise ``CancelledError`` if the task that waits was cancelled since it first waited here,
        once for each cancellation.
        """
        task = _current_task()
        if task is None:
            return
        count, seen = task.cancelling(), self._cancellations.setdefault(task, task.cancelling())
        self._cancellations[task] = count
        if count > seen:
            raise asyncio.CancelledError

    # Calls are scheduled under the lock, so that none comes after the end, in which it would wait
    # for ever.
    def _begin(self, call: _Call[Any]) -> None:
        """Schedule a call; the first one starts the thread."""
        with self._lock:
            if self.ended:
                msg = "this lf.Sync is closed. Make another: with lf.Sync(model, store) as ex: ..."
                raise RuntimeError(msg)
            if self._loop is None:
                self._loop = self._start()
            elif self._is_left_behind:
                raise RuntimeError(_OF_ANOTHER_PROCESS)
            self._loop.call_soon_threadsafe(call.begin)

    def _start(self) -> asyncio.AbstractEventLoop:
        started = threading.Event()
        loops: list[asyncio.AbstractEventLoop] = []

        async def serve() -> None:
            loops.append(asyncio.get_running_loop())
            self._stop = asyncio.Event()
            started.set()
            await self._stop.wait()

        self._thread = threading.Thread(
            target=lambda: asyncio.run(serve()), name="lmflow-sync", daemon=True
        )
        self._thread.start()
        started.wait()
        return loops[0]

    def _finish(
        self, last: Callable[[], Coroutine[Any, Any, None]], errors: list[BaseException]
    ) -> None:
        """Run the last coroutine function in the loop, then stop the loop."""

        async def finish() -> None:
            try:
                await last()
            except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
                errors.append(error)
            finally:
                self._stop.set()

        self._last = asyncio.get_running_loop().create_task(finish())


class _Call(Generic[T]):
    """A coroutine function that a loop runs for another thread. Its methods belong to the loop's
    thread, but ``result``.
    """

    def __init__(self, go: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._go = go
        # A notebook shows what is printed under the cell that the context names.
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[T] | None = None
        self.ended = threading.Event()

    def begin(self) -> None:
        """Start the coroutine."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), context=self._context)
        self._task.add_done_callback(lambda _: self.ended.set())

    def cancel(self) -> None:
        """Cancel the coroutine, which has begun."""
        assert self._task is not None  # noqa: S101 - the loop keeps the order of its callbacks
        self._task.cancel()

    # In a coroutine of its own, so that a call with wrong arguments fails in the task too.
    async def _run(self) -> T:
        return await self._go()

    def result(self) -> T:
        """Return what the coroutine returned, or raise what it raised."""
        assert self._task is not None  # noqa: S101 - it has ended
        return self._task.result()


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
