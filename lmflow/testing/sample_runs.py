"""Recorded runs as values, made by hand, and the events that bring them into a store."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, Outcome
from lmflow.messages.requests import ChatRequest
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    RaceWon,
    RunClosed,
    RunOpened,
    TraceClosed,
    TraceOpened,
    VersionSaved,
)
from lmflow.traces.store import Recorder
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.values.record import Record, digest
from lmflow.versions.version import Version

SECONDS = 10
"""How long a store may take to make events durable."""

PROGRAM = digest("program", "p")
WORLD = Record(adapter="a", models={"": {"model": "scripted/model", "endpoint": "scripted"}})
VERSION = Version(params={"answer.instruction": "Answer."}, note="first")
OTHER = VERSION.put({"answer.instruction": "Sing."}, note="other")
THIRD = OTHER.put({"answer.instruction": "Dance."}, note="third")
SAVED = (VersionSaved(VERSION, 1, "ann"), VersionSaved(OTHER, 2), VersionSaved(THIRD, 3))


def asked(
    address: str, outcome: Outcome | None = None, attempt: int = 0, text: str = "why?"
) -> CallAttempt:
    """One attempt of a call at an address; without an outcome it never ended."""
    messages = (Message("system", "Answer."), Message("user", text))
    request = ChatRequest(messages, "scripted/model", "scripted")
    return CallAttempt(address, request, request.key, attempt, outcome, 5, 9 if outcome else 0)


def trace_of(name: str, *calls: CallAttempt, **changes: Any) -> Trace:
    """A finished trace with these calls; ``changes`` replace its fields."""
    trace = Trace(
        name,
        PROGRAM,
        "answer",
        VERSION,
        Record(question=name),
        WORLD,
        calls=calls,
        outputs=Record(answer="fine"),
        started=1,
        ended=9,
    )
    return attrs.evolve(trace, **changes)


def begun(trace: Trace) -> Trace:
    """A trace as it is when it is opened."""
    return attrs.evolve(trace, calls=(), choices=Record(), outputs=None, failure=None, ended=0)


def run_of(name: str, *traces: Trace) -> Run:
    """A finished run of traces."""
    items = tuple((f"ex[{position}]", trace) for position, trace in enumerate(traces))
    return Run(name, "map", "answer", items, "app:answer", "done", 1, 10)


def events_of(run: Run) -> list[Event]:
    """The events of a run, in the order in which an executor records them."""
    events: list[Event] = [RunOpened(attrs.evolve(run, items=(), status="open", ended=0))]
    for position, (label, trace) in enumerate(run.items):
        events.append(TraceOpened(run.id, label, position, begun(trace)))
        for call in trace.calls:
            events.append(CallStarted(trace.id, attrs.evolve(call, outcome=None, ended=0)))
            events += [CallEnded(trace.id, call)] if call.outcome else []
        events += [RaceWon(trace.id, at, winner) for at, winner in trace.choices.items()]
        events += [TraceClosed(trace)] if trace.done else []
    return [*events, RunClosed(run.id, run.status, run.root, run.ended)]


def keep(store: Recorder, *events: Event) -> None:
    """Append events and wait until they are durable."""
    store.append(*events).result(SECONDS)


def failure_to_keep(store: Recorder, *events: Event) -> BaseException | None:
    """Append events; the error of a store that refuses them, ``None`` if it keeps them."""
    return store.append(*events).exception(SECONDS)


def answered(address: str = "answer[0]/call[0]", text: str = "fine") -> CallAttempt:
    """A call that a model answered."""
    return asked(address, ChatReply(text))
