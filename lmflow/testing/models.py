"""The laws of models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import attrs

from lmflow.errors import ModelFailed
from lmflow.execution.executor import Executor
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, EmbedRequest
from lmflow.models.base import Exchange, Model, leaves, place
from lmflow.models.transport.http import HttpSession
from lmflow.programs.factories import predict
from lmflow.replays.exact import replay
from lmflow.testing.laws import LawBroken, check_laws, holds, laws, raising, same


def check_model(make: Callable[[], Model] | Model) -> None:
    """Check the laws of a model. It is sent a few short requests.

    Args:
        make: The model, or a function that makes it, for each law another one.

    Raises:
        LawBroken: The model breaks a law; the message has the law and what was found.

    Example:
        >>> check_model(lf.scripted(lambda request: "yes"))
    """
    # A model is callable itself, with a request, so a maker is known by having no name.
    is_model = isinstance(getattr(make, "name", None), str)
    check_laws(MODEL_LAWS, (lambda: make) if is_model else make)  # type: ignore[arg-type]


@attrs.define
class Door:
    """The executor's ``send`` without the executor: it keeps each attempt as (who answered, the
    trace that a reused reply comes from, the outcome).
    """

    hear: Callable[[str], None] | None = None
    attempts: list[tuple[str, str, ModelReply | ModelFailed]] = attrs.field(factory=list)

    async def __call__(
        self, exchange: Exchange, /, *, by: Model | None = None, source: str = ""
    ) -> ModelReply:
        """Make one attempt on a session of its own."""
        session = HttpSession()
        session.hear = self.hear
        try:
            reply = await exchange(session)
        except ModelFailed as failure:
            self.attempts.append((by.name if by else "", source, failure))
            raise
        finally:
            await session.close()
        self.attempts.append((by.name if by else "", source, reply))
        return reply


class _Shut(Exception):
    """Raised by a door that lets nothing out."""


def _ask() -> ChatRequest:
    return ChatRequest((Message("user", "why?"),))


async def _name_and_endpoint_are_stable(model: Model) -> None:
    """Name and endpoint, which are part of every key, are texts that no call changes."""
    before = (model.name, model.endpoint)
    await model(_ask(), Door())
    same(before, (model.name, model.endpoint), "name and endpoint after a call")
    for what, text in zip(("name", "endpoint"), before, strict=True):
        holds(text and isinstance(text, str), f"the {what} is {text!r}, expected a text")


async def _a_reply_is_what_the_last_send_returned(model: Model) -> None:
    """A model returns what ``send`` returned to it, a ``ChatReply`` with a text."""
    reply = await model(_ask(), door := Door())
    holds(door.attempts, "the model never called send(exchange), so nothing would be recorded")
    last = door.attempts[-1][2]
    holds(reply is last, f"it returned {reply!r}, and the last send returned {last!r}")
    kind = type(reply).__name__
    holds(isinstance(reply, ChatReply), f"the reply is a {kind}, expected a ChatReply")
    holds(isinstance(reply.text, str), f"the text of the reply is {reply.text!r}")  # type: ignore[union-attr]


async def _nothing_is_sent_but_by_the_door(model: Model) -> None:
    """A model does its work in the exchange that it gives to ``send``, and lets the errors of
    ``send`` through.
    """

    async def shut(
        exchange: Exchange, /, *, by: Model | None = None, source: str = ""
    ) -> ModelReply:
        del exchange, by, source
        raise _Shut

    try:
        reply = await model(_ask(), shut)
    except _Shut:
        return
    msg = f"send raised an error, and the model answered {reply!r} all the same"
    raise LawBroken(msg)


async def _a_request_is_left_as_it_was(model: Model) -> None:
    """The request is the record's: its key is the same after the call."""
    request = _ask()
    key = request.key
    await model(request, Door())
    same(key, ChatRequest(request.messages, request.model, options=request.options).key, "the key")


