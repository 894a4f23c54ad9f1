"""What would be asked otherwise: a recording against a program and a version, call by call."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs
import toolz

from lmflow.adapters.chat import uncued
from lmflow.messages.messages import Message
from lmflow.messages.requests import ChatRequest, Request, ToolRequest
from lmflow.programs.program import Program, completed
from lmflow.replays.reuse import Reuse, depends
from lmflow.replays.simulate import ReplayCase, Simulation, match_calls, simulate
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.values.text_diff import changed_lines
from lmflow.versions.diff import diff
from lmflow.versions.version import Version

KINDS = ("same", "moved", "again", "changed", "new", "dropped", "unknown")
SHOWN = 20


@attrs.frozen(eq=False)
class CallDiff:
    """One call of both sides. ``kind`` is same, moved (recorded elsewhere), again (the same, but
    asked anew), changed, new, dropped (no longer asked), or unknown: whether it is asked depends
    on a reply that isn't known.

    ``blame`` says what changed a request: paths of parameters, model, inputs or code.
    """

    address: str
    kind: str
    recorded: CallAttempt | None
    request: Request | None = None
    blame: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What a changed request says otherwise, ``[-gone-]{+new+}``."""
        if self.kind != "changed" or self.recorded is None:
            return ""
        return changed_lines(str(self.recorded.request), str(self.request))

    def to_json(self) -> dict[str, Any]:
        """It as JSON values."""
        data = {
            "address": self.address,
            "kind": self.kind,
            "blame": list(self.blame),
            "words": self.words,
        }
        if self.kind == "moved" and self.recorded is not None:
            data["from"] = self.recorded.address
        return {name: value for name, value in data.items() if value}


@attrs.frozen(eq=False)
class TraceDiff:
    """A recorded execution and the same inputs under another version: the calls of both in program
    order.

    ``simulation`` has the outputs where they are known without asking.
    """

    label: str
    trace: Trace
    calls: tuple[CallDiff, ...]
    simulation: Simulation

    @property
    def same(self) -> bool:
        """Whether the same is asked and the same comes of it."""
        return all(call.kind == "same" for call in self.calls) and self.result == "same"

    @property
    def result(self) -> str:
        """Whether the result is the same, changed or unknown."""
        if not self.simulation.whole:
            return "unknown"
        before, after = (
            (self.trace.outputs, self.trace.failure),
            (self.simulation.outputs, self.simulation.failure),
        )
        return "same" if before == after else "changed"

    def to_json(self) -> dict[str, Any]:
        """It as JSON values."""
        return {
            "label": self.label,
            "trace": self.trace.id,
            "result": self.result,
            "outputs": self.simulation.outputs,
            "failure": self.simulation.failure,
            "calls": [call.to_json() for call in self.calls],
        }


@attrs.frozen(eq=False)
class Divergence:
    """Where a recording and a program under a version part, for each execution. ``str`` is a tree
    for people.

    ``assumed`` says that changed requests were taken to be answered as recorded, so that what
    follows them shows too.
    """

    version: Version
    items: tuple[TraceDiff, ...]
    assumed: bool = True

    @property
    def counts(self) -> Mapping[str, int]:
        """How many calls are of each kind."""
        found = Counter(call.kind for item in self.items for call in item.calls)
        return {kind: found[kind] for kind in KINDS}

    @property
    def same(self) -> bool:
        """Whether nothing parts."""
        return all(item.same for item in self.items)

    def __str__(self) -> str:
        parted = [item for item in self.items if not item.same]
        rest = len(self.items) - len(parted)
        lines = [text for item in parted[:SHOWN] for text in _tree(item)]
        lines += [f"… {len(parted) - SHOWN} more that differ"] if len(parted) > SHOWN else []
        lines += [f"{rest} of {len(self.items)} the same throughout"] if rest else []
        taken = (
            "; changed requests are taken to be answered as recorded"
            if self.assumed and self.counts["changed"]
            else ""
        )
        return "\n".join([count_text(self.counts) + taken, *lines])

    def to_json(self) -> dict[str, Any]:
        """It as JSON values."""
        return {
            "version": self.version.id,
            "assumed": self.assumed,
            "counts": dict(self.counts),
            "items": [item.to_json() for item in self.items],
        }


