"""What is asked of the outside world and what it answers: requests, replies and failures, with their keys."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import CallError, ModelFailed, StepTimeout, ToolFailed, TooLong
from lmflow.media import Media, media_of
from lmflow.values import Form, Record, canonical, digest, lean, pretty, record, text_form
from lmflow.vectors import Vector, compact

CACHED, PURE, LIVE = "cached", "pure", "live"
MODES = (CACHED, PURE, LIVE)
"""How a tool's recorded answers may be used beyond exact replay and resume.

``cached``: at their own address, where the same is asked again. ``pure``: also anywhere else that asks the same, and
for every sample, since the answer depends on the inputs alone. ``live``: nowhere, the tool is always asked anew.
"""


@attrs.frozen
class ToolCall:
    """A call of a tool that a model asks for, ``arguments`` as the model wrote them.

    ``id`` is positional (``call_0``), whatever the provider's was, so that equal conversations have equal keys.
    """

    name: str
    arguments: str
    id: str = "call_0"


@attrs.frozen
class Attached:
    """A picture, sound or file in a message: it stands before the character ``at`` of the text."""

    at: int
    media: Media


@attrs.frozen
class Message:
    """One turn of a chat. ``role`` is system, user, assistant or tool.

    ``calls`` are what an assistant asked for; ``answers`` is the id of the call that a tool's turn answers;
    ``attached`` are pictures, sounds and files, in the order in which they stand in the text.
    """

    role: str
    content: str
    calls: tuple[ToolCall, ...] = ()
    answers: str = ""
    attached: tuple[Attached, ...] = ()

    @property
    def parts(self) -> tuple[str | Media, ...]:
        """The text and what is attached to it, in order; no part is empty."""
        if not self.attached:
            return (self.content,) if self.content else ()
        ends = [attached.at for attached in self.attached]
        texts = [self.content[start:end] for start, end in zip([0, *ends], [*ends, None], strict=True)]
        media: list[str | Media] = [*(attached.media for attached in self.attached), ""]
        pairs: Iterable[tuple[str | Media, str | Media]] = zip(texts, media, strict=True)
        return tuple(part for pair in pairs for part in pair if part)

    @property
    def told(self) -> str:
        """The message as people read it: the text, with what is attached by its name and not as its content."""
        return "".join(map(str, self.parts)) if self.attached else self.content

    @property
    def form(self) -> Form:
        """The canonical form of what isn't at its default. Most messages are a role and a content, written at once."""
        if self.calls or self.answers or self.attached:
            return Form(canonical(lean(self)))
        return Form(f'{{"content":{text_form(self.content)},"role":{text_form(self.role)}}}')


@attrs.frozen
class ChatRequest:
    """One call of a language model, as it is keyed and recorded.

    ``model`` is ``provider/model`` or empty (the executor's own model); ``endpoint`` is filled in by the executor.
    ``options`` are decoding options by their wire names (``temperature``, ``max_tokens``, ``stop``, ``seed``).
    ``tools`` are what the model may call (name, description, parameters as JSON schema); ``schema`` is the JSON schema
    that the reply must fit, sent where the endpoint takes one. ``sample`` tells intended repeats apart; it is sent only
    as an offset to ``seed``.
    """

    messages: tuple[Message, ...]
    model: str = ""
    endpoint: str = ""
    options: Record = attrs.field(factory=Record, converter=record)
    tools: tuple[Record, ...] = ()
    schema: Record | None = None
    sample: int = 0

    @property
    def key(self) -> str:
        """The hash of everything that was asked for: no key, timeout or client id."""
        return digest("chat", lean(self) | {"messages": [message.form for message in self.messages]})

    @property
    def attaches(self) -> bool:
        """Whether a picture, sound or file is among its messages."""
        return any(message.attached for message in self.messages)

    def to(self, model: str, endpoint: str) -> ChatRequest:
        """The same, asked of that model there."""
        return ChatRequest(self.messages, model, endpoint, self.options, self.tools, self.schema, self.sample)

    def __str__(self) -> str:
        head = [f"model: {self.model}@{self.endpoint}", f"options: {pretty(self.options)}", f"sample: {self.sample}"]
        head += [f"tool: {pretty(tool)}" for tool in self.tools]
        head += [f"schema: {pretty(self.schema)}"] if self.schema is not None else []
        return "\n".join([*head, *(_shown(message) for message in self.messages)])


@attrs.frozen
class EmbedRequest:
    """One call of an embedding model: a vector is asked for each text."""

    texts: tuple[str, ...]
    model: str = ""
    endpoint: str = ""

    @property
    def key(self) -> str:
        """The hash of everything that was asked for."""
        return digest("embed", lean(self))

    def to(self, model: str, endpoint: str) -> EmbedRequest:
        """The same, asked of that model there."""
        return EmbedRequest(self.texts, model, endpoint)

    def __str__(self) -> str:
        return "\n".join([f"model: {self.model}@{self.endpoint}", *(f"text: {text}" for text in self.texts)])


