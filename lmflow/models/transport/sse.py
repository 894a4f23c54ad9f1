"""Streamed replies: server-sent events accumulated into one reply, and its text passed on as it
arrives.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import attrs

from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply
from lmflow.models.base import Response, Stream
from lmflow.models.transport.json_text import join_surrogates, parse_json, scrub
from lmflow.models.transport.masking import Mask
from lmflow.models.transport.responses import Server

# Kinds of failures that may be retried: after a part of the text they would pass it on twice.
_RETRIED = frozenset({"server", "timeout", "rate_limit", "unreachable"})
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")


class Accumulator(Protocol):
    """Accumulates the events of a stream into the body that would have come without streaming."""

    @property
    def finished(self) -> bool:
        """True once the model said why it stopped."""
        ...

    def add(self, event: Any, /) -> str:
        """Takes an event and returns the text that it adds."""
        ...

    def body(self) -> Any:
        """The whole body."""
        ...


async def read_stream(
    opening: AbstractAsyncContextManager[Stream],
    text: TextRelay,
    accumulator: Accumulator,
    server: Server,
    parse: Callable[[Any], ChatReply],
) -> ChatReply:
    """The reply of a stream, or of the whole body if the server doesn't stream.

    ``ModelFailed``: a failure before any text was passed on has its own kind; a later one is a
    ``bad_reply`` with that text, so that a retry doesn't pass on text twice.
    """
    started = False
    try:
        async with opening as stream:
            try:
                async for event in read_events(stream.lines):
                    started = True
                    _check_event(event, server, stream)
                    text.add(accumulator.add(event))
            except NotEvents as whole:
                reply = server.read(Response(stream.status, stream.headers, whole.body), parse)
                return _relay_whole(reply, text)
            if not started:
                return server.read(Response(stream.status, stream.headers, b""), parse)
    except (AttributeError, LookupError, TypeError, ValueError) as problem:
        words = f"an event that can't be read, {type(problem).__name__}: {problem}"
        raise server.interrupted(words, text.passed) from None
    except ModelFailed as failure:
        if not text.passed:
            raise
        raise server.interrupted(str(failure), text.passed) from None
    if not accumulator.finished:
        raise server.interrupted("it never said why it ended", text.passed)
    text.end()
    try:
        reply = server.parse_reply(
            accumulator.body(), lambda body: parse(scrub(body, server.secret)), text.passed, 200
        )
    except ModelFailed as failure:
        if text.passed and failure.kind in _RETRIED:
            raise server.interrupted(str(failure), text.passed) from None
        raise
    return attrs.evolve(reply, text=text.passed, chunks=text.chunks)


async def read_events(lines: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    """The JSON values of a stream's events in order, until ``[DONE]`` or the end.

    Several ``data`` lines are one event (WHATWG, "Server-sent events", 9.2.6). ``NotEvents`` if
    the body isn't a stream of events.
    """
    data: list[bytes] = []
    started = False
    async for line in lines:
        if not started and line.strip():
            started = True
            if not line.startswith(_FIELDS):
                raise NotEvents(b"\n".join([line, *[rest async for rest in lines]]))
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            if _is_done(data):
                return
            yield _event_value(data)
            data = []
    if data and not _is_done(data):
        yield _event_value(data)


class NotEvents(Exception):
    """A body that isn't a stream of events; ``body`` holds it whole."""

    def __init__(self, body: bytes) -> None:
        self.body = body


class TextRelay:
    """Passes a text on to a listener piece by piece, with the secret masked (see ``Mask``).

    A piece may end in the beginning of the secret, whose rest is in the next piece: that end is
    held back until then, else a listener would get the secret in two halves.
    """

    def __init__(self, hear: Callable[[str], None], secret: str) -> None:
        self._hear = hear
        self._mask = Mask(secret)
        self._held_back = ""
        self._pieces: list[str] = []

    @property
    def passed(self) -> str:
        """The text that was passed on."""
        return "".join(self._pieces)

    @property
    def chunks(self) -> tuple[int, ...]:
        """The lengths of the pieces, in code points."""
        return tuple(map(len, self._pieces))

    def add(self, piece: str) -> None:
        """Passes a piece on, except an end that may begin the secret or a surrogate pair."""
        text = self._held_back + piece
        half = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = self._clean(text.removesuffix(half))
        if half:
            self._held_back = half
            self._pass_on(text)
            return
        cut = len(text) - self._mask.tail(text)
        self._held_back = text[cut:]
        self._pass_on(text[:cut])

    def end(self) -> None:
        """Passes on what was held back: no more text follows."""
        rest, self._held_back = self._held_back, ""
        self._pass_on(self._clean(rest))

    def _clean(self, text: str) -> str:
        return self._mask(text if text.isascii() else join_surrogates(text))

    def _pass_on(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            self._hear(text)


def _relay_whole(reply: ChatReply, text: TextRelay) -> ChatReply:
    text.add(reply.text)
    text.end()
    return attrs.evolve(reply, chunks=text.chunks)


def _check_event(event: Any, server: Server, stream: Stream) -> None:
    """Raises the error that an event reports, which also stands in a choice (OpenRouter)."""
    if not isinstance(event, dict):
        return
    choices = event.get("choices")
    if not event.get("error") and choices and isinstance(choices[0], dict):
        event = choices[0]
    if event.get("error") or event.get("object") == "error":
        body = scrub(event, server.secret)
        raise server.failed(stream.status, body, str(body), stream.headers)


def _is_done(data: list[bytes]) -> bool:
    return b"\n".join(data).strip() == b"[DONE]"


def _event_value(data: list[bytes]) -> Any:
    return parse_json(b"\n".join(data).decode("utf-8", "replace"))
