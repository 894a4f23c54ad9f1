"""Capabilities of endpoints, found out by use: a request adapts when a feature is refused."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial

import attrs

from lmflow.errors import NO_TOOLS, ModelFailed
from lmflow.messages.messages import Message
from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ChatRequest
from lmflow.models.base import Exchange, Http, Send
from lmflow.values.record import Record

REFUSAL_STATUSES = frozenset({400, 404, 415, 422, 500, 501})
"""The statuses with which servers refuse a feature that they don't have."""

_SCHEMA = re.compile(
    r"response_format|json.?schema|structured.?output|output_(config|format)|guided_json",
    re.IGNORECASE,
)
_THIS_SCHEMA = re.compile(
    r"invalid schema|schema error|failed to parse grammar|schema is too", re.IGNORECASE
)
_FUNCTIONS = r"(?:tools?\b|tool[ _-]?(?:use|calls?|calling|choice)|function[ _-]?call)"
_NO_FUNCTIONS = re.compile(
    rf"(?:not |n't |un)support\w*[^.]{{0,40}}{_FUNCTIONS}"
    rf"|{_FUNCTIONS}[^.]{{0,60}}(?:not support|n't support|unsupport)"
    rf"|that support tool use|{_FUNCTIONS}[^.]{{0,40}}requires? --",
    re.IGNORECASE,
)

ExchangeFactory = Callable[[bool], Exchange]
"""Makes the exchange of one request, with its JSON schema (``True``) or without."""


@attrs.define(eq=False)
class EndpointCapabilities:
    """Capabilities of an endpoint, as a model found them out during its own life.

    ``structured`` is whether the endpoint takes a JSON schema, ``None`` before one was sent;
    ``refused_schemas`` are the digests of schemas that it refused; ``no_tools`` is the failure
    with which it refused functions, if it did.
    """

    structured: bool | None = None
    refused_schemas: set[str] = attrs.field(factory=set)
    no_tools: ModelFailed | None = None

    def takes(self, schema: Record | None) -> bool:
        """Says whether a schema is to be sent."""
        return (
            schema is not None
            and self.structured is not False
            and schema.digest not in self.refused_schemas
        )

    def note_refusal(self, failure: ModelFailed, schema: Record) -> bool:
        """Says whether the failure refuses the schema, and remembers the refusal if so."""
        if failure.status not in REFUSAL_STATUSES:
            return False
        words = f"{failure.text} {failure.raw}"
        if _THIS_SCHEMA.search(words):
            self.refused_schemas.add(schema.digest)
            return True
        if _SCHEMA.search(words):
            self.structured = False
            return True
        return False

    def with_functions(self, exchange_for: ExchangeFactory) -> ExchangeFactory:
        """Exchanges that send functions. If the endpoint refuses functions, the failure's kind is
        ``no_tools``, and each later attempt fails the same way with nothing sent.
        """

        async def guarded(exchange: Exchange, http: Http) -> ModelReply:
            if self.no_tools is not None:
                # Raising adds a traceback and notes to the exception: each attempt raises its own.
                raise attrs.evolve(self.no_tools)
            try:
                return await exchange(http)
            except ModelFailed as failure:
                words = f"{failure.text} {failure.raw}"
                if failure.status not in REFUSAL_STATUSES or not _NO_FUNCTIONS.search(words):
                    raise
                self.no_tools = attrs.evolve(failure, kind=NO_TOOLS, retry_after=None)
                raise self.no_tools from None

        return lambda schema: partial(guarded, exchange_for(schema))


def send_adapted(
    request: ChatRequest,
    send: Send,
    exchange_for: ExchangeFactory,
    capabilities: EndpointCapabilities,
) -> Awaitable[ModelReply]:
    """The reply to a request, sent with its schema if the endpoint takes schemas.

    A refused schema is an attempt of its own in the record; the request is then sent without the
    schema, as are later ones. The reply's ``structured`` says which way it was. Refused functions
    are a failure of the kind ``no_tools``.
    """
    if request.tools:
        exchange_for = capabilities.with_functions(exchange_for)
    if request.schema is None or not capabilities.takes(request.schema):
        return send(exchange_for(False))  # noqa: FBT003 - without the schema
    return _send_with_schema(request.schema, send, exchange_for, capabilities)


async def _send_with_schema(
    schema: Record, send: Send, exchange_for: ExchangeFactory, capabilities: EndpointCapabilities
) -> ModelReply:
    # The refused attempt passes `send` too, so it is counted, recorded and found by a replay;
    # retrying inside one exchange would hide a paid request from the budget.
    try:
        reply = await send(exchange_for(True))  # noqa: FBT003 - with the schema
    except ModelFailed as failure:
        if not capabilities.note_refusal(failure, schema):
            raise
        return await send(exchange_for(False))  # noqa: FBT003 - without it
    capabilities.structured = True
    return reply


def number_calls(messages: tuple[Message, ...]) -> list[Message]:
    """The messages with call ids that are unique in the conversation, as servers demand.

    Recorded ids are positions in their turn (``call_0``), so two turns may share one.
    """
    if not any(message.calls for message in messages):
        return list(messages)
    count, ids, turns = 0, {}, []
    for message in messages:
        if message.calls:
            ids = {call.id: f"call_{count + place}" for place, call in enumerate(message.calls)}
            count += len(message.calls)
        calls = tuple(attrs.evolve(call, id=ids[call.id]) for call in message.calls)
        answers = ids.get(message.answers, message.answers)
        same = not calls and answers == message.answers
        turns.append(message if same else attrs.evolve(message, calls=calls, answers=answers))
    return turns
