"""The signals that tell a server to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def signals() -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Set at the first SIGTERM or Ctrl-C, and at the second, while the block lasts. In the main
    thread's loop only.
    """
    loop, events = asyncio.get_running_loop(), (asyncio.Event(), asyncio.Event())
    stop, now = events

    def heed(*_: object) -> None:
        loop.call_soon_threadsafe((now if stop.is_set() else stop).set)

    before = {number: signal.signal(number, heed) for number in STOPPING}
    try:
        yield events
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
