"""Listens to a reply while it arrives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs

from lmflow.interpreter.partial import ReplySource
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.models.base import Exchange, Http, Response, Stream

OnText = Callable[[ReplySource, str | None], None]
"""Is called with each piece of a reply as it arrives, and with ``None`` at the reply's end."""


@attrs.frozen(eq=False)
class ListeningSession:
    """The executor's HTTP session for one call whose reply is listened to."""

    http: Http
    hear: Callable[[str], None]

    async def post(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> Response:
        """Post as the executor's session does."""
        return await self.http.post(url, headers, body, seconds)

    def stream(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> AbstractAsyncContextManager[Stream]:
        """Open a stream as the executor's session does."""
        return self.http.stream(url, headers, body, seconds)


async def heard(exchange: Exchange, http: Http, source: ReplySource, on_text: OnText) -> ModelReply:
    """Let a listener hear an exchange; a reply that does not stream is heard as one piece."""
    reply = await exchange(ListeningSession(http, lambda text: on_text(source, text)))
    if isinstance(reply, ChatReply):
        if not reply.chunks:
            on_text(source, reply.text)
        on_text(source, None)
    return reply
