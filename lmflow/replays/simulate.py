"""A recorded execution driven again under other parameters, offline, as far as its recorded answers
reach.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.adapters.registry import Choices
from lmflow.errors import NotRecorded, Redacted, ReplayDiverged, Undecided
from lmflow.interpreter.driver import drive_pure
from lmflow.messages.requests import CACHED, Request
from lmflow.programs.effects import Call
from lmflow.programs.program import Program
from lmflow.replays.reuse import Reuse, depends, mode_of, outcome_or_raise, recorded_env
from lmflow.traces.trace import CallAttempt, Failed, Trace, failed
from lmflow.values.record import Record
from lmflow.versions.version import Version


@attrs.frozen(eq=False)
class ReplayCase:
    """A recorded execution and what it is driven with now: the program, a version, and what model
    names stand for (``places``) and which adapters they are asked in (``choices``), where that
    isn't as recorded.
    """

    trace: Trace
    program: Program
    version: Version
    places: Mapping[str, Any] | None = None
    choices: Choices | None = None

    @property
    def open(self) -> Reuse:
        """All of the trace's answers at their own addresses; what differs or is missing is asked
        anew, and live tools.

        ``Redacted`` where the recording doesn't hold what was asked.
        """
        trace = self.trace
        if trace.world.get("redacted"):
            raise Redacted(trace.id)
        places = {**trace.world["models"], **(self.places or {})}
        return Reuse(
            trace.id, trace.answers, trace.choices, places, changed=True, missing=True, live=False
        )

    @property
    def kept(self) -> Reuse:
        """The same with the answers of live tools: what was recorded stays."""
        return attrs.evolve(self.open, live=True)


@attrs.frozen
class RequestedCall:
    """A call that the walk met: where, what is asked, and the recorded call that answers it
    (``None``: it isn't known).
    """

    address: str
    request: Request
    found: CallAttempt | None


@attrs.frozen(eq=False)
class Simulation:
    """What the program asks under a version, in program order. Where nothing answers, that branch
    ends there.

    ``outputs`` and ``failure`` are both ``None`` where the end isn't known.
    """

    met: tuple[RequestedCall, ...]
    outputs: Record | None
    failure: Failed | None

    @property
    def whole(self) -> bool:
        """Whether it came to an end, so that nothing is to be asked."""
        return self.outputs is not None or self.failure is not None

    @property
    def misses(self) -> tuple[RequestedCall, ...]:
        """What is to be asked."""
        return tuple(met for met in self.met if met.found is None)


class _Unknown(Exception):
    """Nothing answers here. No flow sees it: only recorded errors are thrown into flows."""


Find = Callable[[str, Request], CallAttempt | None]


def simulate(
    case: ReplayCase, reuse: Reuse, *, find: Find | None = None, assume: bool = False
) -> Simulation:
    """Drive a trace's inputs under a version with what ``find`` answers, by default a ``reuse``
    that lets ask anew.

    With ``assume`` a changed request is answered by the reply recorded at its address, so that what
    follows is seen too, as if replies stayed the same.
    """
    met: list[RequestedCall] = []
    find = find or reuse

    def recall(call: Call, address: str) -> Any:
        request = reuse.resolve_model(call.request, address)
        found = find(address, request)
        met.append(RequestedCall(address, request, found))
        if found is None and assume:
            found = case.trace.answers.get(address)
        if found is None:
            raise _Unknown(address)
        return outcome_or_raise(found.outcome)

    outputs, failure = None, None
    env = recorded_env(case.trace, case.program, case.version, case.choices)
    try:
        outputs = drive_pure(case.program(**case.trace.inputs), env, recall, reuse.choices)
    except (_Unknown, Undecided):
        pass
    except ReplayDiverged:
        raise
    except Exception as error:  # noqa: BLE001 - what an execution may end with
        failure = failed(error)
    return Simulation(tuple(met), outputs, failure)


def match_calls(case: ReplayCase, *, live: bool = False) -> tuple[Reuse, Simulation]:
    """What of a trace answers the program under a version: the same request at the same address;
    else the same request from elsewhere in the trace, where it stands once and isn't used
    already. All else is asked anew.

    It is settled in program order before anything is asked, so that concurrency can't change it.
    The walk is what is met with it. Answers of live tools count with ``live`` alone.
    """
    reuse = case.kept if live else case.open
    first = simulate(case, reuse)
    kept = {met.address for met in first.met if met.found is not None}
    spare = {call.key for address, call in case.trace.answers.items() if address not in kept}
    if not any(met.request.key in spare for met in first.misses):
        return reuse, first
    moved, then = _moved(case, reuse, kept)
    away = {found.address for found in moved.values()}
    stay = {address: call for address, call in case.trace.answers.items() if address not in away}
    return attrs.evolve(reuse, answers={**stay, **moved}), then


def plan_answers(cases: Sequence[ReplayCase], at: str = "") -> list[tuple[Reuse, Simulation]]:
    """What answers each of several, and what is met with it: a patch, or a fork for those that came
    to ``at``.

    ``NotRecorded`` where none did.
    """
    there = [
        bool(at) and any(below(address, at) for address in case.trace.answers) for case in cases
    ]
    if at and not any(there):
        known = dict.fromkeys(address for case in cases for address in case.trace.answers)
        raise NotRecorded("the recording", at, tuple(known))
    return [
        fork(case, at) if forks else match_calls(case)
        for case, forks in zip(cases, there, strict=True)
    ]


def below(address: str, at: str) -> bool:
    """Whether an address is another or in a frame of that address."""
    return address == at or address.startswith(f"{at}/")


def fork(case: ReplayCase, at: str) -> tuple[Reuse, Simulation]:
    """Exact before the first call at or below the address ``at``, and in branches beside it; from
    it on all is asked.

    ``NotRecorded`` where the trace has no such call, ``ReplayDiverged`` where something differs
    before it.
    """
    reuse, answers = case.kept, case.trace.answers
    steps = simulate(case, reuse, assume=True).met
    order = [step.address for step in steps]
    point = next((address for address in order if below(address, at)), None)
    if point is None:
        raise NotRecorded(case.trace.id, at, tuple(answers))
    before = steps[: order.index(point)]
    if (parted := next((step for step in before if step.found is None), None)) is not None:
        recorded = answers.get(parted.address)
        raise ReplayDiverged(
            parted.address, str(recorded.request) if recorded else "", str(parted.request), _BEFORE
        )
    earlier = {step.address for step in before}
    kept = {a: call for a, call in answers.items() if a in earlier or not depends(a, point)}
    choices = {
        at: won for at, won in reuse.choices.items() if any(a.startswith(f"{at}/") for a in kept)
    }
    forked = attrs.evolve(reuse, answers=kept, choices=choices)
    return forked, simulate(case, forked)


_BEFORE = "A fork is exact before its address: give an earlier one."


def _moved(
    case: ReplayCase, reuse: Reuse, kept: set[str]
) -> tuple[Mapping[str, CallAttempt], Simulation]:
    """Recorded calls by the other address that they answer, each used once, given out in program
    order.
    """
    spare: dict[str, list[CallAttempt]] = defaultdict(list)
    for address, call in case.trace.answers.items():
        if address not in kept:
            spare[call.key].append(call)
    moved: dict[str, CallAttempt] = {}

    def taking(address: str, request: Request) -> CallAttempt | None:
        found = reuse(address, request)
        if address in kept or mode_of(request) != CACHED:
            return found
        waiting = spare[request.key]
        if found is not None and found in waiting:
            waiting.remove(found)
            return found
        if len(waiting) != 1:
            return None
        moved[address] = waiting.pop()
        return moved[address]

    walked = simulate(case, reuse, find=taking)
    return moved, walked
