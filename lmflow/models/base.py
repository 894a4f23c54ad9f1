"""The protocol of models: an async function of a request and the executor's ``send``, with a name
and an endpoint class.
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
    """A server's answer, whether a success or a failure."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen
class Stream:
    """The beginning of an answer whose body arrives line by line."""

    status: int
    headers: Mapping[str, str]
    lines: AsyncIterator[bytes]


class Http(Protocol):
    """The executor's HTTP session. ``ModelFailed`` (unreachable, timeout, bad_reply) if no whole
    answer arrives.

    ``hear`` takes each piece of a reply's text as it arrives; ``None`` if nobody listens. With a
    listener, a model that can stream does, and stores the pieces' lengths as the reply's
    ``chunks``.
    """

    @property
    def hear(self) -> Callable[[str], None] | None:
        """The listener to the reply's text."""
        ...

    async def post(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> Response:
        """Sends one JSON POST and waits at most ``seconds`` for the whole answer."""
        ...

    def stream(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> AbstractAsyncContextManager[Stream]:
        """Sends one JSON POST and reads the answer line by line, at most ``seconds`` apart."""
        ...


Exchange = Callable[[Http], Awaitable[ModelReply]]


class Send(Protocol):
    """The executor's side of an attempt: it counts, records and prices the exchange.

    ``by`` is the model that answers, if the called model chose another one: the attempt's request
    names that one. ``source`` is the trace that a reused reply comes from: nothing is sent and
    nothing paid.
    """

    async def __call__(
        self, exchange: Exchange, /, *, by: Model | None = None, source: str = ""
    ) -> ModelReply:
        """Runs the exchange and returns its reply. Raises the exchange's ``ModelFailed``."""
        ...


class Model(Protocol):
    """Answers requests by passing exchanges through ``send``, so that every attempt is counted and
    recorded.

    ``name`` (``provider/model``) and ``endpoint`` are part of every key.
    """

    @property
    def name(self) -> str:
        """``provider/model``."""
        ...

    @property
    def endpoint(self) -> str:
        """The endpoint class: the provider's declared name, or host, port and path."""
        ...

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The reply to a request: what the last ``send`` returned. Raises ``ModelFailed``."""
        ...

    async def aclose(self) -> None:
        """Releases what the model holds (a server that it started)."""
        ...


@attrs.frozen(eq=False)
class Wrapper:
    """A wrapper around one model that keeps the model's name and endpoint. Abstract: each wrapper
    defines its own call.
    """

    model: Model

    @property
    def name(self) -> str:
        """The name of the wrapped model."""
        return self.model.name

    @property
    def endpoint(self) -> str:
        """The endpoint class of the wrapped model."""
        return self.model.endpoint

    @property
    def inner(self) -> tuple[Model, ...]:
        """The wrapped model alone."""
        return (self.model,)

    async def aclose(self) -> None:
        """Closes the wrapped model."""
        await self.model.aclose()


def leaves(model: Model) -> tuple[Model, ...]:
    """The models that may answer for a model: the innermost ones of a wrapper, or the model
    itself.
    """
    inner: tuple[Model, ...] = getattr(model, "inner", ())
    return tuple(leaf for wrapped in inner for leaf in leaves(wrapped)) or (model,)


def place(model: Model) -> dict[str, Any]:
    """The identity of a model in a recording: its name and endpoint class, and ``among``, the
    models from which a wrapper chooses.
    """
    identity: dict[str, Any] = {"model": model.name, "endpoint": model.endpoint}
    among = list(dict.fromkeys((leaf.name, leaf.endpoint) for leaf in leaves(model)))
    if among == [(model.name, model.endpoint)]:
        return identity
    return {**identity, "among": among}


def send_as(send: Send, model: Model) -> Send:
    """The ``send`` for a model that a wrapper chose: the attempts name that model, or the one that
    it chose in turn.
    """

    async def send_by(
        exchange: Exchange, /, *, by: Model | None = None, source: str = ""
    ) -> ModelReply:
        return await send(exchange, by=by or model, source=source)

    return send_by


def is_own(model: Model) -> bool:
    """Tell whether a model is lmflow's own, with all models in it: then no other code sees a reply
    before the executor hands it on.
    """
    inner: tuple[Model, ...] = getattr(model, "inner", ())
    return type(model).__module__.startswith("lmflow.models.") and all(map(is_own, inner))
