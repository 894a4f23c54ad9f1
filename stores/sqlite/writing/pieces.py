"""Pieces of the log: events as one MessagePack value, and back.

A piece holds events of executions, calls and runs. Texts that several of them share, such as the
messages at the beginning of requests, stand in it once. Values are kept in canonical form, so that
the rows of a piece that is read back are those of the events it was made of. Everything is decoded
into a closed set of types; nothing stored is executed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec
from msgspec import Struct

from lmflow.messages.messages import Message, message_of
from lmflow.messages.replies import Outcome, outcome_of, outcome_to
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
from lmflow.stores.sqlite.blobs.format import digest_bytes
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
from lmflow.traces.trace import CallAttempt, Failed, PlannedExecution, Run, Trace
from lmflow.values.attributes import lean
from lmflow.values.media import MARK
from lmflow.values.record import Record, canonical, kept_form, write_form
from lmflow.versions.version import Version

VersionOf = Callable[[str], Version]
"""Returns the stored version of an id."""

FORM = 1
"""The form of pieces; a later lmflow reads all earlier ones."""


class NotAPiece(Exception):
    """The events can't be kept as a piece: they have media or values that need rows at once."""


class _Chat(Struct, array_like=True, tag=0):
    shape: int
    head: int
    last: str | None


class _Tool(Struct, array_like=True, tag=1):
    tool: str
    identity: str
    inputs: str
    sample: int


class _Embed(Struct, array_like=True, tag=2):
    texts: tuple[str, ...]
    model: str
    endpoint: str


class _Call(Struct, array_like=True, tag=0):
    trace: str
    address: str
    key: str
    attempt: int
    request: _Chat | _Tool | _Embed
    outcome: str | None
    started: int
    ended: int
    cost: int | None
    source: str
    is_end: bool


class _Opened(Struct, array_like=True, tag=1):
    run: str
    label: str
    position: int
    id: str
    program: str
    name: str
    version: str
    inputs: str
    world: int
    target: str
    sample: int
    started: int
    ended: int


class _Closed(Struct, array_like=True, tag=2):
    id: str
    root: str
    outputs: str | None
    failure: tuple[str, str] | None
    world: int
    ended: int


class _Reused(Struct, array_like=True, tag=3):
    run: str
    label: str
    position: int
    trace: str


class _Won(Struct, array_like=True, tag=4):
    trace: str
    address: str
    winner: str | int


class _Plan(Struct, array_like=True):
    label: str
    inputs: str
    version: str
    sample: int


class _RunOpened(Struct, array_like=True, tag=5):
    id: str
    kind: str
    name: str
    target: str
    status: str
    started: int
    ended: int
    of: str
    wanted: tuple[_Plan, ...]
    config: str
    result: str


class _RunPlanned(Struct, array_like=True, tag=6):
    run: str
    position: int
    executions: tuple[_Plan, ...]


class _RunClosed(Struct, array_like=True, tag=7):
    id: str
    status: str
    root: str
    ended: int
    result: str


class _Scored(Struct, array_like=True, tag=8):
    trace: str
    name: str
    value: float | None
    feedback: str
    metric: str
    who: str
    at: int
    run: str


_Entry = (
    _Call | _Opened | _Closed | _Reused | _Won | _RunOpened | _RunPlanned | _RunClosed | _Scored
)


class _Piece(Struct, array_like=True):
    form: int
    texts: list[str]
    heads: list[tuple[int, ...]]
    entries: list[_Entry]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Piece)


def written_piece(events: Sequence[Event]) -> bytes:
    """Return events as a piece.

    Raises:
        NotAPiece: If an event has media, or is of a kind that is written as rows at once.
        Exception: If a value can't be stored, as when it is written as rows.
    """
    draft = _Draft()
    entries = [draft.entry(event) for event in events]
    return _ENCODER.encode(_Piece(FORM, list(draft.texts), list(draft.heads), entries))


def events_of(data: bytes, version_of: VersionOf) -> list[Event]:
    """Return the events of a piece.

    Raises:
        ValueError: If the piece is malformed.
        UnknownVersion: If a version is not stored.
    """
    piece = _DECODER.decode(data)
    if piece.form != FORM:
        msg = f"the piece has the form {piece.form}, this lmflow reads {FORM}"
        raise ValueError(msg)
    contents = _Contents(piece, version_of)
    return [contents.event(entry) for entry in piece.entries]


