"""A response of server-sent events, which begins with its first event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from aiohttp import web

from lmflow.serve.answers import text
from lmflow.serve.replies import PLAIN

MEDIA = "text/event-stream"
STALLED = 30.0  # seconds after which a client that doesn't read is gone

T = TypeVar("T")


class Events:
    """Events to one client. ``ConnectionError`` where it is gone, or doesn't read. ``headers`` are
    those of the response, as long as it hasn't begun.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.headers: dict[str, str] = {**PLAIN, "X-Accel-Buffering": "no"}
        self.response = web.StreamResponse()

    @property
    def begun(self) -> bool:
        """Whether anything was sent."""
        return self.response.prepared

    async def send(self, event: str, value: Any) -> None:
        """One event with its JSON value."""
        await self._write(f"event: {event}\ndata: {text(value)}\n\n")

    async def paced(self, parts: asyncio.Queue[T | None], silence: float) -> AsyncIterator[T]:
        """The parts until ``None``. After so many seconds without one the client gets a comment: it
        goes on.
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

    async def _write(self, words: str) -> None:
        if not self.begun:
            self.response.headers.update(self.headers)
            self.response.content_type, self.response.charset = MEDIA, "utf-8"
            await self.response.prepare(self._request)
        try:
            async with asyncio.timeout(STALLED):
                await self.response.write(words.encode("ascii"))
        except TimeoutError:
            raise ConnectionResetError("the client doesn't read") from None
