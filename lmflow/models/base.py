"""What a model is: an async function of a request and the executor's door, with a name and an
endpoint class.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import attrs

from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ModelRequest


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
    """The executor's session. ``ModelFailed`` (unreachable, timeout, bad_reply) where no answer
    came.

    ``hear`` is told each piece of a reply's text as it comes, where somebody listens: then a model
    that can stream does, and it gives the pieces' lengths as the reply's ``chunks``. It is ``None``
    where nobody listens.
    """

    @property
    def hear(self) -> Callable[[str], None] | None:
        """Who listens."""
        ...

    async def post(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> Response:
        """One JSON POST; wait at most ``seconds`` for the whole answer."""
        ...

    def stream(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> AbstractAsyncContextManager[Stream]:
        """One JSON POST whose answer is read line by line; at most ``seconds`` between two lines."""
        ...


Exchange = Callable[[Http], Awaitable[ModelReply]]


class Send(Protocol):
    """The executor's door: one attempt, which is counted, recorded and priced.

    ``by`` is the model that is asked, where it isn't the one that was called but one that this
    chose: the attempt's request names it. ``source`` is the trace that a reused reply comes from:
    nothing is sent then, and nothing paid.
    """

    async def __call__(
        self, exchange: Exchange, /, *, by: Model | None = None, source: str = ""
    ) -> ModelReply:
        """What the exchange answered. ``ModelFailed`` where it failed."""
        ...


class Model(Protocol):
    """Answers requests by passing exchanges through ``send``, so that every attempt is counted and
    recorded.

    ``name`` (``provider/model``) and ``endpoint`` (the provider's name or the host) are part of
    every key.
    """

    @property
    def name(self) -> str:
        """``provider/model``."""
        ...

    @property
    def endpoint(self) -> str:
        """The endpoint class: the provider's declared name, or the host without port and
        credentials.
        """
        ...

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The reply, which is what its last ``send`` answered. ``ModelFailed`` where there is none."""
        ...

    async def aclose(self) -> None:
        """Let go of what it holds (a server that it started)."""
        ...


@attrs.frozen(eq=False)
class Around:
    """What stands around one model and counts as it: its name, its endpoint, its end. Abstract: how
    it is asked is the wrapper's own.
    """

    model: Model

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    @property
    def endpoint(self) -> str:
        """The model's."""
        return self.model.endpoint

    @property
    def inner(self) -> tuple[Model, ...]:
        """The model."""
        return (self.model,)

    async def aclose(self) -> None:
        """Close the model."""
        await self.model.aclose()


def leaves(model: Model) -> tuple[Model, ...]:
    """The models that may answer for a model: those in its ``inner``, however deep, or itself where
    it has none.
    """
    inner: tuple[Model, ...] = getattr(model, "inner", ())
    return tuple(leaf for held in inner for leaf in leaves(held)) or (model,)


def place(model: Model) -> dict[str, Any]:
    """What a model's name stands for in a recording: its name and endpoint class, and ``among``
    which models it chose where it chooses.
    """
    found: dict[str, Any] = {"model": model.name, "endpoint": model.endpoint}
    among = list(dict.fromkeys((leaf.name, leaf.endpoint) for leaf in leaves(model)))
    return found if among == [(model.name, model.endpoint)] else {**found, "among": among}


def passing(send: Send, model: Model) -> Send:
    """The door for one of the models that a wrapper chooses from: its attempts name it, or the one
    that it chose.
    """

    async def sending(
        exchange: Exchange, /, *, by: Model | None = None, source: str = ""
    ) -> ModelReply:
        return await send(exchange, by=by or model, source=source)

    return sending
