"""A model of one's own, made of an async function."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import attrs

from lmflow.errors import CallError, ModelFailed
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, ModelRequest
from lmflow.models.base import Http, Send

Answering = Callable[[ChatRequest], Awaitable[str | ChatReply]]


@attrs.frozen(eq=False)
class FunctionModel:
    """Answers each chat by an async function of the request."""

    name: str
    answer: Answering = attrs.field(repr=False)
    endpoint: str = "function"

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The function's answer. Any error that it raises is recorded as a ``ModelFailed``."""

        async def exchange(_: Http) -> ChatReply:
            if isinstance(request, EmbedRequest):
                raise ModelFailed("request", f"{self.name} has no vectors")
            try:
                answer = await self.answer(request)
            except CallError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the function raises is an outcome
                problem = f"{type(error).__name__}: {error}"
                raise ModelFailed("request", problem) from None
            return answer if isinstance(answer, ChatReply) else ChatReply(answer, model=self.name)

        return await send(exchange)

    async def aclose(self) -> None:
        """Does nothing."""


def function_model(name: str, answer: Answering, *, endpoint: str = "function") -> FunctionModel:
    """Make a model of an async function, such as a client of your own.

    Args:
        name: ``provider/model``, which is part of every key.
        answer: An async function of the request, which has ``messages``, ``options`` and
            ``schema``; it returns a text or a ``ChatReply``. A ``ModelFailed`` that it raises says
            whether it is worth another try.
        endpoint: Where it asks, which is part of every key too: two places never answer for each
            other.

    Returns:
        The model.

    Raises:
        TypeError: ``answer`` is no async function.

    Example:
        >>> async def echo(request):
        ...     return request.messages[-1].content
        >>> function_model("mine/echo", echo).name
        'mine/echo'
    """
    if not inspect.iscoroutinefunction(answer):
        name_of = getattr(answer, "__name__", repr(answer))
        msg = f"{name_of} is no async function: write `async def {name_of}(request)`"
        raise TypeError(msg)
    return FunctionModel(name, answer, endpoint)
