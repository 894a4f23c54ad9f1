"""Streamed replies: server-sent events joined into one reply, and its text as it is told to whoever
listens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import attrs

from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply
from lmflow.models.base import Response, Stream
from lmflow.models.transport.responses import SECRET, Server, clean, parsed

_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")


class Joining(Protocol):
    """The events of a stream, joined into the body that would have come without streaming."""

    @property
    def ended(self) -> bool:
        """Whether the model said why it stopped."""
        ...

    def add(self, event: Any, /) -> str:
        """Take an event; the text that it adds."""
        ...

    def whole(self) -> Any:
        """The body."""
        ...


async def streamed(
    opening: AbstractAsyncContextManager[Stream],
    heard: Heard,
    joined: Joining,
    peer: Server,
    form: Callable[[Any], ChatReply],
) -> ChatReply:
    """The reply of a stream, or of the whole body that a server sends that doesn't stream.

    ``ModelFailed``: what went wrong before the first event is named as ever, what went wrong later
    is a ``bad_reply`` with the text that had come, so that nothing is told twice.
    """
    begun = False
    try:
        async with opening as stream:
            try:
                async for event in events(stream.lines):
                    _check(event, peer, stream)
                    begun = True
                    heard.add(joined.add(event))
            except NotEvents as found:
                reply = peer.read(Response(stream.status, stream.headers, found.body), form)
                return _told(reply, heard)
            if not begun:
                return peer.read(Response(stream.status, stream.headers, b""), form)
    except (AttributeError, LookupError, TypeError, ValueError) as problem:
        raise peer.stopped(
            f"an event that can't be read, {type(problem).__name__}: {problem}", heard.text
        ) from None
    except ModelFailed as failure:
        if not begun:
            raise
        raise peer.stopped(str(failure), heard.text) from None
    if not joined.ended:
        raise peer.stopped("it never said why it ended", heard.text)
    heard.end()
    reply = peer.parse_reply(clean(joined.whole(), peer.secret), form, heard.text, 200)
    return attrs.evolve(reply, text=heard.text, chunks=heard.chunks)


async def events(lines: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    """The JSON values of a stream's events, in order; ``[DONE]`` ends it. ``NotEvents`` holds a
    body that is no stream.

    Several ``data`` lines are one event.
    """
    data: list[bytes] = []
    begun = False
    async for line in lines:
        if not begun and line.strip():
            begun = True
            if not line.startswith(_FIELDS):
                raise NotEvents(b"\n".join([line, *[rest async for rest in lines]]))
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            if _is_done(data):
                return
            yield _value(data)
            data = []
    if data and not _is_done(data):
        yield _value(data)


class NotEvents(Exception):
    """The body is no stream of events; ``body`` holds it whole."""

    def __init__(self, body: bytes) -> None:
        self.body = body


class Heard:
    """A text as it is told, piece by piece. A key is masked by value also where it is split over
    two pieces: what may be its beginning is held back until the next piece.
    """

    def __init__(self, hear: Callable[[str], None], key: str) -> None:
        self._hear = hear
        self._key = key if len(key) >= SECRET else ""
        self._held = ""
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """What was told."""
        return "".join(self._pieces)

    @property
    def chunks(self) -> tuple[int, ...]:
        """The lengths of what was told, in code points."""
        return tuple(map(len, self._pieces))

    def add(self, piece: str) -> None:
        """Tell a piece, but for what may be the beginning of the key."""
        text = clean(self._held + piece, self._key)
        keep = max((n for n in range(1, len(self._key)) if text.endswith(self._key[:n])), default=0)
        self._held = text[len(text) - keep :]
        self._tell(text[: len(text) - keep])

    def end(self) -> None:
        """Tell what is held back."""
        held, self._held = self._held, ""
        self._tell(held)

    def _tell(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            self._hear(text)


def _told(reply: ChatReply, heard: Heard) -> ChatReply:
    heard.add(reply.text)
    heard.end()
    return attrs.evolve(reply, chunks=heard.chunks)


def _check(event: Any, peer: Server, stream: Stream) -> None:
    if isinstance(event, dict) and event.get("error"):
        told = clean(event, peer.secret)
        raise peer.failed(stream.status, told, str(told), stream.headers)


def _is_done(data: list[bytes]) -> bool:
    return b"\n".join(data).strip() == b"[DONE]"


def _value(data: list[bytes]) -> Any:
    return parsed(b"\n".join(data).decode("utf-8", "replace"))