@attrs.frozen
class ToolRequest:
    """One call of a tool. ``identity`` says what its function does (source, version or owner's digest).

    ``mode`` is how the tool's recorded answers may be used: no part of what is asked, so neither keyed nor kept.
    """

    tool: str
    identity: str
    inputs: Record
    sample: int = 0
    mode: str = attrs.field(default=CACHED, eq=False)

    @property
    def key(self) -> str:
        """The hash of the tool's identity and its inputs."""
        return digest("tool", lean(self))

    def __str__(self) -> str:
        return f"tool: {self.tool} ({self.identity})\ninputs: {pretty(self.inputs)}\nsample: {self.sample}"


_DIGITS = 9  # what is made of logprobs is the same on every machine
ModelRequest = ChatRequest | EmbedRequest
Request = ChatRequest | EmbedRequest | ToolRequest


@attrs.frozen
class Usage:
    """Tokens of one call as the provider counts them; ``None`` where it doesn't say.

    ``cached`` is the part of ``prompt`` that was read from a cache, ``written`` the part that was written to one,
    ``reasoning`` the part of ``completion`` that isn't in the text.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    written: int | None = None
    reasoning: int | None = None


@attrs.frozen
class Token:
    """One token of a reply with its log probability, and those of the likeliest in its place, where they were asked
    for (``top_logprobs``).
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@attrs.frozen
class ChatReply:
    """What a model answered. ``finish`` is why it stopped (stop, length, tool_calls, content_filter, ...).

    ``model`` is the model that it says it ran. ``reasoning`` is what the provider shows of its thinking, ``refusal``
    why it wouldn't answer, ``logprobs`` the provider's own form, passed through. ``chunks`` are the lengths, in code
    points, of the pieces in which a streamed text came. ``structured`` is whether the request's schema was sent to the
    endpoint, ``None`` where the request has none.
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
        return "\n".join([*([self.text] if self.text else []), *(f"{it.name} {it.arguments}" for it in self.calls)])

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The tokens of the text with their log probabilities; none where the endpoint gave none."""
        found = self.logprobs.get("content") if isinstance(self.logprobs, Mapping) else None
        rows = [row for row in found or () if isinstance(row, Mapping) and "logprob" in row]
        return tuple(Token(str(row.get("token", "")), float(row["logprob"]), _others(row)) for row in rows)

    @property
    def confidence(self) -> float | None:
        """The geometric mean of the tokens' probabilities, from 0 to 1; ``None`` where there are no logprobs."""
        found = [token.logprob for token in self.tokens]
        return round(min(1.0, math.exp(math.fsum(found) / len(found))), _DIGITS) if found else None

    @property
    def content(self) -> Any:
        """What a replay must reproduce: the text, the calls and how it ended, not tokens, names or borders."""
        more = {"calls": self.calls, "refusal": self.refusal}
        return ["chat", self.text, self.finish, {name: value for name, value in more.items() if value}]


def _others(row: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    return tuple((str(other.get("token", "")), float(other["logprob"])) for other in row.get("top_logprobs") or ())


def _compact(vectors: Iterable[Iterable[float]]) -> tuple[Vector, ...]:
    return tuple(map(compact, vectors))


@attrs.frozen
class EmbedReply:
    """The vectors, in the order of the texts, ``compact``: so they are the same in memory, in a store and in a key.

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

_RECORDED: dict[str, Any] = {kind.__name__: kind for kind in (ModelFailed, TooLong, ToolFailed, StepTimeout)}


def failure_of(error: CallError) -> Failure:
    """The error as data."""
    return Failure(type(error).__name__, Record(lean(error)))


def message_of(data: Mapping[str, Any]) -> Message:
    """The message that was stored as JSON values, ``lean`` or whole."""
    more = {"attached": tuple(map(_attached_of, data["attached"]))} if "attached" in data else {}
    return Message(**{**data, "calls": tuple(ToolCall(**call) for call in data.get("calls", ())), **more})


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
            return ChatReply(**{**fields, "calls": calls, "chunks": tuple(fields.pop("chunks", ()))})
        case "EmbedReply":
            return EmbedReply(**fields)
        case "ToolReply":
            return ToolReply(fields["value"])
        case _:
            return Failure(fields["kind"], Record(fields["data"]))


def _attached_of(data: Mapping[str, Any]) -> Attached:
    media = data["media"]
    return Attached(data["at"], media if isinstance(media, Media) else media_of(media))


def _shown(message: Message) -> str:
    calls = "".join(f"\n{call.id}: {call.name}({call.arguments})" for call in message.calls)
    return f"[{message.role}{f' {message.answers}' if message.answers else ''}]\n{message.told}{calls}"
