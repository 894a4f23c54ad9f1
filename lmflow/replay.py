"""Exact replay: a recorded execution driven again against its calls, offline and without an event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

import attrs

from lmflow.adapter import ADAPTER
from lmflow.drive import drive_pure
from lmflow.effects import Call
from lmflow.errors import ReplayDiverged
from lmflow.messages import Failure, Request, ToolRequest
from lmflow.params import Env
from lmflow.program import Program, completed
from lmflow.redact import agrees
from lmflow.trace import Asked, Run, Trace, failed
from lmflow.values import Record, pretty


@overload
def replay(recorded: Trace, program: Program | None = None) -> Trace: ...
@overload
def replay(recorded: Run, program: Program | None = None) -> Run: ...


def replay(recorded: Trace | Run, program: Program | None = None) -> Trace | Run:
    """Drive a trace or a run again, answered by its own calls; the result has the same root, or ``ReplayDiverged`` says
    where the program asked for something else.

    Nothing goes outside: there is no session, no socket and no event loop. ``program`` is needed where the recording
    was read from a store (it keeps data, never code).
    """
    if isinstance(recorded, Trace):
        return _replayed(recorded, program)
    items = tuple((label, _replayed(trace, program)) for label, trace in recorded.items)
    return attrs.evolve(recorded, items=items)


def resolved(request: Request, world: Mapping[str, Any], address: str, recorded: Asked | None = None) -> Request:
    """The request with the model and endpoint that it went to: of a model that chooses among others the one that the
    recording says it chose.
    """
    if isinstance(request, ToolRequest):
        return request
    place = world["models"].get(request.model)
    if place is None:
        raise ReplayDiverged(address, f"models: {pretty(world['models'])}", f"model: {request.model or 'the default'}")
    went = recorded.request if recorded else request
    if not isinstance(went, ToolRequest) and (went.model, went.endpoint) in place.get("among", ()):
        return attrs.evolve(request, model=went.model, endpoint=went.endpoint)
    return attrs.evolve(request, model=place["model"], endpoint=place["endpoint"])


def _replayed(trace: Trace, program: Program | None) -> Trace:
    code = program or trace.code
    if code is None:
        msg = f"trace {trace.id} was read from a store, which keeps no code: lf.replay(trace, program)"
        raise TypeError(msg)
    if not trace.done:
        raise ReplayDiverged(trace.name, "an execution that never ended", "its end", "It was stopped: run it anew.")
    asked: set[str] = set()
    outputs, failure = None, None
    try:
        env = Env(completed(code, trace.version), "", trace.sample)
        outputs = drive_pure(code(**trace.inputs), env, _recall(trace, asked), trace.choices)
    except ReplayDiverged:
        raise
    except Exception as error:  # noqa: BLE001 - what a recorded execution may have ended with
        failure = failed(error)
    again = attrs.evolve(
        trace, calls=tuple(c for c in trace.calls if c.address in asked), outputs=outputs, failure=failure, code=code
    )
    _compare(trace, again)
    return again


def _recall(trace: Trace, asked: set[str]) -> Any:
    def recall(call: Call, address: str) -> Any:
        recorded = trace.answers.get(address)
        request = resolved(call.request, trace.world, address, recorded)
        if recorded is None or recorded.outcome is None:
            raise ReplayDiverged(address, "", str(request), _hint(trace))
        if not agrees(recorded, request):
            raise ReplayDiverged(address, str(recorded.request), str(request), _hint(trace))
        asked.add(address)
        if isinstance(recorded.outcome, Failure):
            raise recorded.outcome.error()
        return recorded.outcome

    return recall


def _compare(trace: Trace, again: Trace) -> None:
    if trace.root == again.root:
        return
    for address in trace.answers:
        if address not in again.answers:
            lost = attrs.evolve(again, calls=(*again.calls, trace.answers[address])).root == again.root
            if not lost:
                raise ReplayDiverged(address, str(trace.answers[address].request), "", _hint(trace))
    raise ReplayDiverged(trace.name, _result(trace), _result(again), _hint(trace))


def _result(trace: Trace) -> str:
    result: Record | Any = trace.outputs if trace.outputs is not None else trace.failure
    return pretty(result).replace(", ", ",\n")


def _hint(trace: Trace) -> str:
    if trace.world.get("redacted"):
        return "It was redacted: what was cleaned reads differently now."
    if trace.world.get("adapter") != ADAPTER:
        return f"It was recorded with the adapter {trace.world.get('adapter')}; this is {ADAPTER}."
    return "The program, its helpers or its version changed since: `ex.run` records it anew."
