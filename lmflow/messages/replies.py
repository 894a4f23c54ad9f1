"""Replies of models and tools, and failures as values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import CallError, ModelFailed, StepTimeout, ToolFailed, TooLong
from lmflow.messages.messages import ToolCall
from lmflow.values.attributes import lean
from lmflow.values.canonical_text import text_form
from lmflow.values.record import Record, canonical, plain
from lmflow.values.unicode import well_formed
from lmflow.values.vectors import Vector, compact

_DIGITS = 9  # exp and log differ in the last digits between machines, and replies must not


@attrs.frozen
class Usage:
    """Tokens of one call as the provider counts them; ``None`` if it doesn't say.

    Args:
        prompt: The tokens of the request.
        completion: The tokens of the reply.
        cached: The part of ``prompt`` that was read from a cache.
        written: The part of ``prompt`` that was written to a cache.
        reasoning: The part of ``completion`` that isn't in the text.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    written: int | None = None
    reasoning: int | None = None


@attrs.frozen
class Token:
    """One token of a reply with its log probability. ``top`` has the likeliest tokens in its place
    with theirs, if the request has the option ``top_logprobs``.
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@attrs.frozen
class ChatReply:
    """The reply of a language model.

    Args:
        text: The text.
        finish: Why the model stopped: ``stop``, ``length``, ``tool_calls``, ``content_filter`` or
            another word of the provider.
        model: The model that the provider says it ran.
        usage: The tokens of the call.
        reasoning: The model's thinking, as far as the provider shows it.
        calls: The tool calls that the model requests.
        refusal: Why the model wouldn't answer.
        logprobs: The log probabilities in the provider's own form.
        chunks: The lengths, in code points, of the pieces in which a streamed text arrived.
        structured: Whether the request's schema was sent to the endpoint; ``None`` if the request
            has no schema.
        tier: ``batch`` if the reply came by a batch, at the price of that; empty if it came live.
    """

    text: str = attrs.field(converter=well_formed)
    finish: str = "stop"
    model: str = ""
    usage: Usage = Usage()
    reasoning: str = attrs.field(default="", converter=well_formed)
    calls: tuple[ToolCall, ...] = ()
    refusal: str = attrs.field(default="", converter=well_formed)
    logprobs: Any = None
    chunks: tuple[int, ...] = ()
    structured: bool | None = None
    tier: str = ""

    @property
    def readable(self) -> str:
        """The reply as people read it: the text, and below it the requested tool calls."""
        calls = [f"{call.name} {call.arguments}" for call in self.calls]
        return "\n".join([self.text, *calls] if self.text else calls)

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The tokens of the text with their log probabilities; empty if the reply has none."""
        content = self.logprobs.get("content") if isinstance(self.logprobs, Mapping) else None
        rows = [row for row in content or () if isinstance(row, Mapping) and "logprob" in row]
        return tuple(
            Token(str(row.get("token", "")), float(row["logprob"]), _top(row)) for row in rows
        )

    @property
    def confidence(self) -> float | None:
        """The geometric mean of the tokens' probabilities, from 0 to 1; ``None`` if the reply has
        no logprobs.
        """
        logprobs = [token.logprob for token in self.tokens]
        if not logprobs:
            return None
        return round(min(1.0, math.exp(math.fsum(logprobs) / len(logprobs))), _DIGITS)

    @property
    def content(self) -> Any:
        """The part that a replay must reproduce: text, finish, calls and refusal, but not usage,
        model or chunks.
        """
        # A signature is another one each time, so it says nothing about what the model answered.
        calls = [attrs.evolve(call, state=None) for call in self.calls]
        optional = {"calls": tuple(calls), "refusal": self.refusal}
        present = {name: value for name, value in optional.items() if value}
        return ["chat", self.text, self.finish, present]

    @property
    def content_form(self) -> str:
        """The canonical form of the content."""
        if self.calls or self.refusal:
            return canonical(self.content)
        # Nearly every reply is a text alone: its form is written without making the values first.
        return f'["chat",{text_form(self.text)},{text_form(self.finish)},{{}}]'


def _top(row: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    return tuple(
        (str(other.get("token", "")), float(other["logprob"]))
        for other in row.get("top_logprobs") or ()
    )


def _compact(vectors: Iterable[Iterable[float]]) -> tuple[Vector, ...]:
    return tuple(map(compact, vectors))


@attrs.frozen
class EmbedReply:
    """The reply of an embedding model.

    Args:
        vectors: A vector for each text, in the order of the texts. They are made ``compact``, so
            that they are the same in memory, in a store and in a key.
        model: The model that the provider says it ran.
        usage: The tokens of the call.
        tier: ``batch`` if the reply came by a batch, at the price of that; empty if it came live.

    Raises:
        ValueError: float32 doesn't hold a number.
    """

    vectors: tuple[Vector, ...] = attrs.field(converter=_compact)
    model: str = ""
    usage: Usage = Usage()
    tier: str = ""

    @property
    def content(self) -> Any:
        """The part that a replay must reproduce."""
        return ["embed", self.vectors]

    @property
    def content_form(self) -> str:
        """The canonical form of the content."""
        return canonical(self.content)


@attrs.frozen
class ToolReply:
    """The value that a tool returned, as JSON values."""

    value: Any

    @property
    def content(self) -> Any:
        """The part that a replay must reproduce."""
        return ["tool", self.value]

    @property
    def content_form(self) -> str:
        """The canonical form of the content."""
        return canonical(self.content)


@attrs.frozen
class Failure:
    """A ``CallError`` as data, by its class name and fields, so that it can be recorded."""

    kind: str
    data: Record

    @property
    def content(self) -> Any:
        """The part that a replay must reproduce."""
        return ["failure", self.kind, self.data]

    @property
    def content_form(self) -> str:
        """The canonical form of the content."""
        return canonical(self.content)

    def error(self) -> CallError:
        """The error that is thrown into the flow, rebuilt: the same live and in a replay."""
        error: CallError = _RECORDED[self.kind](**self.data)
        return error


ModelReply = ChatReply | EmbedReply


Outcome = ChatReply | EmbedReply | ToolReply | Failure


_RECORDED: dict[str, Any] = {
    kind.__name__: kind for kind in (ModelFailed, TooLong, ToolFailed, StepTimeout)
}


def failure_of(error: CallError) -> Failure:
    """The error as data."""
    return Failure(type(error).__name__, Record(lean(error)))


def outcome_to(outcome: Outcome) -> dict[str, Any]:
    """The outcome as JSON values without fields at their defaults; ``outcome_of`` reads it back."""
    data = {"is": type(outcome).__name__, **lean(outcome)}
    if "usage" in data:
        data["usage"] = attrs.asdict(data["usage"])
    if "calls" in data:
        data["calls"] = plain(data["calls"])
    return data


def outcome_of(data: Mapping[str, Any]) -> Outcome:
    """The outcome that was stored as JSON values."""
    fields = {name: value for name, value in data.items() if name != "is"}
    if "usage" in fields:
        fields["usage"] = Usage(**fields["usage"])
    match data["is"]:
        case "ChatReply":
            fields["calls"] = tuple(ToolCall(**call) for call in fields.get("calls", ()))
            fields["chunks"] = tuple(fields.get("chunks", ()))
            return ChatReply(**fields)
        case "EmbedReply":
            return EmbedReply(**fields)
        case "ToolReply":
            return ToolReply(fields["value"])
        case _:
            return Failure(fields["kind"], Record(fields["data"]))
