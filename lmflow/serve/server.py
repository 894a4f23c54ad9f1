"""A server from its beginning to its end: it listens, and when it is told to stop, it ends what is
open first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs
from aiohttp import web

from lmflow.errors import Unservable
from lmflow.serve.limits import Gate
from lmflow.serve.signals import signals

_FLUSH = 5.0  # seconds for the last bytes of answers


@attrs.frozen
class Ended:
    """How a server ended: how many requests were open when it was told to stop, and how many of
    them were cut off.
    """

    open: int
    cut: int


@attrs.frozen
class Heed:
    """What is told of a server: the address when it listens, and how many requests are open when it
    begins to stop.
    """

    started: Callable[[str], None]
    stopping: Callable[[int], None]


async def serve(
    application: web.Application, gate: Gate, at: tuple[str, int], *, grace: float, heed: Heed
) -> Ended:
    """Serve an application at a host and port until SIGTERM or Ctrl-C; then what is open has
    ``grace`` seconds, or until a second signal.

    Nobody is let in meanwhile. What is cut off is on record as stopped, and its client is told. Who
    goes away stops what was begun for them. ``Unservable`` where the address can't be had.
    """
    runner = web.AppRunner(
        application, handler_cancellation=True, access_log=None, shutdown_timeout=_FLUSH
    )
    await runner.setup()
    try:
        with signals() as (stop, now):
            site = await _listening(runner, *at)
            heed.started(_address(*runner.addresses[0][:2]))
            await stop.wait()
            gate.shut()
            await site.stop()
            opened = gate.open + gate.waiting
            heed.stopping(opened)
            return Ended(opened, await _emptied(gate, now, grace))
    finally:
        await runner.cleanup()


async def _listening(runner: web.AppRunner, host: str, port: int) -> web.TCPSite:
    site = web.TCPSite(runner, host, port, backlog=1024)
    try:
        await site.start()
    except OSError as error:
        fix = "Give another, --port, or --port 0 for any that is free."
        raise Unservable(
            f"{host}:{port}", f"it can't be listened on ({error.strerror or error})", fix
        ) from None
    return site


async def _emptied(gate: Gate, now: asyncio.Event, grace: float) -> int:
    """Wait until nobody is inside, at most so long; then how many were cut off."""
    waits = [asyncio.create_task(gate.empty()), asyncio.create_task(now.wait())]
    await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    cut = gate.cut()
    await gate.empty()
    return cut


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
