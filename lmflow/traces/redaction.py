"""Cleaning what is stored: bodies pass a function of the user's, keys become keyed hashes of the
original.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote

import attrs

from lmflow.messages.messages import Attached, Message
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, Outcome, ToolReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    RaceWon,
    RunOpened,
    TraceClosed,
    TraceOpened,
)
from lmflow.traces.trace import CallAttempt, Failed, PlannedExecution, Run, Trace
from lmflow.values.canonical_text import KEYED
from lmflow.values.media import Media, hidden
from lmflow.values.record import Record, plain

_LABEL = re.compile(r"(?<=branch)\[([^\[\]]*)\]")
_POSITION = re.compile(r"[0-9]{1,5}")


def agrees(recorded: CallAttempt, request: Request) -> bool:
    """Whether a recorded call is what is asked now. The key of a redacted one can't be derived
    again: what was asked is compared without its texts.
    """
    if not recorded.key.startswith(KEYED):
        return (
            recorded.request == request or recorded.key == request.key
        )  # equal requests have equal keys
    return _frame(recorded.request) == _frame(request)


def _frame(request: Request) -> list[Any]:
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
    """Cleans events on their way to the store; what the caller gets back stays whole.

    ``clean`` is a function of a text, applied to every text of messages, tool inputs, replies,
    inputs, outputs and failures, and to labels that came from data. A key is the keyed BLAKE2b of
    the original under ``secret``. Versions are kept as they are: instructions and demonstrations
    are yours, not your users'. Vectors are kept too. Pictures, sounds and files can't be cleaned:
    their content is not stored, and a keyed hash stands for it.
    """

    clean: Callable[[str], str] = attrs.field(repr=False)
    secret: bytes = attrs.field(repr=False, validator=_short_enough)

    def event(self, event: Event) -> Event:  # noqa: PLR0911 - one return an event
        """The event as it may be stored."""
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
                return RunOpened(
                    attrs.evolve(run, wanted=tuple(map(self._wanted, run.wanted))), versions
                )
            case RaceWon(trace_id, address, winner):
                return RaceWon(trace_id, self.labels(address), self._winner(winner))
            case _:
                return event

    def trace(self, trace: Trace) -> Trace:
        """The trace as it may be stored; its world says that it is redacted."""
        failure = trace.failure and Failed(trace.failure.kind, self.text(trace.failure.text))
        return attrs.evolve(
            trace,
            inputs=self.fields(trace.inputs),
            outputs=None if trace.outputs is None else self.fields(trace.outputs),
            failure=failure,
            world=trace.world | {"redacted": True},
            calls=tuple(map(self.call, trace.calls)),
            choices=Record(
                {self.labels(at): self._winner(winner) for at, winner in trace.choices.items()}
            ),
        )

    def call(self, call: CallAttempt) -> CallAttempt:
        """The call as it may be stored."""
        return attrs.evolve(
            call,
            address=self.labels(call.address),
            request=self.request(call.request),
            key=self.key(call.key),
            outcome=None if call.outcome is None else self.outcome(call.outcome),
        )

    def key(self, key: str) -> str:
        """The keyed hash of a key, which tells nobody without the secret what was asked."""
        return (
            KEYED
            + hashlib.blake2b(key.encode("ascii"), key=self.secret, digest_size=32).hexdigest()
        )

    def request(self, request: Request) -> Request:
        """The request as it may be stored."""
        match request:
            case ChatRequest():
                return attrs.evolve(request, messages=tuple(map(self._message, request.messages)))
            case EmbedRequest():
                return attrs.evolve(request, texts=tuple(map(self.text, request.texts)))
            case ToolRequest():
                return attrs.evolve(request, inputs=self.fields(request.inputs))

    def outcome(self, outcome: Outcome) -> Outcome:
        """The reply or failure as it may be stored. The pieces of a text that was changed are left
        out, and so are the tokens beside their probabilities: they spell it out.
        """
        match outcome:
            case ChatReply():
                text = self.text(outcome.text)
                return attrs.evolve(
                    outcome,
                    text=text,
                    reasoning=self.text(outcome.reasoning),
                    refusal=self.text(outcome.refusal),
                    calls=tuple(
                        attrs.evolve(call, arguments=self.text(call.arguments))
                        for call in outcome.calls
                    ),
                    chunks=outcome.chunks if text == outcome.text else (),
                    logprobs=_numbers(outcome),
                )
            case ToolReply():
                return ToolReply(self.value(outcome.value))
            case Failure():
                kept = {
                    name: outcome.data[name] for name in ("kind", "tool") if name in outcome.data
                }
                return Failure(outcome.kind, self.fields(outcome.data) | kept)
            case EmbedReply():
                return outcome

    def fields(self, record: Mapping[str, Any]) -> Record:
        """A record whose values are cleaned; its names are the program's."""
        return Record({name: self.value(item) for name, item in plain(record, kept=True).items()})

    def value(self, value: Any) -> Any:
        """A JSON value whose texts are cleaned, keys included."""
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
        """A picture, sound or file without its content; its name and URL are texts."""
        digest = self.key(media.digest).removeprefix(KEYED) if media.digest else ""
        return hidden(media, digest, self.text(media.name), self.text(media.url))

    def text(self, text: str) -> str:
        """A text, cleaned. ``TypeError`` where ``clean`` gives no text: then nothing is stored, nor
        sent.
        """
        cleaned = self.clean(text) if text else text
        if not isinstance(cleaned, str):
            msg = f"redact must give a text, found {type(cleaned).__qualname__}"
            raise TypeError(msg)
        return cleaned

    def labels(self, address: str) -> str:
        """An address whose branch labels are cleaned; one that changes is marked, so that two stay
        two.
        """
        return _LABEL.sub(
            lambda match: f"[{quote(self._label(unquote(match[1])), safe=' ')}]", address
        )

    def root(self, run: Run) -> str:
        """The root of a run as it may be stored: the whole one's could be guessed at."""
        items = tuple((self._label(label), self.trace(trace)) for label, trace in run.items)
        return attrs.evolve(run, items=items).root

    def _label(self, label: str) -> str:
        if _POSITION.fullmatch(label):
            return label
        cleaned = self.text(label)
        return (
            label
            if cleaned == label
            else f"{cleaned}~{self.key(ascii(label)).removeprefix(KEYED)[:8]}"
        )

    def _wanted(self, wanted: PlannedExecution) -> PlannedExecution:
        return attrs.evolve(
            wanted, label=self._label(wanted.label), inputs=self.fields(wanted.inputs)
        )

    def _winner(self, winner: Any) -> Any:
        return self._label(winner) if isinstance(winner, str) else winner

    def _message(self, message: Message) -> Message:
        calls = tuple(
            attrs.evolve(call, arguments=self.text(call.arguments)) for call in message.calls
        )
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
    """The log probabilities of a reply's tokens without the tokens, ``None`` for none."""
    return (
        {"content": [{"token": "", "logprob": token.logprob} for token in reply.tokens]}
        if reply.tokens
        else None
    )