async def _a_failure_is_a_model_failed(model: Model) -> None:
    """A ``ModelFailed`` of the exchange ends the call as a ``ModelFailed``."""

    async def failing(
        exchange: Exchange, /, *, by: Model | None = None, source: str = ""
    ) -> ModelReply:
        del exchange, by, source
        kind, words = "request", "refused by the law"
        raise ModelFailed(kind, words)  # type: ignore[arg-type]

    with raising(ModelFailed, "a call whose exchange fails"):
        await model(_ask(), failing)


async def _cancellation_passes_through(model: Model) -> None:
    """A call that is cancelled ends as cancelled, and the model can be asked again."""
    waiting = asyncio.Event()

    async def hanging(
        exchange: Exchange, /, *, by: Model | None = None, source: str = ""
    ) -> ModelReply:
        del exchange, by, source
        waiting.set()
        await asyncio.Event().wait()
        raise _Shut

    call = asyncio.ensure_future(_awaited(model, hanging))
    await asyncio.wait_for(waiting.wait(), 10)
    call.cancel()
    with raising(asyncio.CancelledError, "a call that was cancelled"):
        await call
    await model(_ask(), Door())


async def _awaited(model: Model, send: Any) -> ModelReply:
    return await model(_ask(), send)


async def _embedding_is_answered_or_refused(model: Model) -> None:
    """A request for vectors is never answered by a text: it gets vectors or ``ModelFailed``."""
    try:
        reply = await model(EmbedRequest(("x",)), Door())
    except ModelFailed:
        return
    holds(not isinstance(reply, ChatReply), f"an EmbedRequest was answered by {reply!r}")


async def _a_listener_hears_the_text(model: Model) -> None:
    """If a model streams, the pieces joined are the text, and ``chunks`` are their lengths."""
    pieces: list[str] = []
    reply = await model(_ask(), Door(pieces.append))
    if pieces and isinstance(reply, ChatReply):
        same(reply.text, "".join(pieces), "the pieces that the listener heard")
        same(reply.chunks, tuple(map(len, pieces)), "the chunks of the reply")


async def _calls_side_by_side_are_apart(model: Model) -> None:
    """Calls that overlap each get a reply of their own ``send``."""
    doors = [Door() for _ in range(3)]
    replies = await asyncio.gather(*(model(_ask(), door) for door in doors))
    expected = [door.attempts[-1][2] for door in doors]
    holds(all(map(_is, replies, expected)), "a call returned the reply of another call's send")


def _is(one: object, other: object) -> bool:
    return one is other


async def _a_place_names_who_may_answer(model: Model) -> None:
    """What a recording holds of a model names every model that may answer for it."""
    known = place(model)
    among = set(known.get("among", [(known["model"], known["endpoint"])]))
    same(among, {(leaf.name, leaf.endpoint) for leaf in leaves(model)}, "the models in its place")
    await model(_ask(), door := Door())
    answering = {by or model.name for by, _, _ in door.attempts}
    holds(answering <= {name for name, _ in among}, f"{answering} answered, expected {among}")


async def _a_run_replays(model: Model) -> None:
    """A run with the model is recorded, and replays offline to the same root."""
    step = predict("answer", "question -> answer")
    async with Executor(model) as ex:
        trace = await ex.run(step, question="?")
    same(trace.root, replay(trace).root, "the root of the replay")


async def _closing_twice_is_fine(model: Model) -> None:
    """A model lets go of what it holds, and may be closed again."""
    await model.aclose()
    await model.aclose()


MODEL_LAWS = laws(
    _name_and_endpoint_are_stable,
    _a_reply_is_what_the_last_send_returned,
    _nothing_is_sent_but_by_the_door,
    _a_request_is_left_as_it_was,
    _a_failure_is_a_model_failed,
    _cancellation_passes_through,
    _embedding_is_answered_or_refused,
    _a_listener_hears_the_text,
    _calls_side_by_side_are_apart,
    _a_place_names_who_may_answer,
    _a_run_replays,
    _closing_twice_is_fine,
)
"""The laws of a model; all of them are awaited."""
