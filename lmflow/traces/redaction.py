"""Redaction: a function of the user's cleans every stored text, keys become keyed hashes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lmflow.messages.messages import Attached, Message, ToolCall
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, Outcome, ToolReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
from lmflow.traces.addresses import escape_label, unescape_label
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    RaceWon,
    RunOpened,
    RunPlanned,
    TraceClosed,
    TraceOpened,
)
from lmflow.traces.trace import CallAttempt, Failed, PlannedExecution, Run, Trace
from lmflow.values.canonical_text import KEYED
from lmflow.values.media import Media, redact_media
from lmflow.values.record import Record, plain

UNREDACTED = "unredacted"
"""In the world of a trace whose executor redacts: it holds the texts that the store does not."""

_LABEL = re.compile(r"(?<=branch)\[([^\[\]]*)\]")
_POSITION = re.compile(r"[0-9]{1,5}")


def agrees(recorded: CallAttempt, request: Request) -> bool:
    """Say whether a recorded call has the same request as ``request``.

    The key of a redacted call can't be derived again, so its request is compared without texts.
    """
    if not recorded.key.startswith(KEYED):
        # Equal requests have equal keys, and comparing two values is cheaper than hashing one.
        return recorded.request == request or recorded.key == request.key
    return _frame(recorded.request) == _frame(request)


def _frame(request: Request) -> list[Any]:
    """Return the parts of a request that redaction leaves as they are."""
    match request:
        case ChatRequest():
            roles = [message.role for message in request.messages]
            return [request.model, request.endpoint, request.options, request.sample, roles]
        case EmbedRequest():
            return [request.model, request.endpoint, len(request.texts)]
        case ToolRequest():
            return [request.tool, request.identity, request.sample, list(request.inputs)]


def _short_enough(holder: object, field: object, secret: bytes) -> None:
    del holder, field
    if not 1 <= len(secret) <= hashlib.blake2b.MAX_KEY_SIZE:
        msg = f"the secret must have 1 to {hashlib.blake2b.MAX_KEY_SIZE} bytes, found {len(secret)}"
        raise ValueError(msg)


@attrs.frozen
class Redactor:
    """Cleans events on their way to the store; callers still get their results unchanged.

    Keys are stored as their keyed BLAKE2b hashes. Versions are stored unchanged: instructions and
    demonstrations belong to the developer, not to users. Vectors are stored unchanged too.
    Pictures, sounds and files can't be cleaned: their content is not stored, and a keyed hash
    replaces it.

    Args:
        clean: A function of a text that returns the cleaned text. It is applied to every text of
            messages, tool inputs, replies, inputs, outputs and failures, and to labels from data.
        secret: The key of the hashes, 1 to 64 bytes.

    Raises:
        ValueError: If ``secret`` is empty or too long.
    """

    clean: Callable[[str], str] = attrs.field(repr=False)
    secret: bytes = attrs.field(repr=False, validator=_short_enough)

    def event(self, event: Event) -> Event:  # noqa: PLR0911 - one return an event
        """Return the event as it may be stored."""
        match event:
            case TraceOpened(run, label, position, trace):
                return TraceOpened(run, self._label(label), position, self.trace(trace))
            case TraceClosed(trace):
                return TraceClosed(self.trace(trace))
            case CallStarted(trace_id, call):
                return CallStarted(trace_id, self.call(call))
            case CallEnded(trace_id, call):
                return CallEnded(trace_id, self.call(call))
            case RunOpened(run, versions) if run.wanted:
                planned = tuple(map(self._planned, run.wanted))
                return RunOpened(attrs.evolve(run, wanted=planned), versions)
            case RunPlanned(executions=executions):
                return attrs.evolve(event, executions=tuple(map(self._planned, executions)))
            case RaceWon(trace_id, address, winner):
                return RaceWon(trace_id, self.labels(address), self._winner(winner))
            case _:
                return event

    def trace(self, trace: Trace) -> Trace:
        """Return the trace as it may be stored; its world has ``redacted``."""
        world = trace.world.only(*(name for name in trace.world if name != UNREDACTED))
        failure = trace.failure and Failed(trace.failure.kind, self.text(trace.failure.text))
        return attrs.evolve(
            trace,
            inputs=self.fields(trace.inputs),
            outputs=None if trace.outputs is None else self.fields(trace.outputs),
            failure=failure,
            world=world | {"redacted": True},
            calls=tuple(map(self.call, trace.calls)),
            choices=Record(
                {self.labels(at): self._winner(winner) for at, winner in trace.choices.items()}
            ),
        )

    def call(self, call: CallAttempt) -> CallAttempt:
        """Return the call as it may be stored."""
        return attrs.evolve(
            call,
            address=self.labels(call.address),
            request=self.request(call.request),
            key=self.key(call.key),
            outcome=None if call.outcome is None else self.outcome(call.outcome),
        )

    def key(self, key: str) -> str:
        """Return the keyed hash of a key; without the secret nobody can guess the request."""
        return (
            KEYED
            + hashlib.blake2b(key.encode("ascii"), key=self.secret, digest_size=32).hexdigest()
        )

    def request(self, request: Request) -> Request:
        """Return the request as it may be stored."""
        match request:
            case ChatRequest():
                return attrs.evolve(request, messages=tuple(map(self._message, request.messages)))
            case EmbedRequest():
                return attrs.evolve(request, texts=tuple(map(self.text, request.texts)))
            case ToolRequest():
                return attrs.evolve(request, inputs=self.fields(request.inputs))

    def outcome(self, outcome: Outcome) -> Outcome:
        """Return the reply or failure as it may be stored.

        The chunks of a text that was changed, and the tokens of log probabilities, are left out:
        they spell the original text.
        """
        match outcome:
            case ChatReply():
                text = self.text(outcome.text)
                return attrs.evolve(
                    outcome,
                    text=text,
                    reasoning=self.text(outcome.reasoning),
                    refusal=self.text(outcome.refusal),
                    calls=tuple(map(self._tool_call, outcome.calls)),
                    chunks=outcome.chunks if text == outcome.text else (),
                    logprobs=_numbers(outcome),
                )
            case ToolReply():
                return ToolReply(self.value(outcome.value))
            case Failure():
                unchanged = {
                    name: outcome.data[name] for name in ("kind", "tool") if name in outcome.data
                }
                return Failure(outcome.kind, self.fields(outcome.data) | unchanged)
            case EmbedReply():
                return outcome

    def fields(self, record: Mapping[str, Any]) -> Record:
        """Return a record with cleaned values; its names belong to the program and stay."""
        return Record({name: self.value(item) for name, item in plain(record, kept=True).items()})

    def value(self, value: Any) -> Any:
        """Return a JSON value with cleaned texts, keys of mappings included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Media):
            return self.media(value)
        if isinstance(value, Mapping):
            return {self.text(name): self.value(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return list(map(self.value, value))
        return value

    def media(self, media: Media) -> Media:
        """Return a picture, sound or file without its content, with a cleaned name and URL."""
        digest = self.key(media.digest).removeprefix(KEYED) if media.digest else ""
        return redact_media(media, digest, self.text(media.name), self.text(media.url))

    def text(self, text: str) -> str:
        """Return a cleaned text.

        Raises:
            TypeError: If ``clean`` returns something else; nothing is stored or sent then.
        """
        cleaned = self.clean(text) if text else text
        if not isinstance(cleaned, str):
            msg = f"redact must give a text, found {type(cleaned).__qualname__}"
            raise TypeError(msg)
        return cleaned

    def labels(self, address: str) -> str:
        """Return an address with cleaned branch labels."""
        return _LABEL.sub(
            lambda match: f"[{escape_label(self._label(unescape_label(match[1])))}]", address
        )

    def root(self, run: Run) -> str:
        """Return the root of the redacted run: from the original's root, texts could be guessed."""
        items = tuple((self._label(label), self.trace(trace)) for label, trace in run.items)
        return attrs.evolve(run, items=items).root

    def _label(self, label: str) -> str:
        """Return a cleaned label; a changed one ends in a hash, so that two labels stay two."""
        if _POSITION.fullmatch(label):
            return label
        cleaned = self.text(label)
        if cleaned == label:
            return label
        return f"{cleaned}~{self.key(ascii(label)).removeprefix(KEYED)[:8]}"

    def _planned(self, planned: PlannedExecution) -> PlannedExecution:
        return attrs.evolve(
            planned, label=self._label(planned.label), inputs=self.fields(planned.inputs)
        )

    def _winner(self, winner: Any) -> Any:
        return self._label(winner) if isinstance(winner, str) else winner

    def _tool_call(self, call: ToolCall) -> ToolCall:
        return attrs.evolve(call, arguments=self.text(call.arguments), state=self.value(call.state))

    def _message(self, message: Message) -> Message:
        calls = tuple(map(self._tool_call, message.calls))
        if not message.attached:
            return attrs.evolve(message, content=self.text(message.content), calls=calls)
        content, attached = "", []
        for part in message.parts:
            if isinstance(part, Media):
                attached.append(Attached(len(content), self.media(part)))
            else:
                content += self.text(part)
        return attrs.evolve(message, content=content, calls=calls, attached=tuple(attached))


def _numbers(reply: ChatReply) -> Any:
    """Return the log probabilities of a reply without the tokens, ``None`` if it has none."""
    if not reply.tokens:
        return None
    return {"content": [{"token": "", "logprob": token.logprob} for token in reply.tokens]}
