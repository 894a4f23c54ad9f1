"""The events that store a run that is read already, as an executor would have emitted them."""

from __future__ import annotations

from collections.abc import Iterator

from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    RaceWon,
    RunClosed,
    RunOpened,
    TraceClosed,
    TraceOpened,
)
from lmflow.traces.trace import Run, Trace


def run_events(run: Run) -> Iterator[Event]:
    """Yield the events of a run, one execution after the other.

    Executions and calls that never ended stay open, and so does a run that is not closed.
    """
    versions = {trace.version.id: trace.version for trace in run}
    yield RunOpened(run, tuple(versions.values()))
    for position, (label, trace) in enumerate(run.items):
        yield TraceOpened(run.id, label, position, trace)
        yield from trace_events(trace)
    if run.status != "open":
        root = "" if run.status == "stopped" else run.root
        yield RunClosed(run.id, run.status, root, run.ended, run.result)


def trace_events(trace: Trace) -> Iterator[Event]:
    """Yield the events of an execution after its opening."""
    for call in trace.calls:
        ended = call.outcome is not None
        yield CallEnded(trace.id, call) if ended else CallStarted(trace.id, call)
    for address, winner in trace.choices.items():
        yield RaceWon(trace.id, address, winner)
    if trace.done:
        yield TraceClosed(trace)
