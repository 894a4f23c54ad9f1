"""Responses of server-sent events, which begin with their first event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from aiohttp import web

from lmflow.serve.responses import COMMON_HEADERS
from lmflow.serve.results import compact_json

MEDIA = "text/event-stream"
STALLED_SECONDS = 30.0
"""How long a client may leave an event unread before it counts as gone."""

T = TypeVar("T")


class EventStream:
    """Sends events to one client. ``ConnectionError`` if the client is gone or doesn't read.

    ``headers`` are those of the response, and may change until the first event.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.headers: dict[str, str] = {**COMMON_HEADERS, "X-Accel-Buffering": "no"}
        self.response = web.StreamResponse()

    @property
    def started(self) -> bool:
        """True once anything was sent."""
        return self.response.prepared

    async def send(self, event: str, value: Any) -> None:
        """Sends one event with its JSON value."""
        await self._write(f"event: {event}\ndata: {compact_json(value)}\n\n")

    async def keep_alive(self, parts: asyncio.Queue[T | None], silence: float) -> AsyncIterator[T]:
        """The parts until ``None``. After ``silence`` seconds without a part the client gets a
        comment, so that no proxy closes the connection.
        """
        while True:
            try:
                async with asyncio.timeout(silence):
                    part = await parts.get()
            except TimeoutError:
                await self._write(": it goes on\n\n")
                continue
            if part is None:
                return
            yield part

    async def _write(self, text: str) -> None:
        # The response begins here, not in the constructor: an error before the first event can
        # still be answered with its own status.
        if not self.started:
            self.response.headers.update(self.headers)
            self.response.content_type, self.response.charset = MEDIA, "utf-8"
            await self.response.prepare(self._request)
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await self.response.write(text.encode("ascii"))
        except TimeoutError:
            raise ConnectionResetError("the client doesn't read") from None
