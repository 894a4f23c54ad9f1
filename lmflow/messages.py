"""What is asked of the outside world and what it answers: requests, replies and failures, with their keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.errors import CallError, ModelFailed, StepTimeout, ToolFailed
from lmflow.values import Record, digest, pretty


@attrs.frozen
class Message:
    """One turn of a chat. ``role`` is system, user or assistant."""

    role: str
    content: str


@attrs.frozen
class ChatRequest:
    """One call of a language model, as it is keyed and recorded.

    ``model`` is ``provider/model`` or empty (the executor's own model); ``endpoint`` is filled in by the executor.
    ``options`` are decoding options by their wire names (``temperature``, ``max_tokens``, ``stop``, ``seed``).
    ``sample`` tells intended repeats apart and is never sent.
    """

    messages: tuple[Message, ...]
    model: str = ""
    endpoint: str = ""
    options: Record = attrs.field(factory=Record, converter=Record)
    sample: int = 0

    @property
    def key(self) -> str:
        """The hash of everything that was asked for: no key, timeout or client id."""
        return digest("chat", self)

    def __str__(self) -> str:
        head = [f"model: {self.model}@{self.endpoint}", f"options: {pretty(self.options)}", f"sample: {self.sample}"]
        return "\n".join([*head, *(f"[{m.role}]\n{m.content}" for m in self.messages)])


@attrs.frozen
class ToolRequest:
    """One call of a tool. ``identity`` says what its function does (source, version or owner's digest)."""

    tool: str
    identity: str
    inputs: Record
    sample: int = 0

    @property
    def key(self) -> str:
        """The hash of the tool's identity and its inputs."""
        return digest("tool", self)

    def __str__(self) -> str:
        return f"tool: {self.tool} ({self.identity})\ninputs: {pretty(self.inputs)}\nsample: {self.sample}"


Request = ChatRequest | ToolRequest


@attrs.frozen
class Usage:
    """Tokens of one call as the provider counts them; ``None`` where it doesn't say.

    ``cached`` is the part of ``prompt`` that was read from a cache.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None


@attrs.frozen
class ChatReply:
    """What a model answered. ``finish`` is the provider's finish reason, ``model`` the model it says it ran."""

    text: str
    finish: str = "stop"
    model: str = ""
    usage: Usage = Usage()

    @property
    def content(self) -> Any:
        """What a replay must reproduce: the text and how it ended, not tokens or names."""
        return ["chat", self.text, self.finish]


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


Outcome = ChatReply | ToolReply | Failure

_RECORDED: dict[str, Any] = {kind.__name__: kind for kind in (ModelFailed, ToolFailed, StepTimeout)}


def failure_of(error: CallError) -> Failure:
    """The error as data."""
    data: dict[str, Any] = attrs.asdict(error)  # type: ignore[arg-type]
    return Failure(type(error).__name__, Record(data))


def request_of(data: Mapping[str, Any]) -> Request:
    """The request that was stored as JSON values."""
    if "tool" in data:
        return ToolRequest(**{**data, "inputs": Record(data["inputs"])})
    return ChatRequest(**{**data, "messages": tuple(Message(**m) for m in data["messages"])})


def outcome_to(outcome: Outcome) -> dict[str, Any]:
    """The outcome as JSON values, ``outcome_of`` reads it back."""
    return {"is": type(outcome).__name__, **attrs.asdict(outcome, recurse=isinstance(outcome, ChatReply))}


def outcome_of(data: Mapping[str, Any]) -> Outcome:
    """The outcome that was stored as JSON values."""
    fields = {name: value for name, value in data.items() if name != "is"}
    match data["is"]:
        case "ChatReply":
            return ChatReply(**{**fields, "usage": Usage(**fields["usage"])})
        case "ToolReply":
            return ToolReply(fields["value"])
        case _:
            return Failure(fields["kind"], Record(fields["data"]))
