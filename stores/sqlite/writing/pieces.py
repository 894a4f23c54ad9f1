"""Pieces of the log: events written as one MessagePack value.

A piece holds events of executions, calls and runs. Texts that several of them share, such as the
messages at the beginning of requests, stand in it once. Values are kept in canonical form, so that
the rows of a piece that is read back are those of the events it was made of. Everything is decoded
into a closed set of types; nothing stored is executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from lmflow.messages.messages import Message
from lmflow.messages.replies import outcome_to
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
from lmflow.stores.sqlite.blobs.format import digest_bytes
from lmflow.stores.sqlite.writing.bodies import Forms
from lmflow.stores.sqlite.writing.piece_form import (
    FORM,
    CallEntry,
    ChatEntry,
    ClosedEntry,
    EmbedEntry,
    Entry,
    OpenedEntry,
    PieceEntries,
    PlanEntry,
    ReusedEntry,
    RunClosedEntry,
    RunOpenedEntry,
    RunPlannedEntry,
    ScoredEntry,
    ToolEntry,
    WonEntry,
)
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    RaceWon,
    RunClosed,
    RunOpened,
    RunPlanned,
    ScoreRecorded,
    TraceClosed,
    TraceOpened,
    TraceReused,
)
from lmflow.traces.trace import CallAttempt, PlannedExecution, Run, Trace
from lmflow.values.attributes import lean
from lmflow.values.kept_forms import kept_form
from lmflow.values.media import MARK
from lmflow.values.record import Record, canonical, write_form


class NotAPiece(Exception):
    """The events can't be kept as a piece: they have media or values that need rows at once."""


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(PieceEntries)


def written_piece(events: Sequence[Event]) -> bytes:
    """Return events as a piece; raises as ``written_piece_with_forms`` does."""
    return written_piece_with_forms(events)[0]


def written_piece_with_forms(events: Sequence[Event]) -> tuple[bytes, Forms]:
    """Return events as a piece, and the canonical forms of values in them that were derived for it.

    Raises:
        NotAPiece: If an event has media, or is of a kind that is written as rows at once.
        Exception: If a value can't be stored, as when it is written as rows.
    """
    draft = _Draft()
    entries = [draft.entry(event) for event in events]
    data = _ENCODER.encode(PieceEntries(FORM, list(draft.texts), list(draft.heads), entries))
    # What can't be decoded again, such as a boolean as a number, would be lost in a crash.
    _DECODER.decode(data)
    return data, draft.forms


class _Draft:
    """A piece that is being written; each shared text and list of messages gets a number."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.heads: dict[tuple[int, ...], int] = {}
        self.forms: dict[int, str] = {}
        # The others are keyed by the ids of objects that the events keep alive.
        self._shapes: dict[tuple[object, ...], int] = {}
        self._requests: dict[int, ChatEntry | ToolEntry | EmbedEntry] = {}
        self._known_heads: dict[tuple[int, ...], int] = {}

    def entry(self, event: Event) -> Entry:  # noqa: C901, PLR0911 - one return a kind
        match event:
            case CallStarted(trace, call) | CallEnded(trace, call):
                return self._call(trace, call, is_end=type(event) is CallEnded)
            case TraceOpened():
                return self._opened(event)
            case TraceClosed(trace):
                return self._closed(trace)
            case TraceReused(run, label, position, trace):
                return ReusedEntry(run, label, position, trace)
            case RaceWon(trace, address, winner):
                return WonEntry(trace, address, winner)
            case RunOpened(run):
                return _run_opened(run)
            case RunPlanned(run, position, executions):
                return RunPlannedEntry(run, position, _plans(executions))
            case RunClosed(run, status, root, ended, result):
                if root:
                    digest_bytes(root)
                return RunClosedEntry(run, status, root, ended, result)
            case ScoreRecorded():
                return ScoredEntry(*attrs.astuple(event, recurse=False))
        raise NotAPiece

    def _call(self, trace: str, call: CallAttempt, *, is_end: bool) -> CallEntry:
        digest_bytes(call.key)
        outcome = None
        if call.outcome is not None:
            outcome = self.forms[id(call.outcome)] = _form(outcome_to(call.outcome))
        return CallEntry(
            trace,
            call.address,
            call.key,
            call.attempt,
            self._request(call.request),
            outcome,
            call.started,
            call.ended,
            call.cost,
            call.source,
            is_end,
        )

    def _opened(self, event: TraceOpened) -> OpenedEntry:
        trace = event.trace
        digest_bytes(trace.program)
        return OpenedEntry(
            event.run,
            event.label,
            event.position,
            trace.id,
            trace.program,
            trace.name,
            trace.version.id,
            self._form(trace.inputs),
            self._text(kept_form(trace.world)),
            trace.target,
            trace.sample,
            trace.started,
            trace.ended,
        )

    def _closed(self, trace: Trace) -> ClosedEntry:
        outputs = None if trace.outputs is None else self._form(trace.outputs)
        failure = None if trace.failure is None else (trace.failure.kind, trace.failure.text)
        digest_bytes(trace.root)
        world = self._text(kept_form(trace.world))
        return ClosedEntry(trace.id, trace.root, outputs, failure, world, trace.ended)

    def _form(self, value: Record) -> str:
        """Return the canonical form of inputs or outputs, and remember it."""
        form = self.forms[id(value)] = _form(value)
        return form

    def _text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def _request(self, request: Request) -> ChatEntry | ToolEntry | EmbedEntry:
        if (entry := self._requests.get(id(request))) is None:
            entry = self._requests[id(request)] = self._new_request(request)
        return entry

    def _new_request(self, request: Request) -> ChatEntry | ToolEntry | EmbedEntry:
        match request:
            case ToolRequest():
                inputs = _form(request.inputs)
                return ToolEntry(request.tool, request.identity, inputs, request.sample)
            case EmbedRequest():
                return EmbedEntry(request.texts, request.model, request.endpoint)
        if request.attaches:
            raise NotAPiece
        *head, last = request.messages or (None,)
        # A message's form is a subclass of `str`, which msgspec doesn't take.
        last_form = None if last is None else str(last.form)
        return ChatEntry(self._shape(request), self._head(head), last_form)

    def _shape(self, request: ChatRequest) -> int:
        options, tools, schema = request.options, request.tools, request.schema
        names = (request.model, request.endpoint, request.sample)
        key = (*names, id(options), id(tools), id(schema))
        if (number := self._shapes.get(key)) is None:
            fields = lean(request)
            fields.pop("messages", None)
            number = self._shapes[key] = self._text(canonical(fields))
        return number

    def _head(self, messages: Sequence[Message]) -> int:
        key = tuple(map(id, messages))
        if (number := self._known_heads.get(key)) is None:
            head = tuple([self._text(str(message.form)) for message in messages])
            number = self._known_heads[key] = self.heads.setdefault(head, len(self.heads))
        return number


def _form(value: Any) -> str:
    """Return the canonical form of a value that has no media."""
    form, is_plain = write_form(value)
    if not is_plain and MARK in form:
        raise NotAPiece
    return form


def _plans(executions: Sequence[PlannedExecution]) -> tuple[PlanEntry, ...]:
    return tuple(
        [
            PlanEntry(planned.label, _form(planned.inputs), planned.version, planned.sample)
            for planned in executions
        ]
    )


def _run_opened(run: Run) -> RunOpenedEntry:
    return RunOpenedEntry(
        run.id,
        run.kind,
        run.name,
        run.target,
        run.status,
        run.started,
        run.ended,
        run.of,
        _plans(run.wanted),
        _form(run.config),
        run.result,
    )
