"""What a model is: an async function of a request and the executor's door, with a name and an endpoint class."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import attrs

from lmflow.messages import ModelReply, ModelRequest


@attrs.frozen
class Response:
    """What a server answered, whatever it is."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen
class Stream:
    """The beginning of an answer whose body comes line by line."""

    status: int
    headers: Mapping[str, str]
    lines: AsyncIterator[bytes]


class Http(Protocol):
    """The executor's session. ``ModelFailed`` (unreachable, timeout, bad_reply) where no answer came.

    ``hear`` is told each piece of a reply's text as it comes, where somebody listens: then a model that can stream
    does, and it gives the pieces' lengths as the reply's ``chunks``. It is ``None`` where nobody listens.
    """

    @property
    def hear(self) -> Callable[[str], None] | None:
        """Who listens."""
        ...

    async def post(self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float) -> Response:
        """One JSON POST; wait at most ``seconds`` for the whole answer."""
        ...

    def stream(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> AbstractAsyncContextManager[Stream]:
        """One JSON POST whose answer is read line by line; at most ``seconds`` between two lines."""
        ...


Exchange = Callable[[Http], Awaitable[ModelReply]]
Send = Callable[[Exchange], Awaitable[ModelReply]]


class Model(Protocol):
    """Answers requests by passing exchanges through ``send``, so that every attempt is counted and recorded.

    ``name`` (``provider/model``) and ``endpoint`` (the provider's name or the host) are part of every key.
    """

    @property
    def name(self) -> str:
        """``provider/model``."""
        ...

    @property
    def endpoint(self) -> str:
        """The endpoint class: the provider's declared name, or the host without port and credentials."""
        ...

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The reply, which is what its last ``send`` answered. ``ModelFailed`` where there is none."""
        ...

    async def aclose(self) -> None:
        """Let go of what it holds (a server that it started)."""
        ...
