"""Foreign traces as traces that a store keeps beside lmflow's own."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.telemetry.binding import Binding, Bound
from lmflow.telemetry.foreign import ForeignTrace
from lmflow.telemetry.foreign_calls import ForeignCall
from lmflow.traces.calls import CallAttempt
from lmflow.traces.foreign import FOREIGN
from lmflow.traces.trace import Trace
from lmflow.values.record import Record, digest
from lmflow.versions.version import Version


def foreign_version(source: str) -> Version:
    """Return the version of imported traces: what they ran under isn't known."""
    return Version(note=f"imported from {source}: the parameters are not known")


def recorded_trace(foreign: ForeignTrace, bound: Bound, binding: Binding | None = None) -> Trace:
    """Return a foreign trace as a store keeps it.

    Args:
        foreign: The trace.
        bound: Its steps that were bound to those of a program.
        binding: The program; ``None`` if the trace was bound to none.
    """
    program = None if binding is None or not bound.is_whole else binding
    return Trace(
        id=foreign.id,
        program=digest("foreign", [foreign.source, foreign.service])
        if program is None
        else program.program.key,
        name=foreign.name,
        version=foreign_version(foreign.source),
        inputs=foreign.inputs if bound.inputs is None else bound.inputs,
        world=Record({FOREIGN: _facts(foreign, bound)}),
        target="" if program is None else program.target,
        calls=tuple(map(_recorded_call, foreign.calls)),
        outputs=None if foreign.failure else (bound.outputs or foreign.outputs),
        failure=foreign.failure,
        started=foreign.started,
        ended=foreign.ended,
    )


def _facts(foreign: ForeignTrace, bound: Bound) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "source": foreign.source,
        "trace": foreign.trace,
        "hash": foreign.hash,
        "spans": len(foreign.spans),
        "service": foreign.service,
        "problems": dict(foreign.problems),
        "steps": [attrs.asdict(step, recurse=False) for step in bound.steps],
        "calls": {call.address: call.span for call in foreign.calls},
    }
    return {name: value for name, value in facts.items() if value}


def _recorded_call(call: ForeignCall) -> CallAttempt:
    return CallAttempt(
        call.address,
        call.request,
        call.request.key,
        call.attempt,
        call.outcome,
        call.started,
        call.ended,
        call.cost,
        call.source,
    )
