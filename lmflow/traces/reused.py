"""Executions of an earlier run as they are in a run that refers to them."""

from __future__ import annotations

from typing import Any

from lmflow.traces.calls import CallAttempt
from lmflow.traces.trace import Trace


def as_reused(trace: Trace, code: Any = None) -> Trace:
    """Return an execution as it is in a run that only refers to it: its calls cost nothing there,
    and their source is the execution itself. Id, times and root stay; ``code`` is the program.
    """
    return trace.finished(
        calls=tuple(_reused_call(call, trace.id) for call in trace.calls),
        choices=trace.choices,
        world=trace.world,
        outputs=trace.outputs,
        failure=trace.failure,
        ended=trace.ended,
        code=code,
    )


# One constructor call: `attrs.evolve` would look at every field, once a call.
def _reused_call(call: CallAttempt, source: str) -> CallAttempt:
    return CallAttempt(
        call.address,
        call.request,
        call.key,
        call.attempt,
        call.outcome,
        call.started,
        call.ended,
        0,
        call.source or source,
    )
