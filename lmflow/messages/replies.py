"""Replies of models and tools, and failures as values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import CallError, ModelFailed, StepTimeout, ToolFailed, TooLong
from lmflow.messages.messages import _DIGITS, ToolCall
from lmflow.values.attributes import lean
from lmflow.values.record import Record
from lmflow.values.vectors import Vector, compact


@attrs.frozen
class Usage:
    """Tokens of one call as the provider counts them; ``None`` where it doesn't say.

    ``cached`` is the part of ``prompt`` that was read from a cache, ``written`` the part that was
    written to one, ``reasoning`` the part of ``completion`` that isn't in the text.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    written: int | None = None
    reasoning: int | None = None


@attrs.frozen
class Token:
    """One token of a reply with its log probability, and those of the likeliest in its place, where
    they were asked for (``top_logprobs``).
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@attrs.frozen
class ChatReply:
    """What a model answered. ``finish`` is why it stopped (stop, length, tool_calls,
    content_filter, ...).

    ``model`` is the model that it says it ran. ``reasoning`` is what the provider shows of its
    thinking, ``refusal`` why it wouldn't answer, ``logprobs`` the provider's own form, passed
    through. ``chunks`` are the lengths, in code points, of the pieces in which a streamed text
    came. ``structured`` is whether the request's schema was sent to the endpoint, ``None`` where
    the request has none.
    """

    text: str
    finish: str = "stop"
    model: str = ""
    usage: Usage = Usage()
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    refusal: str = ""
    logprobs: Any = None
    chunks: tuple[int, ...] = ()
    structured: bool | None = None

    @property
    def shown(self) -> str:
        """What a person is shown of it: the text, and below it the calls that it asks for."""
        return "\n".join(
            [
                *([self.text] if self.text else []),
                *(f"{it.name} {it.arguments}" for it in self.calls),
            ]
        )

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The tokens of the text with their log probabilities; none where the endpoint gave none."""
        found = self.logprobs.get("content") if isinstance(self.logprobs, Mapping) else None
        rows = [row for row in found or () if isinstance(row, Mapping) and "logprob" in row]
        return tuple(
            Token(str(row.get("token", "")), float(row["logprob"]), _others(row)) for row in rows
        )

    @property
    def confidence(self) -> float | None:
        """The geometric mean of the tokens' probabilities, from 0 to 1; ``None`` where there are no
        logprobs.
        """
        found = [token.logprob for token in self.tokens]
        return round(min(1.0, math.exp(math.fsum(found) / len(found))), _DIGITS) if found else None

    @property
    def content(self) -> Any:
        """What a replay must reproduce: the text, the calls and how it ended, not tokens, names or
        borders.
        """
        more = {"calls": self.calls, "refusal": self.refusal}
        return [
            "chat",
            self.text,
            self.finish,
            {name: value for name, value in more.items() if value},
        ]


def _others(row: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    return tuple(
        (str(other.get("token", "")), float(other["logprob"]))
        for other in row.get("top_logprobs") or ()
    )


def _compact(vectors: Iterable[Iterable[float]]) -> tuple[Vector, ...]:
    return tuple(map(compact, vectors))


@attrs.frozen
class EmbedReply:
    """The vectors, in the order of the texts, ``compact``: so they are the same in memory, in a
    store and in a key.

    ``ValueError`` for numbers that float32 doesn't hold.
    """

    vectors: tuple[Vector, ...] = attrs.field(converter=_compact)
    model: str = ""
    usage: Usage = Usage()

    @property
    def content(self) -> Any:
        """What a replay must reproduce."""
        return ["embed", self.vectors]


@attrs.frozen
class ToolReply:
    """What a tool returned, as JSON values."""

    value: Any

    @property
    def content(self) -> Any:
        """What a replay must reproduce."""
        return ["tool", self.value]


@attrs.frozen
class Failure:
    """A recorded error of the closed set, as data: ``error`` rebuilds it, live and in replay alike."""

    kind: str
    data: Record

    @property
    def content(self) -> Any:
        """What a replay must reproduce."""
        return ["failure", self.kind, self.data]

    def error(self) -> CallError:
        """The error that is thrown into the flow."""
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
    """The outcome as JSON values without what is at its default; ``outcome_of`` reads it back."""
    found = {"is": type(outcome).__name__, **lean(outcome)}
    if "usage" in found:
        found["usage"] = attrs.asdict(found["usage"])
    if "calls" in found:
        found["calls"] = [attrs.asdict(call) for call in found["calls"]]
    return found


def outcome_of(data: Mapping[str, Any]) -> Outcome:
    """The outcome that was stored as JSON values."""
    fields = {name: value for name, value in data.items() if name != "is"}
    if "usage" in fields:
        fields["usage"] = Usage(**fields["usage"])
    match data["is"]:
        case "ChatReply":
            calls = tuple(ToolCall(**call) for call in fields.pop("calls", ()))
            return ChatReply(
                **{**fields, "calls": calls, "chunks": tuple(fields.pop("chunks", ()))}
            )
        case "EmbedReply":
            return EmbedReply(**fields)
        case "ToolReply":
            return ToolReply(fields["value"])
        case _:
            return Failure(fields["kind"], Record(fields["data"]))
