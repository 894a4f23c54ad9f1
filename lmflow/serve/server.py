"""The life of an HTTP server: it listens, and a stop lets open requests finish first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs
from aiohttp import web

from lmflow.errors import Unservable
from lmflow.serve.connections import Connection, ConnectionTable, connection_factory
from lmflow.serve.limits import AdmissionGate
from lmflow.serve.stop_signals import stop_signals

_FLUSH_SECONDS = 5.0

_ACCEPTED_AT_ONCE = 32
"""Connections that are accepted before those that make room for them are closed. asyncio takes as
many as its backlog; with more than there are file descriptors left it would stop for a second.
"""
_QUEUED = 1024
"""Connections that the system holds until they are accepted."""


@attrs.frozen
class Shutdown:
    """The end of a server: the number of requests that were open when it was stopped, and of those
    that were cut off.
    """

    open: int
    cut: int


@attrs.frozen
class ServerCallbacks:
    """Callbacks of a server: ``started`` takes the address, ``stopping`` the number of open
    requests.
    """

    started: Callable[[str], None]
    stopping: Callable[[int], None]


async def serve(  # noqa: PLR0913 - each is a part of a server's life
    application: web.Application,
    gate: AdmissionGate,
    connections: ConnectionTable,
    at: tuple[str, int],
    *,
    grace: float,
    callbacks: ServerCallbacks,
) -> Shutdown:
    """Serves an application at a host and port until SIGTERM or Ctrl-C. Then no request is
    admitted, and open ones have ``grace`` seconds, or until a second signal.

    A request that is cut off is recorded as stopped, and its client is answered. A client that goes
    away stops its execution. ``Unservable`` if the address can't be listened on.
    """
    runner = web.AppRunner(
        application, handler_cancellation=True, access_log=None, shutdown_timeout=_FLUSH_SECONDS
    )
    await runner.setup()
    try:
        with stop_signals() as (stop, stop_now):
            listener = await _listen(connection_factory(connections, _server_of(runner)), *at)
            callbacks.started(_url(*listener.sockets[0].getsockname()[:2]))
            await stop.wait()
            # First the gate, then the socket: a request that is accepted in between gets a 503
            # with Retry-After, not a reset connection.
            gate.shut()
            listener.close()
            open_requests = gate.open + gate.waiting
            callbacks.stopping(open_requests)
            return Shutdown(open_requests, await _drain(gate, stop_now, grace))
    finally:
        await runner.cleanup()


def _server_of(runner: web.AppRunner) -> web.Server:
    server = runner.server
    assert server is not None  # noqa: S101 - the runner was set up
    return server


async def _listen(connect: Callable[[], Connection], host: str, port: int) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        listener = await loop.create_server(connect, host, port, backlog=_ACCEPTED_AT_ONCE)
    except OSError as error:
        fix = "Give another, --port, or --port 0 for any that is free."
        raise Unservable(
            f"{host}:{port}", f"it can't be listened on ({error.strerror or error})", fix
        ) from None
    for sock in listener.sockets:
        with sock.dup() as same:
            same.listen(_QUEUED)
    return listener


async def _drain(gate: AdmissionGate, stop_now: asyncio.Event, grace: float) -> int:
    """Waits at most ``grace`` seconds for open requests, cuts off the rest, and counts those."""
    waits = [asyncio.create_task(gate.empty()), asyncio.create_task(stop_now.wait())]
    await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    cut = gate.cut()
    await gate.empty()
    return cut


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
