"""Signals that stop a server: SIGTERM and Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def stop_signals() -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Two events while the block lasts: the first signal sets one, the second signal the other.

    Works in the main thread's event loop only.
    """
    loop, events = asyncio.get_running_loop(), (asyncio.Event(), asyncio.Event())
    stop, stop_now = events

    def on_signal(*_: object) -> None:
        # A handler may run between any two bytecodes, so it only wakes the loop: setting an event
        # here could be lost while the loop waits in select().
        loop.call_soon_threadsafe((stop_now if stop.is_set() else stop).set)

    handlers = {number: signal.signal(number, on_signal) for number in STOPPING}
    try:
        yield events
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