def diverge(
    recorded: Trace | Run,
    program: Program,
    version: Version | None = None,
    *,
    places: Mapping[str, Any] | None = None,
) -> Divergence:
    """Compare a recording with what the program asks under a version (by default the recorded one),
    offline.

    A changed request is taken to be answered as recorded, so one pass shows every change; below a
    call that is new, nothing is known. Parameters of steps that the program no longer has are left
    out of the recorded version. ``places`` maps model names to what they stand for now
    (``Trace.world["models"]`` otherwise).
    """
    cases = [
        (
            label,
            ReplayCase(trace, program, version or restrict_version(trace.version, program), places),
        )
        for label, trace in labelled_traces(recorded)
    ]
    items = tuple(
        diff_trace(
            label,
            case,
            reuse := match_calls(case, live=True)[0],
            simulate(case, reuse, assume=True),
        )
        for label, case in cases
    )
    return Divergence(_named(recorded, version), items)


def diff_trace(label: str, case: ReplayCase, reuse: Reuse, walked: Simulation) -> TraceDiff:
    """One recorded execution against what the program asks under a version, answered by ``reuse``."""
    return TraceDiff(
        label, case.trace, (*_met(case, walked), *_unmet(case.trace, reuse, walked)), walked
    )


def restrict_version(version: Version, program: Program) -> Version:
    """The version without the paths that the program doesn't have; itself where it has none."""
    known = version.params.only(*program.paths)
    return version if len(known) == len(version.params) else attrs.evolve(version, params=known)


def labelled_traces(recorded: Trace | Run) -> tuple[tuple[str, Trace], ...]:
    """The traces of a recording with their labels."""
    return (("", recorded),) if isinstance(recorded, Trace) else recorded.items


def count_text(counts: Mapping[str, int]) -> str:
    """Counts in words: ``40 same, 2 changed``."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "no calls"


def _named(recorded: Trace | Run, version: Version | None) -> Version:
    return version or next((trace.version for _, trace in labelled_traces(recorded)), Version())


def _whole(program: Program, version: Version) -> Version:
    return Version(params=completed(program, restrict_version(version, program)))


def _met(case: ReplayCase, walked: Simulation) -> tuple[CallDiff, ...]:
    before, after = (
        _whole(case.program, version) for version in (case.trace.version, case.version)
    )
    changes = {change.path for change in diff(before, after)}
    used = {met.found.address for met in walked.met if met.found is not None}
    found = []
    for met in walked.met:
        beside = None if met.address in used else case.trace.answers.get(met.address)
        if met.found is not None:
            kind = "same" if met.found.address == met.address else "moved"
            found.append(CallDiff(met.address, kind, met.found, met.request))
        elif beside is not None and beside.key == met.request.key:
            found.append(CallDiff(met.address, "again", beside, met.request))
        elif beside is not None:
            blame = _blame(case.program, met.address, beside.request, met.request, changes)
            found.append(CallDiff(met.address, "changed", beside, met.request, blame))
        else:
            found.append(CallDiff(met.address, "new", None, met.request))
    return tuple(found)


def _unmet(trace: Trace, reuse: Reuse, walked: Simulation) -> tuple[CallDiff, ...]:
    """Recorded calls that the walk didn't meet: dropped, or unknown where they may come after what
    isn't known.
    """
    met = {step.address for step in walked.met}
    used = {step.found.address for step in walked.met if step.found is not None}
    seen = {frame for address in met for frame in _frames(address)}
    open_ends = () if walked.whole else tuple(step.address for step in walked.misses)
    raced = not walked.whole and not open_ends
    left = (call for address, call in trace.answers.items() if address not in met | used)
    return tuple(
        CallDiff(
            call.address,
            "unknown"
            if raced or any(_may_follow(call.address, end, seen) for end in open_ends)
            else "dropped",
            call,
        )
        for call in left
        if not _lost(call.address, trace, reuse)
    )


def _may_follow(address: str, end: str, seen: set[str]) -> bool:
    """Whether a call may still be asked once ``end`` is answered: not in a branch beside it, not in
    a frame before.
    """
    return depends(address, end) and _parting(address, end) not in seen


def _parting(address: str, end: str) -> str:
    """The outermost frame of an address that ``end`` isn't in."""
    inner = set(_frames(end))
    return next((frame for frame in _frames(address) if frame not in inner), address)


