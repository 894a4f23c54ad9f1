"""What a model is: an async function of a request and the executor's door, with a name and an endpoint class."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import attrs

from lmflow.messages import ChatReply, ChatRequest


@attrs.frozen
class Response:
    """What a server answered, whatever it is."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http(Protocol):
    """The executor's session: one JSON POST. ``ModelFailed`` where no answer came."""

    async def post(self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float) -> Response:
        """Send a body, wait at most ``seconds`` for the whole answer."""
        ...


Exchange = Callable[[Http], Awaitable[ChatReply]]
Send = Callable[[Exchange], Awaitable[ChatReply]]


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

    async def __call__(self, request: ChatRequest, send: Send) -> ChatReply:
        """The reply, which is what its last ``send`` answered. ``ModelFailed`` where there is none."""
        ...

    async def aclose(self) -> None:
        """Let go of what it holds (a server that it started)."""
        ...
