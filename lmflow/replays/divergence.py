"""Compares a recording with what a program requests under a version, call by call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.chat import without_cue
from lmflow.messages.messages import Message
from lmflow.messages.requests import ChatRequest, Request, ToolRequest
from lmflow.programs.decisions import known_paths
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program
from lmflow.replays.addresses import frames_of, may_depend, step_of_address
from lmflow.replays.differences import CallDiff, CallDifference, Divergence, TraceDiff
from lmflow.replays.reuse import Reuse
from lmflow.replays.simulate import (
    ReplayCase,
    RequestedCall,
    Simulation,
    choices_of,
    match_calls,
    simulate,
)
from lmflow.traces.addresses import in_lost_branch
from lmflow.traces.recorded import check_recorded
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.versions.diff import diff
from lmflow.versions.version import Version


def diverge(
    recorded: Trace | Run,
    program: Program,
    version: Version | None = None,
    *,
    places: Mapping[str, Any] | None = None,
    adapters: Iterable[Adapter] = (),
) -> Divergence:
    """Compare a recording with what the program requests under a version, offline.

    A changed request is taken to be answered by the reply recorded at its address, so one pass
    shows every change. Nothing is known about what follows a call that is new.

    Args:
        recorded: The trace or run.
        program: The program as it is now.
        version: The version to run it under, by default the recorded one without the parameters of
            steps that the program no longer has.
        places: Model names -> what they stand for now; others as in ``Trace.world["models"]``.
        adapters: The adapters of your own that the executor chose by model.

    Returns:
        The divergence: a ``TraceDiff`` for each execution.

    Raises:
        ForeignPaths: ``version`` has paths that the program doesn't have.
        Redacted: The recording doesn't hold the requests as they were sent.
    """
    items = []
    for label, trace in labelled_traces(recorded):
        planned = version or restrict_version(trace.version, program)
        case = ReplayCase(trace, program, planned, places, choices_of(trace, adapters))
        reuse, _ = match_calls(case, live=True)
        items.append(diff_trace(label, case, reuse, simulate(case, reuse, assume=True)))
    return Divergence(_version_of(recorded, version), tuple(items))


def diff_trace(label: str, case: ReplayCase, reuse: Reuse, simulation: Simulation) -> TraceDiff:
    """Compare one recorded execution with a simulation of it that ``reuse`` answered."""
    calls = (
        *_requested_calls(case, simulation),
        *_other_recorded_calls(case.trace, reuse, simulation),
    )
    return TraceDiff(label, case.trace, calls, simulation, case.program)


def restrict_version(version: Version, program: Program) -> Version:
    """Return the version without the paths that the program doesn't have."""
    params = version.params.only(*known_paths(program))
    return version if len(params) == len(version.params) else attrs.evolve(version, params=params)


def labelled_traces(recorded: Trace | Run) -> Sequence[tuple[str, Trace]]:
    """Return the traces of a recording with their labels; a single trace has an empty one."""
    check_recorded(recorded)
    return (("", recorded),) if isinstance(recorded, Trace) else recorded.items


def _version_of(recorded: Trace | Run, version: Version | None) -> Version:
    return version or next((trace.version for _, trace in labelled_traces(recorded)), Version())


def _changed_paths(case: ReplayCase) -> set[str]:
    """Return the paths whose values differ between the recorded version and the case's."""
    before, after = (
        Version(params=complete_params(case.program, restrict_version(version, case.program)))
        for version in (case.trace.version, case.version)
    )
    return {change.path for change in diff(before, after)}


def _requested_calls(case: ReplayCase, simulation: Simulation) -> Iterator[CallDiff]:
    """Compare each call that the program requests with the recording."""
    changed_paths = _changed_paths(case)
    used = {call.recorded.address for call in simulation.calls if call.recorded is not None}
    for call in simulation.calls:
        replaced = None if call.address in used else case.trace.answers.get(call.address)
        yield _call_diff(case.program, call, replaced, changed_paths)


def _call_diff(
    program: Program, call: RequestedCall, replaced: CallAttempt | None, changed_paths: set[str]
) -> CallDiff:
    """Compare a requested call with its answer, or with the call ``replaced`` at its address."""
    address, request = call.address, call.request
    if call.recorded is not None:
        kind: CallDifference = "same" if call.recorded.address == address else "moved"
        return CallDiff(address, kind, call.recorded, request)
    if replaced is None:
        return CallDiff(address, "new", None, request)
    if replaced.key == request.key:
        return CallDiff(address, "reissued", replaced, request)
    blame = _blame(program, address, replaced.request, request, changed_paths)
    return CallDiff(address, "changed", replaced, request, blame)


def _other_recorded_calls(trace: Trace, reuse: Reuse, simulation: Simulation) -> Iterator[CallDiff]:
    """Classify the recorded calls that the simulation didn't request.

    They are dropped, or unknown if the program may still request them after an unknown reply.
    """
    requested = {call.address for call in simulation.calls}
    used = {call.recorded.address for call in simulation.calls if call.recorded is not None}
    entered = {frame for address in requested for frame in frames_of(address)}
    ends = () if simulation.whole else tuple(call.address for call in simulation.misses)
    undecided = not simulation.whole and not ends  # a race whose winner isn't on record
    winners = {
        race: winner for race, winner in trace.choices.items() if reuse.choices.get(race) == winner
    }
    for address, call in trace.answers.items():
        if address in requested or address in used or in_lost_branch(address, winners):
            continue
        open_ = undecided or any(_may_follow(address, end, entered) for end in ends)
        yield CallDiff(address, "unknown" if open_ else "dropped", call)


def _may_follow(address: str, end: str, entered: set[str]) -> bool:
    """Say whether a call may still be requested once the call at ``end`` is answered.

    It may not if it is in a sibling branch, or in a frame that the simulation has already entered.
    """
    return may_depend(address, end) and _outermost_other_frame(address, end) not in entered


def _outermost_other_frame(address: str, end: str) -> str:
    """Return the outermost frame of an address that ``end`` isn't in."""
    shared = set(frames_of(end))
    return next((frame for frame in frames_of(address) if frame not in shared), address)


def _blame(
    program: Program, address: str, before: Request, after: Request, changed_paths: set[str]
) -> tuple[str, ...]:
    """Name what made a request differ; ``code`` if nothing else did."""
    step = step_of_address(program, address)
    blame = sorted(path for path in changed_paths if path.rpartition(".")[0] == step)
    if isinstance(before, ToolRequest) and isinstance(after, ToolRequest):
        blame += ["inputs"] if before.inputs != after.inputs else []
        blame += ["code"] if before.identity != after.identity else []
        return tuple(blame) or ("code",)
    if _destination(before) != _destination(after) and f"{step}.model" not in blame:
        blame.append("model")
    if isinstance(before, ChatRequest) and isinstance(after, ChatRequest):
        blame += ["inputs"] if _input_message(before) != _input_message(after) else []
    return tuple(blame) or ("code",)


def _input_message(request: ChatRequest) -> Message:
    """Return the last message without the adapter's cue, which belongs to the code."""
    last = request.messages[-1]
    return attrs.evolve(last, content=without_cue(last.content))


def _destination(request: Request) -> tuple[str, str]:
    return ("", "") if isinstance(request, ToolRequest) else (request.model, request.endpoint)
