"""What a server takes on at once: bounds as values, and the gate that keeps them."""

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
_WEIGHT = 0.1  # of the newest time in the mean of times


def _from(least: int) -> Any:
    def checked(holder: object, field: attrs.Attribute[Any], value: float | None) -> None:
        del holder
        if value is not None and not value >= least:
            msg = f"Limits({field.name}=...) must be at least {least}, found {value!r}"
            raise ValueError(msg)

    return checked


@attrs.frozen
class Limits:
    """The bounds of a server.

    ``body``: bytes of a request; ``concurrency``: executions at once; ``queue``: requests that may
    wait for their turn beside them, at most ``timeout`` seconds; ``timeout`` and ``budget`` are
    also those of each execution.
    """

    body: int = attrs.field(default=1_000_000, validator=_from(1))
    concurrency: int = attrs.field(default=64, validator=_from(1))
    queue: int = attrs.field(default=256, validator=_from(0))
    timeout: float | None = attrs.field(default=60.0, validator=_from(0))
    budget: Budget | None = None


STANDARD = Limits()


class Gate:
    """Lets ``concurrency`` in at once, in the order in which they came, and ``queue`` more wait.

    ``Refused`` as busy is who finds the queue full or waits too long, with the seconds until there
    may be room; as stopping, who comes after it was shut, or is cut off.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._inside: set[asyncio.Task[Any]] = set()
        self._cut: set[asyncio.Task[Any]] = set()
        self._shut = False
        self._mean = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self.waiting = 0

    @property
    def open(self) -> int:
        """How many are inside."""
        return len(self._inside) - self.waiting

    @property
    def stopping(self) -> bool:
        """Whether it is shut."""
        return self._shut

    @contextlib.asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Inside while the block lasts."""
        if self._shut:
            raise _stopping()
        if self._slots.locked() and self.waiting >= self._limits.queue:
            raise self._busy(f"{self.open} requests are executed and {self.waiting} wait")
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it runs as one
        self._inside.add(task)
        self._idle.clear()
        try:
            await self._turn()
            began = task.get_loop().time()
            try:
                yield
            finally:
                self._slots.release()
                self._mean += _WEIGHT * (task.get_loop().time() - began - self._mean)
        except asyncio.CancelledError:
            if task not in self._cut or task.uncancel():
                raise
            raise _stopping() from None
        finally:
            self._cut.discard(task)
            self._inside.discard(task)
            if not self._inside:
                self._idle.set()

    def shut(self) -> None:
        """Let nobody in any more; who is inside or waits stays."""
        self._shut = True

    async def empty(self) -> None:
        """Wait until nobody is inside and nobody waits."""
        await self._idle.wait()

    def cut(self) -> int:
        """Cut off who is inside or waits; how many they were."""
        for task in self._inside - self._cut:
            self._cut.add(task)
            task.cancel()
        return len(self._cut)

    async def _turn(self) -> None:
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
        seconds = min(LONGEST_RETRY, max(1, math.ceil(self._mean * ahead)))
        return Refused("busy", f"the server is busy: {problem}. Try again in {seconds} s.", seconds)


def _stopping() -> Refused:
    return Refused("stopping", "the server is stopping. Try again in 5 s.", 5)