class _Draft:
    """A piece that is being written; each shared text and list of messages gets a number."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.heads: dict[tuple[int, ...], int] = {}
        # The others are keyed by the ids of objects that the events keep alive.
        self._shapes: dict[tuple[object, ...], int] = {}
        self._requests: dict[int, _Chat | _Tool | _Embed] = {}
        self._known_heads: dict[tuple[int, ...], int] = {}

    def entry(self, event: Event) -> _Entry:  # noqa: C901, PLR0911 - one return a kind
        match event:
            case CallStarted(trace, call) | CallEnded(trace, call):
                return self._call(trace, call, is_end=type(event) is CallEnded)
            case TraceOpened():
                return self._opened(event)
            case TraceClosed(trace):
                return self._closed(trace)
            case TraceReused(run, label, position, trace):
                return _Reused(run, label, position, trace)
            case RaceWon(trace, address, winner):
                return _Won(trace, address, winner)
            case RunOpened(run):
                return _run_opened(run)
            case RunPlanned(run, position, executions):
                return _RunPlanned(run, position, _plans(executions))
            case RunClosed(run, status, root, ended, result):
                if root:
                    digest_bytes(root)
                return _RunClosed(run, status, root, ended, result)
            case ScoreRecorded():
                return _Scored(*attrs.astuple(event, recurse=False))
        raise NotAPiece

    def _call(self, trace: str, call: CallAttempt, *, is_end: bool) -> _Call:
        digest_bytes(call.key)
        outcome = None if call.outcome is None else _form(outcome_to(call.outcome))
        return _Call(
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

    def _opened(self, event: TraceOpened) -> _Opened:
        trace = event.trace
        digest_bytes(trace.program)
        return _Opened(
            event.run,
            event.label,
            event.position,
            trace.id,
            trace.program,
            trace.name,
            trace.version.id,
            _form(trace.inputs),
            self._text(kept_form(trace.world)),
            trace.target,
            trace.sample,
            trace.started,
            trace.ended,
        )

    def _closed(self, trace: Trace) -> _Closed:
        outputs = None if trace.outputs is None else _form(trace.outputs)
        failure = None if trace.failure is None else (trace.failure.kind, trace.failure.text)
        digest_bytes(trace.root)
        world = self._text(kept_form(trace.world))
        return _Closed(trace.id, trace.root, outputs, failure, world, trace.ended)

    def _text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def _request(self, request: Request) -> _Chat | _Tool | _Embed:
        if (entry := self._requests.get(id(request))) is None:
            entry = self._requests[id(request)] = self._new_request(request)
        return entry

    def _new_request(self, request: Request) -> _Chat | _Tool | _Embed:
        match request:
            case ToolRequest():
                inputs = _form(request.inputs)
                return _Tool(request.tool, request.identity, inputs, request.sample)
            case EmbedRequest():
                return _Embed(request.texts, request.model, request.endpoint)
        if request.attaches:
            raise NotAPiece
        *head, last = request.messages or (None,)
        # A message's form is a subclass of `str`, which msgspec doesn't take.
        last_form = None if last is None else str(last.form)
        return _Chat(self._shape(request), self._head(head), last_form)

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


def _plans(executions: Sequence[PlannedExecution]) -> tuple[_Plan, ...]:
    return tuple(
        [
            _Plan(planned.label, _form(planned.inputs), planned.version, planned.sample)
            for planned in executions
        ]
    )


def _run_opened(run: Run) -> _RunOpened:
    return _RunOpened(
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


class _Contents:
    """A piece that is being read."""

    def __init__(self, piece: _Piece, version_of: VersionOf) -> None:
        self._piece = piece
        self._version_of = version_of
        self._messages: dict[int, Message] = {}
        self._heads: dict[int, tuple[Message, ...]] = {}
        self._records: dict[int, Record] = {}
        self._shapes: dict[int, ChatRequest] = {}

    def event(self, entry: _Entry) -> Event:  # noqa: PLR0911 - one return a kind
        match entry:
            case _Call():
                kind = CallEnded if entry.is_end else CallStarted
                return kind(entry.trace, self._call(entry))
            case _Opened():
                return TraceOpened(entry.run, entry.label, entry.position, self._trace(entry))
            case _Closed():
                return TraceClosed(self._closed(entry))
            case _Reused():
                return TraceReused(entry.run, entry.label, entry.position, entry.trace)
            case _Won():
                return RaceWon(entry.trace, entry.address, entry.winner)
            case _RunOpened():
                return RunOpened(_run(entry))
            case _RunPlanned():
                return RunPlanned(entry.run, entry.position, _executions(entry.executions))
            case _RunClosed():
                return RunClosed(*msgspec.structs.astuple(entry))
            case _Scored():
                return ScoreRecorded(*msgspec.structs.astuple(entry))

    def _call(self, entry: _Call) -> CallAttempt:
        return CallAttempt(
            entry.address,
            self._request(entry.request),
            entry.key,
            entry.attempt,
            _outcome(entry.outcome),
            entry.started,
            entry.ended,
            entry.cost,
            entry.source,
        )

    def _trace(self, entry: _Opened) -> Trace:
        return Trace(
            entry.id,
            entry.program,
            entry.name,
            self._version_of(entry.version),
            Record(json.loads(entry.inputs)),
            self._record(entry.world),
            entry.target,
            entry.sample,
            started=entry.started,
            ended=entry.ended,
        )

    def _closed(self, entry: _Closed) -> Trace:
        """Return the end of an execution: the fields that its row gets, and no others."""
        outputs = None if entry.outputs is None else Record(json.loads(entry.outputs))
        failure = None if entry.failure is None else Failed(*entry.failure)
        trace = Trace(
            entry.id,
            "",
            "",
            Version(),
            Record(),
            self._record(entry.world),
            outputs=outputs,
            failure=failure,
            ended=entry.ended,
        )
        # The root is derived from the calls, which other pieces hold.
        vars(trace)["root"] = entry.root
        return trace

    def _record(self, number: int) -> Record:
        if number not in self._records:
            self._records[number] = Record(json.loads(self._piece.texts[number]))
        return self._records[number]

    def _request(self, entry: _Chat | _Tool | _Embed) -> Request:
        match entry:
            case _Tool():
                inputs = Record(json.loads(entry.inputs))
                return ToolRequest(entry.tool, entry.identity, inputs, entry.sample)
            case _Embed():
                return EmbedRequest(entry.texts, entry.model, entry.endpoint)
        messages = self._head(entry.head)
        if entry.last is not None:
            messages = (*messages, message_of(json.loads(entry.last)))
        return attrs.evolve(self._shape(entry.shape), messages=messages)

    def _head(self, number: int) -> tuple[Message, ...]:
        if number not in self._heads:
            self._heads[number] = tuple(map(self._message, self._piece.heads[number]))
        return self._heads[number]

    def _message(self, number: int) -> Message:
        if number not in self._messages:
            self._messages[number] = message_of(json.loads(self._piece.texts[number]))
        return self._messages[number]

    def _shape(self, number: int) -> ChatRequest:
        if number not in self._shapes:
            fields = json.loads(self._piece.texts[number])
            if "tools" in fields:
                fields["tools"] = tuple(map(Record, fields["tools"]))
            if "schema" in fields:
                fields["schema"] = Record(fields["schema"])
            self._shapes[number] = ChatRequest((), **fields)
        return self._shapes[number]


def _outcome(form: str | None) -> Outcome | None:
    return None if form is None else outcome_of(json.loads(form))


def _executions(plans: Sequence[_Plan]) -> tuple[PlannedExecution, ...]:
    return tuple(
        PlannedExecution(plan.label, Record(json.loads(plan.inputs)), plan.version, plan.sample)
        for plan in plans
    )


def _run(entry: _RunOpened) -> Run:
    kind: Any = entry.kind
    status: Any = entry.status
    return Run(
        entry.id,
        kind,
        entry.name,
        (),
        entry.target,
        status,
        entry.started,
        entry.ended,
        entry.of,
        _executions(entry.wanted),
        Record(json.loads(entry.config)),
        entry.result,
    )
