"""Exact replay: a recorded execution driven again against its calls, offline and without an event
loop.
"""

from __future__ import annotations

from typing import Any, overload

import attrs

from lmflow.adapters.registry import Choices, choices_in
from lmflow.errors import ReplayDiverged
from lmflow.interpreter.driver import Recall, drive_pure
from lmflow.programs.effects import Call, Pending
from lmflow.programs.environment import Env
from lmflow.programs.program import Program
from lmflow.replays.reuse import (
    changed_since,
    exact_answers,
    outcome_or_raise,
    recorded_env,
    resolved,
)
from lmflow.traces.redaction import agrees
from lmflow.traces.trace import Run, Trace, failed
from lmflow.values.record import Record, pretty
from lmflow.versions.version import Version


@overload
def replay(recorded: Trace, program: Program | None = None) -> Trace: ...
@overload
def replay(recorded: Run, program: Program | None = None) -> Run: ...


def replay(recorded: Trace | Run, program: Program | None = None) -> Trace | Run:
    """Drive a trace or a run again, answered by its own calls; the result has the same root, or
    ``ReplayDiverged`` says where the program asked for something else.

    Nothing goes outside: there is no session, no socket and no event loop. ``program`` is needed
    where the recording was read from a store (it keeps data, never code).
    """
    envs: _Envs = {}
    if isinstance(recorded, Trace):
        return _replayed(recorded, program, envs)
    items = tuple((label, _replayed(trace, program, envs)) for label, trace in recorded.items)
    return attrs.evolve(recorded, items=items)


def _replayed(trace: Trace, program: Program | None, envs: _Envs) -> Trace:
    code = program or trace.code
    if code is None:
        msg = f"trace {trace.id} was read from a store, which keeps no code: lf.replay(trace, program)"
        raise TypeError(msg)
    if not trace.done:
        raise ReplayDiverged(
            trace.name, "an execution that never ended", "its end", "It was stopped: run it anew."
        )
    asked: set[str] = set()
    outputs, failure = None, None
    try:
        at = code, trace.version, choices_in(trace.world)
        if (env := envs.get(at)) is None:
            env = envs[at] = attrs.evolve(recorded_env(trace, code), sample=0)
        if trace.sample:
            env = attrs.evolve(env, sample=trace.sample)
        pending = Pending(code, trace.inputs) if code is trace.code else code(**trace.inputs)
        outputs = drive_pure(pending, env, recall(trace, asked), trace.choices)
    except ReplayDiverged:
        raise
    except Exception as error:  # noqa: BLE001 - what a recorded execution may have ended with
        failure = failed(error)
    calls = tuple(call for call in trace.calls if call.address in asked)
    again = trace.over(
        calls=calls, choices=trace.choices, world=trace.world, outputs=outputs, failure=failure, ended=trace.ended,
        code=code,
    )  # fmt: skip
    _compare(trace, again)
    return again


_Envs = dict[tuple[Program, Version, Choices], Env]


def recall(trace: Trace, asked: set[str] | None = None) -> Recall:
    """What answers the calls of a trace when it is driven again: its own answers. ``asked`` is told
    their addresses.
    """
    answers = trace.answers

    def answer(call: Call, address: str) -> Any:
        found = answers.get(address)
        request = resolved(call.request, trace.world, address, found)
        if found is None or not agrees(found, request):
            found = exact_answers(trace)(address, request)
        if asked is not None:
            asked.add(address)
        return outcome_or_raise(found.outcome if found else None)

    return answer


def _compare(trace: Trace, again: Trace) -> None:
    if _is_same(trace, again) or trace.root == again.root:
        return
    for address in trace.answers:
        if address not in again.answers:
            lost = (
                attrs.evolve(again, calls=(*again.calls, trace.answers[address])).root == again.root
            )
            if not lost:
                raise ReplayDiverged(
                    address, str(trace.answers[address].request), "", changed_since(trace)
                )
    raise ReplayDiverged(trace.name, _result(trace), _result(again), changed_since(trace))


def _is_same(trace: Trace, again: Trace) -> bool:
    """Whether all that a root is made of is the same, so that no root needs to be made."""
    return (
        len(trace.calls) == len(again.calls)
        and trace.failure == again.failure
        and trace.outputs == again.outputs
    )


def _result(trace: Trace) -> str:
    result: Record | Any = trace.outputs if trace.outputs is not None else trace.failure
    return pretty(result).replace(", ", ",\n")
