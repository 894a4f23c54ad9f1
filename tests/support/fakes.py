"""An HTTP server on the loopback that answers from a script, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import attrs
from aiohttp import web

from lmflow.messages.messages import Message
from lmflow.messages.requests import ChatRequest


@attrs.frozen
class Reply:
    """One scripted answer. ``close`` drops the connection instead, ``delay`` is in seconds.

    ``parts`` come one after the other, as a stream; after the last, ``stall`` seconds pass, and
    ``cut`` drops the connection.
    """

    status: int = 200
    body: str | bytes = ""
    headers: Mapping[str, str] = attrs.field(factory=lambda: {"Content-Type": "application/json"})
    delay: float = 0.0
    close: bool = False
    parts: Sequence[str] = ()
    cut: bool = False
    stall: float = 0.0


def ask(*texts: str, **changes: Any) -> ChatRequest:
    """A request of one user's turn, or of the turns given."""
    return ChatRequest(tuple(Message("user", text) for text in texts or ("why?",)), **changes)


@attrs.frozen
class Seen:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: Any
    target: str = ""


@attrs.define
class Server:
    """What is answered, in order, the last for ever, and what was asked."""

    replies: list[Reply]
    port: int = 0
    seen: list[Seen] = attrs.field(factory=list)
    arrived: asyncio.Event = attrs.field(factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def place(self) -> str:
        """How errors name it."""
        return f"127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Keep the request and answer by the script."""
        raw = await request.text()
        body = json.loads(raw) if raw else None
        self.seen.append(Seen(request.path, dict(request.headers), body, request.path_qs))
        self.arrived.set()
        reply = self.replies[min(len(self.seen), len(self.replies)) - 1]
        await asyncio.sleep(reply.delay)
        if reply.close and request.transport is not None:
            request.transport.close()
        if reply.parts:
            return await _streamed(request, reply)
        body = reply.body if isinstance(reply.body, bytes) else reply.body.encode("utf-8")
        return web.Response(status=reply.status, body=body, headers=dict(reply.headers))


async def _streamed(request: web.Request, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=dict(reply.headers))
    await response.prepare(request)
    for part in reply.parts:
        await response.write(part.encode("utf-8"))
    await asyncio.sleep(reply.stall)
    if reply.cut and request.transport is not None:
        request.transport.close()
    return response


def stream(
    *events: Any, done: bool = True, cut: bool = False, content: str = "text/event-stream"
) -> Reply:
    """A stream of server-sent events: JSON values as ``data``, texts as they are."""
    parts = [
        event if isinstance(event, str) else f"data: {json.dumps(event)}\n\n" for event in events
    ]
    ending = ["data: [DONE]\n\n"] if done else []
    return Reply(headers={"Content-Type": content}, parts=[*parts, *ending], cut=cut)


def chat(text: str | None = "fine", **changes: Any) -> Reply:
    """A chat completion with that text; ``changes`` replace fields of its body."""
    body = {
        "model": "test-model-2026",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        ],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 5},
        },
    }
    return Reply(body=json.dumps({**body, **changes}))


def refused(status: int, message: str = "no", **headers: str) -> Reply:
    """An error as OpenAI words it; ``retry_after="1"`` becomes the header ``Retry-After``."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    body = json.dumps({"error": {"message": message, "type": "error"}})
    return Reply(status, body, {"Content-Type": "application/json", **named})


@contextlib.asynccontextmanager
async def serving(*replies: Reply) -> AsyncIterator[Server]:
    """A server while the block lasts, on a free port of 127.0.0.1."""
    server = Server(list(replies) or [chat()])
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.port = int(runner.addresses[0][1])
        yield server
    finally:
        await runner.cleanup()
