"""Limits of a server, and the gate that enforces them."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any

import attrs

from lmflow.errors import Refused
from lmflow.execution.budget import Budget

LONGEST_RETRY = 60
"""The longest ``Retry-After``, in seconds."""
_NEWEST_WEIGHT = 0.1


def _at_least(least: int) -> Any:
    def check(limits: object, field: attrs.Attribute[Any], value: float | None) -> None:
        del limits
        if value is not None and not value >= least:
            msg = f"Limits({field.name}=...) must be at least {least}, found {value!r}"
            raise ValueError(msg)

    return check


@attrs.frozen
class Limits:
    """The limits of a server.

    Args:
        body: Bytes of a request's body.
        concurrency: Executions at once.
        queue: Requests that may wait for their turn.
        timeout: Seconds that a request may wait, and seconds that its execution may take; ``None``
            for no bound.
        budget: The budget of each execution.
        connections: Connections at once; some more are open for ``/healthz`` alone.
        header_timeout: Seconds that a client has for the line and headers of a request.

    Raises:
        ValueError: If a limit is too small.

    Example:
        >>> import lmflow as lf
        >>> lf.serve.Limits(concurrency=8, queue=32).concurrency
        8
    """

    body: int = attrs.field(default=1_000_000, validator=_at_least(1))
    concurrency: int = attrs.field(default=64, validator=_at_least(1))
    queue: int = attrs.field(default=256, validator=_at_least(0))
    timeout: float | None = attrs.field(default=60.0, validator=_at_least(0))
    budget: Budget | None = None
    connections: int = attrs.field(default=1000, validator=_at_least(1))
    header_timeout: float = attrs.field(default=10.0, validator=_at_least(0))


DEFAULT_LIMITS = Limits()


class AdmissionGate:
    """Admits ``concurrency`` requests at once, first come first served, and lets ``queue`` more
    wait.

    ``Refused`` (busy) if the queue is full or the wait too long, with the seconds until there may
    be room; ``Refused`` (stopping) once the gate is shut, or if the request is cut off.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._requests: set[asyncio.Task[Any]] = set()
        self._cut: set[asyncio.Task[Any]] = set()
        self._shut = False
        self._mean_seconds = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self.waiting = 0

    @property
    def open(self) -> int:
        """The number of requests that are executed."""
        return len(self._requests) - self.waiting

    @property
    def stopping(self) -> bool:
        """True once the gate is shut."""
        return self._shut

    @contextlib.asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Waits for the request's turn, which lasts as long as the block."""
        if self._shut:
            raise _stopping()
        if self._slots.locked() and self.waiting >= self._limits.queue:
            raise self._busy(f"{self.open} requests are executed and {self.waiting} wait")
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._requests.add(task)
        self._idle.clear()
        try:
            await self._wait_for_slot()
            started = task.get_loop().time()
            try:
                yield
            finally:
                self._slots.release()
                seconds = task.get_loop().time() - started
                self._mean_seconds += _NEWEST_WEIGHT * (seconds - self._mean_seconds)
        except asyncio.CancelledError:
            # Only a cancellation by `cut` becomes a 503. If the client went away too, the task has
            # a second cancellation pending, which must go on, else the task would outlive it.
            if task not in self._cut or task.uncancel():
                raise
            raise _stopping() from None
        finally:
            self._cut.discard(task)
            self._requests.discard(task)
            if not self._requests:
                self._idle.set()

    def shut(self) -> None:
        """Admits no more requests; those that are executed or wait stay."""
        self._shut = True

    async def empty(self) -> None:
        """Waits until no request is executed or waits."""
        await self._idle.wait()

    def cut(self) -> int:
        """Cuts off all requests, and returns their number."""
        for task in self._requests - self._cut:
            self._cut.add(task)
            task.cancel()
        return len(self._cut)

    async def _wait_for_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # at once: no wait needs a bound
            return
        self.waiting += 1
        try:
            async with asyncio.timeout(self._limits.timeout):
                await self._slots.acquire()
        except TimeoutError:
            raise self._busy(f"it waited {self._limits.timeout:g} s for its turn") from None
        finally:
            self.waiting -= 1

    def _busy(self, problem: str) -> Refused:
        ahead = (self.waiting + 1) / self._limits.concurrency
        seconds = min(LONGEST_RETRY, max(1, math.ceil(self._mean_seconds * ahead)))
        return Refused("busy", f"the server is busy: {problem}. Try again in {seconds} s.", seconds)


def _stopping() -> Refused:
    return Refused("stopping", "the server is stopping. Try again in 5 s.", 5)
