"""Exact replay: runs a recorded execution again on its own answers, offline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

import attrs

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.registry import AdapterRules, own_adapters, recorded_adapter_rules
from lmflow.errors import UnknownAdapter
from lmflow.errors.replaying import ReplayDiverged
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
from lmflow.traces.foreign import check_replayable
from lmflow.traces.paged import Paged
from lmflow.traces.recorded import check_recorded
from lmflow.traces.redaction import agrees
from lmflow.traces.run_root import RunRoot
from lmflow.traces.totals import Sums
from lmflow.traces.trace import Run, Trace, failed
from lmflow.values.record import Record, pretty
from lmflow.versions.version import Version


@overload
def replay(
    recorded: Trace, program: Program | None = None, *, adapters: Iterable[Adapter] = ()
) -> Trace: ...
@overload
def replay(
    recorded: Run, program: Program | None = None, *, adapters: Iterable[Adapter] = ()
) -> Run: ...


def replay(
    recorded: Trace | Run, program: Program | None = None, *, adapters: Iterable[Adapter] = ()
) -> Trace | Run:
    """Run a trace or a run again, each call answered by the recording.

    Nothing is sent: there is no session, no socket and no event loop.

    Args:
        recorded: The trace or run.
        program: The program that was recorded. Needed if the recording was read from a store, which
            keeps data and never code.
        adapters: The adapters of your own that the executor chose by model, ``[mine]``: a recording
            holds their names. Those of a step are found in the program.

    Returns:
        The trace or run as it came out now; it has the root of the recorded one.

    Raises:
        ReplayDiverged: The program requested something else, came to another result, or the
            recording never ended.
        TypeError: The recording was read from a store and ``program`` is missing.
        UnknownAdapter: An adapter of your own is missing, or has changed since.
    """
    check_recorded(recorded)
    replayer = _Replayer(program, own_adapters(adapters))
    if isinstance(recorded, Trace):
        return replayer.trace(recorded)
    if isinstance(recorded.items, Paged):
        return _replay_long(recorded, recorded.items, replayer)
    return attrs.evolve(recorded, items=tuple(map(replayer.item, recorded.items)))


def replayed_items(
    recorded: Run, program: Program | None = None, *, adapters: Iterable[Adapter] = ()
) -> Iterator[tuple[str, Trace]]:
    """Run the executions of a run again one after the other, as ``replay`` does, and yield each
    with its label.
    """
    check_recorded(recorded)
    return map(_Replayer(program, own_adapters(adapters)).item, recorded.items)


def _replay_long(recorded: Run, items: Paged[tuple[str, Trace]], replayer: _Replayer) -> Run:
    """Run all executions of a long run again, of which a page is held; the result runs them once
    more when somebody looks at them.
    """
    root, sums, failures = RunRoot(), Sums(), 0
    for position, (label, trace) in enumerate(map(replayer.item, items)):
        root.add(position, label, trace.root)
        sums.add(trace.calls)
        failures += trace.failure is not None
    replayed = attrs.evolve(recorded, items=items.each(replayer.item))
    vars(replayed).update(root=root.value(), sums=(sums.totals(), failures))
    return replayed


class _Replayer:
    """Runs executions again, and remembers the environments in which they run."""

    def __init__(self, program: Program | None, known: tuple[Adapter, ...]) -> None:
        self._program, self._known = program, known
        self._envs: _Envs = {}

    def item(self, item: tuple[str, Trace]) -> tuple[str, Trace]:
        """Run a labelled execution again."""
        return item[0], self.trace(item[1])

    def trace(self, trace: Trace) -> Trace:
        """Run an execution again."""
        return _replay_trace(trace, self._program, self._envs, self._known)


def _replay_trace(
    trace: Trace, program: Program | None, envs: _Envs, known: tuple[Adapter, ...]
) -> Trace:
    check_replayable(trace)
    code = program or trace.code
    if code is None:
        msg = (
            f"trace {trace.id} was read from a store, which keeps no code: "
            "lf.replay(trace, program)"
        )
        raise TypeError(msg)
    if not trace.done:
        raise ReplayDiverged(
            trace.name, "an execution that never ended", "its end", "It was stopped: run it anew."
        )
    answered: set[str] = set()
    outputs, failure = None, None
    try:
        # Executions of one run mostly share program, version and adapters, and completing the
        # parameters costs more than a short replay: so each environment is made once.
        key = code, trace.version, recorded_adapter_rules(trace.world)
        if (env := envs.get(key)) is None:
            env = envs[key] = attrs.evolve(recorded_env(trace, code, known=known), sample=0)
        if trace.sample:
            env = attrs.evolve(env, sample=trace.sample)
        pending = Pending(code, trace.inputs) if code is trace.code else code(**trace.inputs)
        outputs = drive_pure(pending, env, recall(trace, answered), trace.choices)
    except (ReplayDiverged, UnknownAdapter):
        raise
    except Exception as error:  # noqa: BLE001 - a recorded execution may have ended with any error
        failure = failed(error)
    calls = tuple(call for call in trace.calls if call.address in answered)
    replayed = trace.finished(
        calls=calls,
        choices=trace.choices,
        world=trace.world,
        outputs=outputs,
        failure=failure,
        ended=trace.ended,
        code=code,
    )
    _check_same(trace, replayed)
    return replayed


_Envs = dict[tuple[Program, Version, AdapterRules], Env]


def recall(trace: Trace, answered: set[str] | None = None) -> Recall:
    """Return the function that answers the calls of a trace by its own answers.

    It adds the addresses of the calls that it answers to ``answered``.
    """
    answers = trace.answers

    def answer(call: Call, address: str) -> Any:
        recorded = answers.get(address)
        request = resolved(call.request, trace.world, address, recorded)
        if recorded is None or not agrees(recorded, request):
            recorded = exact_answers(trace)(address, request)
        if answered is not None:
            answered.add(address)
        return outcome_or_raise(recorded.outcome if recorded else None)

    return answer


def _check_same(trace: Trace, replayed: Trace) -> None:
    """Raise ``ReplayDiverged`` if the roots differ, at the first recorded call that is missing."""
    if _has_equal_parts(trace, replayed) or trace.root == replayed.root:
        return
    for address, call in trace.answers.items():
        # A call whose absence leaves the root alone is of a branch that lost a race.
        if address not in replayed.answers:
            completed = attrs.evolve(replayed, calls=(*replayed.calls, call))
            if completed.root != replayed.root:
                raise ReplayDiverged(address, str(call.request), "", changed_since(trace))
    raise ReplayDiverged(
        trace.name, _result_text(trace), _result_text(replayed), changed_since(trace)
    )


def _has_equal_parts(trace: Trace, replayed: Trace) -> bool:
    """Say whether everything that a root is made of is equal, so that no root has to be hashed."""
    return (
        len(trace.calls) == len(replayed.calls)
        and trace.failure == replayed.failure
        and trace.outputs == replayed.outputs
    )


def _result_text(trace: Trace) -> str:
    result: Record | Any = trace.outputs if trace.outputs is not None else trace.failure
    return pretty(result).replace(", ", ",\n")
