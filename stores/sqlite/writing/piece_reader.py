"""Reads pieces of the log back as the events they were made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec

from lmflow.messages.messages import Message, message_of
from lmflow.messages.replies import Outcome, outcome_of
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
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
from lmflow.traces.trace import CallAttempt, Failed, PlannedExecution, Run, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

VersionOf = Callable[[str], Version]
"""Returns the stored version of an id."""

_DECODER = msgspec.msgpack.Decoder(PieceEntries)


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


class _Contents:
    """A piece that is being read."""

    def __init__(self, piece: PieceEntries, version_of: VersionOf) -> None:
        self._piece = piece
        self._version_of = version_of
        self._messages: dict[int, Message] = {}
        self._heads: dict[int, tuple[Message, ...]] = {}
        self._records: dict[int, Record] = {}
        self._shapes: dict[int, ChatRequest] = {}

    def event(self, entry: Entry) -> Event:  # noqa: PLR0911 - one return a kind
        match entry:
            case CallEntry():
                kind = CallEnded if entry.is_end else CallStarted
                return kind(entry.trace, self._call(entry))
            case OpenedEntry():
                return TraceOpened(entry.run, entry.label, entry.position, self._trace(entry))
            case ClosedEntry():
                return TraceClosed(self._closed(entry))
            case ReusedEntry():
                return TraceReused(entry.run, entry.label, entry.position, entry.trace)
            case WonEntry():
                return RaceWon(entry.trace, entry.address, entry.winner)
            case RunOpenedEntry():
                return RunOpened(_run(entry))
            case RunPlannedEntry():
                return RunPlanned(entry.run, entry.position, _executions(entry.executions))
            case RunClosedEntry():
                return RunClosed(*msgspec.structs.astuple(entry))
            case ScoredEntry():
                return ScoreRecorded(*msgspec.structs.astuple(entry))

    def _call(self, entry: CallEntry) -> CallAttempt:
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

    def _trace(self, entry: OpenedEntry) -> Trace:
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

    def _closed(self, entry: ClosedEntry) -> Trace:
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

    def _request(self, entry: ChatEntry | ToolEntry | EmbedEntry) -> Request:
        match entry:
            case ToolEntry():
                inputs = Record(json.loads(entry.inputs))
                return ToolRequest(entry.tool, entry.identity, inputs, entry.sample)
            case EmbedEntry():
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


def _executions(plans: Sequence[PlanEntry]) -> tuple[PlannedExecution, ...]:
    return tuple(
        PlannedExecution(plan.label, Record(json.loads(plan.inputs)), plan.version, plan.sample)
        for plan in plans
    )


def _run(entry: RunOpenedEntry) -> Run:
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
