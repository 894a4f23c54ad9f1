"""The life of the web view's server: it listens until Ctrl-C or SIGTERM."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from lmflow.errors import Unservable
from lmflow.serve.stop_signals import stop_signals

_FLUSH_SECONDS = 1.0


async def serve(
    application: web.Application, at: tuple[str, int], started: Callable[[str], None]
) -> None:
    """Serve an application at a host and port until a signal stops it.

    Args:
        application: The application.
        at: The host and the port; 0 takes a free one.
        started: Takes the address once the server listens.

    Raises:
        Unservable: If the address can't be listened on.
    """
    runner = web.AppRunner(
        application, handler_cancellation=True, access_log=None, shutdown_timeout=_FLUSH_SECONDS
    )
    await runner.setup()
    try:
        with stop_signals() as (stop, _):
            started(await listen(runner, *at))
            await stop.wait()
    finally:
        await runner.cleanup()


async def listen(runner: web.AppRunner, host: str, port: int) -> str:
    """Listen at a host and port and return the address as a URL."""
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        fix = "Give another, --port, or --port 0 for any that is free."
        raise Unservable(
            f"{host}:{port}", f"it can't be listened on ({error.strerror or error})", fix
        ) from None
    name, number = runner.addresses[0][:2]
    return f"http://{f'[{name}]' if ':' in name else name}:{number}"