def _frames(address: str) -> tuple[str, ...]:
    parts = address.split("/")
    return tuple("/".join(parts[:end]) for end in range(1, len(parts) + 1))


def _lost(address: str, trace: Trace, reuse: Reuse) -> bool:
    """Whether it belongs to a branch that lost a race: those are in no root."""
    return any(
        address.startswith(f"{at}/") and not address.startswith(f"{at}/branch[{winner}]/")
        for at, winner in trace.choices.items()
        if reuse.choices.get(at) == winner
    )


def _blame(
    program: Program, address: str, before: Request, after: Request, changes: set[str]
) -> tuple[str, ...]:
    step = step_at(program, address)
    found = sorted(path for path in changes if path.rpartition(".")[0] == step)
    if isinstance(before, ToolRequest) and isinstance(after, ToolRequest):
        found += ["inputs"] if before.inputs != after.inputs else []
        return tuple(found + (["code"] if before.identity != after.identity else [])) or ("code",)
    elsewhere = _place(before) != _place(after) and f"{step}.model" not in found
    found += ["model"] if elsewhere else []
    if isinstance(before, ChatRequest) and isinstance(after, ChatRequest):
        found += ["inputs"] if _put(before) != _put(after) else []
    return tuple(found) or ("code",)


def _put(request: ChatRequest) -> Message:
    """The last message without the adapter's cue, which is the code's."""
    last = request.messages[-1]
    return attrs.evolve(last, content=uncued(last.content))


def _place(request: Request) -> tuple[str, str]:
    return ("", "") if isinstance(request, ToolRequest) else (request.model, request.endpoint)


def step_at(program: Program, address: str) -> str:
    """The name of the step that a call's address belongs to: the longest whose parts are frames of
    it, in order.
    """
    frames = [part.partition("[")[0] for part in address.split("/")[:-1]]
    steps = [name for name in program.steps if frames and _within(name.split("."), frames)]
    return max(steps, key=len, default=frames[-1] if frames else "")


def _within(parts: list[str], frames: list[str]) -> bool:
    left = iter(frames)
    return parts[-1] == frames[-1] and all(part in left for part in parts)


def _tree(item: TraceDiff) -> list[str]:
    """A trace as lines: the calls under their frames, changed ones with their words."""
    counts = toolz.countby(lambda call: call.kind, item.calls)
    head = f"{item.label or 'trace'} {item.trace.id}  {count_text({k: counts.get(k, 0) for k in KINDS})}"
    lines: list[str] = [head]
    open_frames: tuple[str, ...] = ()
    for call in item.calls:
        *frames, leaf = call.address.split("/")
        shared = sum(
            1
            for _ in itertools.takewhile(
                lambda pair: pair[0] == pair[1], zip(open_frames, frames, strict=False)
            )
        )
        lines += [f"│  {'  ' * depth}{frames[depth]}" for depth in range(shared, len(frames))]
        open_frames = tuple(frames)
        indent = f"│  {'  ' * len(frames)}"
        lines.append(f"{indent}{leaf}  {_said(call)}")
        lines += [f"{indent}  {text}" for text in call.words.splitlines()]
    return [*lines, f"└─ result {item.result}"]


def _said(call: CallDiff) -> str:
    if call.kind == "moved" and call.recorded is not None:
        return f"moved from {call.recorded.address}"
    return f"{call.kind} by {', '.join(call.blame)}" if call.blame else call.kind
