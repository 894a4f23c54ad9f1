"""Receives spans of other systems over HTTP, as an OTLP endpoint on the loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence

from aiohttp import web

from lmflow.errors import TelemetryError
from lmflow.telemetry.protobuf import accepted, decode
from lmflow.telemetry.raw import RawSpan
from lmflow.telemetry.sources import openinference, otlp_json

LARGEST_BODY = 20_000_000
"""The bytes of the largest request, after it was unpacked."""

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_LOCAL = ("127.0.0.1", "localhost", "[::1]", "::1")

Take = Callable[[Sequence[RawSpan]], int]
"""Stores spans durably, and returns how many of them it refused."""


def application(take: Take) -> web.Application:
    """Return the endpoint ``POST /v1/traces``, in protobuf or JSON, also compressed.

    A request is answered once its spans are stored. One that a web page of another site sent, as
    its Host or Origin shows, is refused.
    """
    app = web.Application(client_max_size=LARGEST_BODY)
    turn = asyncio.Lock()  # one connection to the spool, which one thread at a time may use

    async def traces(request: web.Request) -> web.Response:
        refusal = _refusal(request)
        if refusal is not None:
            return refusal
        body = await request.read()
        try:
            spans = await asyncio.to_thread(_spans, body, request.content_type)
        except (TelemetryError, ValueError, RecursionError) as error:
            return web.Response(status=400, text=f"no trace data: {error!s:.200}")
        async with turn:
            refused = await asyncio.to_thread(take, spans)
        return _answer(request.content_type, refused)

    app.router.add_post("/v1/traces", traces)
    return app


async def listen(take: Take, port: int) -> tuple[web.AppRunner, int]:
    """Open the endpoint on the loopback, and return the server with its port.

    Raises:
        TelemetryError: The port is taken.
    """
    runner = web.AppRunner(application(take), access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError as error:
        await runner.cleanup()
        problem = f"port {port} can't be listened on ({error.strerror})"
        raise TelemetryError(problem, "Name another, --port 0 takes a free one.") from None
    return runner, int(runner.addresses[0][1])


def _refusal(request: web.Request) -> web.Response | None:
    host = request.host.rpartition(":")[0] if request.host[-1:].isdigit() else request.host
    if host not in _LOCAL:
        return web.Response(status=403, text="the Host must be that of this machine")
    if "Origin" in request.headers:
        return web.Response(status=403, text="web pages may not send traces")
    if request.content_type not in {_PROTOBUF, _JSON}:
        return web.Response(status=415, text=f"send {_PROTOBUF} or {_JSON}")
    return None


def _spans(body: bytes, kind: str) -> list[RawSpan]:
    if kind == _PROTOBUF:
        return list(map(openinference.translated, decode(body)))
    document = json.loads(body)
    if not otlp_json.is_otlp(document):
        msg = "it has no resourceSpans"
        raise ValueError(msg)
    return list(map(openinference.translated, otlp_json.spans(document)))


def _answer(kind: str, refused: int) -> web.Response:
    words = "spans without ids, or with the ids of others" if refused else ""
    if kind == _PROTOBUF:
        return web.Response(body=accepted(refused, words), content_type=_PROTOBUF)
    partial = {"rejectedSpans": str(refused), "errorMessage": words}
    return web.json_response({"partialSuccess": partial} if refused else {})
