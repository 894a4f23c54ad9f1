"""Calls of other systems as values, each from one span."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.errors import ModelFailed, ToolFailed
from lmflow.messages.messages import Message
from lmflow.messages.replies import (
    ChatReply,
    EmbedReply,
    Failure,
    Outcome,
    ToolReply,
    Usage,
    failure_of,
)
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
from lmflow.telemetry.content import read_messages, read_reply
from lmflow.telemetry.names import OPTIONS, USAGE
from lmflow.telemetry.raw import RawSpan
from lmflow.values.json_text import parse
from lmflow.values.record import Record

_CHATS = ("chat", "text_completion", "generate_content", "completion")
_TOOLS = ("execute_tool", "retrieval")
_CUT = ("[truncated]", "(truncated)", "<truncated>", "…[truncated]", "...[truncated]")
_NANO = 1e9
_WRITTEN = ("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens")
_MOST_COUNTED = 2**53


@attrs.frozen
class ForeignCall:
    """A call of a model or tool that another system made.

    ``problem`` says what of it could not be read or was cut; a call with one is never shown to a
    model as a demonstration.
    """

    span: str
    name: str
    address: str
    request: Request
    outcome: Outcome
    attempt: int = 0
    started: int = 0
    ended: int = 0
    cost: int | None = None
    source: str = ""
    problem: str = ""


@attrs.define
class _Reader:
    """Reads attributes, and remembers the first that could not be read."""

    span: RawSpan
    problem: str = ""

    def json(self, name: str) -> Any:
        value = self.span.attributes.get(name)
        if not isinstance(value, str):
            return value
        self.check_cut(name, value)
        try:
            return parse(value)
        except ValueError:
            self.note(f"{name} isn't whole JSON")
            return None

    def check_cut(self, name: str, text: str) -> None:
        if text.rstrip().lower().endswith(_CUT):
            self.note(f"{name} was truncated")

    def text(self, name: str) -> str:
        value = self.span.attributes.get(name)
        return value if isinstance(value, str) else ""

    def note(self, problem: str) -> None:
        self.problem = self.problem or problem


def foreign_call(span: RawSpan, address: str) -> ForeignCall | None:
    """Return the call that a span is of, ``None`` if it is of none."""
    operation = span.attributes.get("gen_ai.operation.name")
    reader = _Reader(span)
    if span.dropped:
        reader.note("attributes were left out")
    if operation in _CHATS:
        request, outcome = _chat(reader)
    elif operation == "embeddings":
        request = EmbedRequest((), _model(reader), reader.text("server.address"))
        outcome = _failed_model(span) or EmbedReply(
            (), reader.text("gen_ai.response.model"), _usage(span)
        )
    elif operation in _TOOLS:
        request, outcome = _tool(reader)
    else:
        return None
    attempt = span.attributes.get("lmflow.attempt")
    return ForeignCall(
        span=span.id,
        name=span.name,
        address=address,
        request=request,
        outcome=outcome,
        attempt=int(attempt or 0) if _is_count(attempt) else 0,
        started=span.started,
        ended=max(1, span.started, span.ended),
        cost=_cost(span),
        source=reader.text("lmflow.reused.trace"),
        problem=reader.problem,
    )


def _chat(reader: _Reader) -> tuple[Request, Outcome]:
    request = ChatRequest(
        _messages(reader),
        _model(reader),
        reader.text("server.address"),
        _options(reader),
        _definitions(reader),
    )
    failure = _failed_model(reader.span)
    return request, failure or _reply(reader)


def _messages(reader: _Reader) -> tuple[Message, ...]:
    messages: list[Message] = []
    instructions = reader.json("gen_ai.system_instructions")
    if instructions is not None:
        messages += _read(reader, [{"role": "system", "parts": instructions}])
    values = reader.json("gen_ai.input.messages")
    if values is None:
        reader.note("its messages were not sent")
        return tuple(messages)
    return (*messages, *_read(reader, values))


def _read(reader: _Reader, values: Any) -> tuple[Message, ...]:
    read = read_messages(values)
    if read.problem:
        reader.note(read.problem)
    for message in read.messages:
        reader.check_cut("a message", message.content)
    return read.messages


def _reply(reader: _Reader) -> ChatReply:
    values = reader.json("gen_ai.output.messages")
    reply = ChatReply("")
    if isinstance(values, list) and values:
        try:
            reply = read_reply(values[0])
        except (ValueError, TypeError, KeyError):
            reader.note("its reply can't be read")
    else:
        reader.note("its reply was not sent")
    reasons = reader.span.attributes.get("gen_ai.response.finish_reasons")
    if reply == ChatReply("") and isinstance(reasons, list) and reasons:
        reply = attrs.evolve(reply, finish=str(reasons[0]))
    reader.check_cut("the reply", reply.text)
    if reply.finish in {"length", "max_tokens"}:
        reader.note("the reply was cut at the token limit")
    return attrs.evolve(
        reply, model=reader.text("gen_ai.response.model"), usage=_usage(reader.span)
    )


def _tool(reader: _Reader) -> tuple[Request, Outcome]:
    name = reader.text("gen_ai.tool.name") or reader.span.name
    arguments = reader.json("gen_ai.tool.call.arguments")
    if arguments is None:
        reader.note("its arguments were not sent")
    inputs = arguments if isinstance(arguments, Mapping) else {"arguments": arguments}
    request = ToolRequest(name, reader.text("lmflow.tool.identity"), Record(inputs))
    if reader.span.error or "error.type" in reader.span.attributes:
        kind = reader.text("error.type") or "error"
        return request, failure_of(ToolFailed(name, kind, reader.span.error or kind))
    result = reader.span.attributes.get("gen_ai.tool.call.result")
    if isinstance(result, str):
        reader.check_cut("the result", result)
        with contextlib.suppress(ValueError):
            result = parse(result)
    return request, ToolReply(result)


def _failed_model(span: RawSpan) -> Failure | None:
    kind = span.attributes.get("error.type")
    if not span.error and not kind:
        return None
    return failure_of(ModelFailed("server", span.error or str(kind)))


def _model(reader: _Reader) -> str:
    own = reader.text("lmflow.request.model")
    if own:
        return own
    provider = reader.text("gen_ai.provider.name") or reader.text("gen_ai.system")
    model = reader.text("gen_ai.request.model") or reader.text("gen_ai.response.model")
    return f"{provider}/{model}" if provider and model else model or provider


def _options(reader: _Reader) -> Record:
    own = reader.json("lmflow.request.options")
    if isinstance(own, Mapping):
        return Record(own)
    attributes = reader.span.attributes
    found = {
        ours: attributes[theirs]
        for ours, theirs in OPTIONS.items()
        if isinstance(attributes.get(theirs), (int, float, str, list))
    }
    found.pop("max_completion_tokens", None)
    return Record(found)


def _definitions(reader: _Reader) -> tuple[Record, ...]:
    values = reader.json("gen_ai.tool.definitions")
    tools = values if isinstance(values, list) else []
    return tuple(
        Record({name: item for name, item in tool.items() if name != "type"})
        for tool in tools
        if isinstance(tool, Mapping)
    )


def _usage(span: RawSpan) -> Usage:
    prefix = "lmflow.reused." if span.attributes.get("lmflow.source") == "reused" else ""
    counts = {ours: _count(span, f"{prefix}{theirs}") for ours, theirs in USAGE.items()}
    written = [_count(span, f"{prefix}{name}") for name in _WRITTEN]
    return Usage(**counts, written=next((count for count in written if count is not None), None))


def _count(span: RawSpan, name: str) -> int | None:
    value = span.attributes.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and _is_count(value) else None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST_COUNTED


def _cost(span: RawSpan) -> int | None:
    own = span.attributes.get("lmflow.cost.nano_usd")
    if own is not None and _is_count(own):
        return int(own)
    for name in ("llm.cost.total", "gen_ai.usage.cost"):
        usd = span.attributes.get(name)
        if isinstance(usd, (int, float)) and not isinstance(usd, bool) and 0 <= usd < 1e6:  # noqa: PLR2004
            return round(usd * _NANO)
    return None
