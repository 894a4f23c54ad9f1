"""Runs a recorded execution under other parameters, offline, as far as its answers reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.adapters.registry import AdapterRules, own_adapters, recorded_adapter_rules
from lmflow.errors.replaying import NotRecorded, Redacted, ReplayDiverged, Undecided
from lmflow.interpreter.driver import drive_pure
from lmflow.messages.requests import CACHED, Request
from lmflow.programs.effects import Call
from lmflow.programs.program import Program
from lmflow.replays.addresses import is_at_or_below, may_depend
from lmflow.replays.reuse import Reuse, mode_of, outcome_or_raise, recorded_env
from lmflow.traces.trace import CallAttempt, Failed, Trace, failed
from lmflow.values.record import Record
from lmflow.versions.version import Version

_BEFORE_FORK = "A fork is exact before its address: give an earlier one."


@attrs.frozen(eq=False)
class ReplayCase:
    """A recorded execution with the program and the version that it is run with now.

    ``places`` says what model names stand for, ``choices`` which adapters they are asked in; by
    default both are as recorded.
    """

    trace: Trace
    program: Program
    version: Version
    places: Mapping[str, Any] | None = None
    choices: AdapterRules | None = None

    @property
    def cached_answers(self) -> Reuse:
        """The trace's answers at their own addresses, except those of live tools.

        What changed or is missing is sent anew. Raises ``Redacted`` if the recording doesn't hold
        the requests as they were sent.
        """
        trace = self.trace
        if trace.world.get("redacted"):
            raise Redacted(trace.id)
        places = {**trace.world["models"], **(self.places or {})}
        return Reuse(
            trace.id, trace.answers, trace.choices, places, changed=True, missing=True, live=False
        )

    @property
    def all_answers(self) -> Reuse:
        """The answers of ``cached_answers`` together with those of live tools."""
        return attrs.evolve(self.cached_answers, live=True)


def choices_of(trace: Trace, adapters: Iterable[Any]) -> AdapterRules:
    """The recorded choices of adapters; ``adapters`` are those that their names may stand for."""
    return recorded_adapter_rules(trace.world, own_adapters(adapters))


@attrs.frozen
class RequestedCall:
    """A call that a simulation came to, and the recorded call that answers it.

    ``recorded`` is ``None`` if no recorded call does.
    """

    address: str
    request: Request
    recorded: CallAttempt | None


@attrs.frozen(eq=False)
class Simulation:
    """The calls that a program requests under a version, in program order, and what it came to.

    A branch ends at its first call without an answer. ``outputs`` and ``failure`` are both ``None``
    if the end isn't known.
    """

    calls: tuple[RequestedCall, ...]
    outputs: Record | None
    failure: Failed | None

    @property
    def whole(self) -> bool:
        """True if the execution came to its end, so that no call has to be sent."""
        return self.outputs is not None or self.failure is not None

    @property
    def misses(self) -> tuple[RequestedCall, ...]:
        """The calls that have to be sent."""
        return tuple(call for call in self.calls if call.recorded is None)


class _Unknown(Exception):
    """Raised where no recorded call answers.

    Flows never see it: only recorded errors are thrown into them.
    """


Find = Callable[[str, Request], CallAttempt | None]


def simulate(
    case: ReplayCase, reuse: Reuse, *, find: Find | None = None, assume: bool = False
) -> Simulation:
    """Run a trace's inputs under a version, each call answered by ``find`` (default: ``reuse``).

    With ``assume`` a changed request is answered by the reply recorded at its address, so that the
    calls after it are seen too.
    """
    calls: list[RequestedCall] = []
    find = find or reuse

    def recall(call: Call, address: str) -> Any:
        request = reuse.resolve_model(call.request, address)
        recorded = find(address, request)
        calls.append(RequestedCall(address, request, recorded))
        if recorded is None and assume:
            recorded = case.trace.answers.get(address)
        if recorded is None:
            raise _Unknown(address)
        return outcome_or_raise(recorded.outcome)

    outputs, failure = None, None
    env = recorded_env(case.trace, case.program, case.version, case.choices)
    try:
        outputs = drive_pure(case.program(**case.trace.inputs), env, recall, reuse.choices)
    except (_Unknown, Undecided):
        pass
    except ReplayDiverged:
        raise
    except Exception as error:  # noqa: BLE001 - an execution may end with any error
        failure = failed(error)
    return Simulation(tuple(calls), outputs, failure)


def match_calls(case: ReplayCase, *, live: bool = False) -> tuple[Reuse, Simulation]:
    """Match the program's requests to recorded calls: by address and key, then by key alone.

    A recorded call answers at another address only if it is the one unused call of its key.
    Everything else is sent again. The matching is made in program order before anything is sent, so
    concurrency can't change it. Answers of live tools count only with ``live``.

    Returns:
        The answers by the address that they answer, and the simulation that they were found by.
    """
    reuse = case.all_answers if live else case.cached_answers
    simulation = simulate(case, reuse)
    in_place = {call.address for call in simulation.calls if call.recorded is not None}
    answers = case.trace.answers
    spare_keys = {call.key for address, call in answers.items() if address not in in_place}
    if not any(call.request.key in spare_keys for call in simulation.misses):
        return reuse, simulation
    moved, simulation = _match_by_key(case, reuse, in_place)
    moved_from = {call.address for call in moved.values()}
    stay = {address: call for address, call in answers.items() if address not in moved_from}
    return attrs.evolve(reuse, answers={**stay, **moved}), simulation


def plan_answers(cases: Sequence[ReplayCase], at: str = "") -> list[tuple[Reuse, Simulation]]:
    """Return what answers each case: a fork for those that have a call at ``at``, else a match.

    Raises ``NotRecorded`` if ``at`` is given and no case has such a call.
    """
    check_recorded_at((case.trace for case in cases), at)
    return [plan_answer(case, at) for case in cases]


def plan_answer(case: ReplayCase, at: str = "") -> tuple[Reuse, Simulation]:
    """Return what answers a case: a fork if it has a call at ``at``, else a match."""
    forked = bool(at) and _any_at_or_below(case.trace.answers, at)
    return fork(case, at) if forked else match_calls(case)


def check_recorded_at(traces: Iterable[Trace], at: str) -> None:
    """Raise ``NotRecorded`` if ``at`` is given and no execution has a call there."""
    if not at:
        return
    addresses: dict[str, None] = {}
    for trace in traces:
        if _any_at_or_below(trace.answers, at):
            return
        addresses |= dict.fromkeys(trace.answers)
    raise NotRecorded("the recording", at, tuple(addresses))


def fork(case: ReplayCase, at: str) -> tuple[Reuse, Simulation]:
    """Answer exactly up to the first call at or below the address ``at``; send the rest.

    Sibling branches of that call keep their answers.

    Raises:
        NotRecorded: The trace has no call at or below ``at``.
        ReplayDiverged: A request before that call differs from the recorded one.
    """
    reuse, answers = case.all_answers, case.trace.answers
    calls = simulate(case, reuse, assume=True).calls
    addresses = [call.address for call in calls]
    point = next((address for address in addresses if is_at_or_below(address, at)), None)
    if point is None:
        raise NotRecorded(case.trace.id, at, tuple(answers))
    before = calls[: addresses.index(point)]
    differing = next((call for call in before if call.recorded is None), None)
    if differing is not None:
        recorded = answers.get(differing.address)
        expected = str(recorded.request) if recorded else ""
        raise ReplayDiverged(differing.address, expected, str(differing.request), _BEFORE_FORK)
    earlier = {call.address for call in before}
    exact = {a: call for a, call in answers.items() if a in earlier or not may_depend(a, point)}
    # A race of which no call is answered is run anew: its recorded winner would decide it before
    # any branch had answered.
    races = reuse.choices.items()
    choices = {race: winner for race, winner in races if _any_at_or_below(exact, race)}
    forked = attrs.evolve(reuse, answers=exact, choices=choices)
    return forked, simulate(case, forked)


def _any_at_or_below(addresses: Iterable[str], frame: str) -> bool:
    return any(is_at_or_below(address, frame) for address in addresses)


def _match_by_key(
    case: ReplayCase, reuse: Reuse, in_place: set[str]
) -> tuple[Mapping[str, CallAttempt], Simulation]:
    """Simulate once more, and let unused recorded calls answer at other addresses, each once.

    Calls are given out in program order. The first result maps addresses to the calls moved there.
    """
    unused: dict[str, list[CallAttempt]] = defaultdict(list)
    for address, call in case.trace.answers.items():
        if address not in in_place:
            unused[call.key].append(call)
    moved: dict[str, CallAttempt] = {}

    def find(address: str, request: Request) -> CallAttempt | None:
        own = reuse(address, request)
        if address in in_place or mode_of(request) != CACHED:
            return own
        candidates = unused[request.key]
        if own is not None and own in candidates:
            candidates.remove(own)
            return own
        if len(candidates) != 1:
            return None
        moved[address] = candidates.pop()
        return moved[address]

    simulation = simulate(case, reuse, find=find)
    return moved, simulation
