"""What a recording would cost to have under another version: a plan, before anything is paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.messages.replies import ChatReply, EmbedReply
from lmflow.messages.requests import Request, ToolRequest
from lmflow.programs.program import Program
from lmflow.replays.divergence import CallDiff, Divergence, TraceDiff, diff_trace, labelled_traces
from lmflow.replays.reuse import copied_call
from lmflow.replays.simulate import ReplayCase, plan_answers
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.versions.version import Version

_REUSED = ("same", "moved")
_ASKED = ("again", "changed", "new")
_MAYBE = (*_ASKED, "unknown")


@attrs.frozen
class Estimate:
    """What calls are expected to take, from what their recorded counterparts took.

    ``cost`` is in nano-dollars, ``None`` where nothing is known; ``unknown`` counts the calls
    without a counterpart whose tokens or price were recorded, which are not in the sums.
    """

    calls: int
    tokens: int
    cost: int | None
    unknown: int

    def __str__(self) -> str:
        money = "price unknown" if self.cost is None else f"${self.cost / 1e9:.6f}"
        more = f", {self.unknown} of them without a recorded size or price" if self.unknown else ""
        return f"{self.calls} calls, about {self.tokens} tokens, {money}{more}"


@attrs.frozen(eq=False)
class Plan:
    """What of a recording stands under a version, and what is to be asked. Nothing was sent to make
    it.

    ``least`` is what is asked for certain; ``most`` adds every recorded call that may change with
    those replies. (A program may ask more than was recorded once replies differ: no plan can bound
    that; a budget does.)
    """

    divergence: Divergence

    @property
    def reused(self) -> int:
        """How many calls are answered by the recording."""
        return sum(self.divergence.counts[kind] for kind in _REUSED)

    @property
    def least(self) -> Estimate:
        """The calls that are asked for certain."""
        return _estimate(self.divergence.items, _ASKED)

    @property
    def most(self) -> Estimate:
        """Those, and the recorded calls that may change with their replies."""
        return _estimate(self.divergence.items, _MAYBE)

    @property
    def results(self) -> tuple[tuple[str, Trace | None], ...]:
        """By label the execution under the version, ``None`` where it isn't known without asking."""
        version = self.divergence.version
        return tuple((item.label, _result(item, version)) for item in self.divergence.items)

    def __str__(self) -> str:
        least, most = self.least, self.most
        needed = (
            f"needed: {least}"
            if least == most
            else f"needed: at least {least};\n        with what may change: {most}"
        )
        return f"reused: {self.reused} calls\n{needed}\n{self.divergence}"

    def to_json(self) -> dict[str, Any]:
        """It as JSON values."""
        least, most = attrs.asdict(self.least), attrs.asdict(self.most)
        return {
            "reused": self.reused,
            "needed": {"least": least, "most": most},
            **self.divergence.to_json(),
        }


def what_if(
    recorded: Trace | Run,
    program: Program,
    version: Version | None = None,
    *,
    at: str = "",
    places: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of a recording under a version (by default the recorded one): pure and offline.

    Calls whose request stays the same are reused; the first that changes in a branch is asked, and
    what depends on its reply is unknown until then. From the address ``at`` on all is asked.
    ``places`` maps model names to what they stand for now (by default as recorded).
    ``NotRecorded``, and ``ReplayDiverged`` where something differs before ``at``.
    """
    cases = [
        (label, ReplayCase(trace, program, version or trace.version, places))
        for label, trace in labelled_traces(recorded)
    ]
    answered = plan_answers([case for _, case in cases], at)
    items = tuple(
        diff_trace(label, case, *found)
        for (label, case), found in zip(cases, answered, strict=True)
    )
    found = version or next((item.trace.version for item in items), Version())
    return Plan(Divergence(found, items, assumed=False))


def _result(item: TraceDiff, version: Version) -> Trace | None:
    walked = item.simulation
    if not walked.whole:
        return None
    calls = tuple(
        copied_call(m.found, m.address, item.trace.id, m.found.started)
        for m in walked.met
        if m.found is not None
    )
    return attrs.evolve(
        item.trace, version=version, calls=calls, outputs=walked.outputs, failure=walked.failure
    )


def _estimate(items: Iterable[TraceDiff], kinds: tuple[str, ...]) -> Estimate:
    calls = [(item, call) for item in items for call in item.calls if call.kind in kinds]
    sizes = [_size(item, call) for item, call in calls]
    costs = [cost for _, cost in sizes if cost is not None]
    return Estimate(
        len(calls),
        sum(tokens for tokens, _ in sizes if tokens is not None),
        sum(costs) if costs or not calls else None,
        sum(1 for tokens, cost in sizes if tokens is None or cost is None),
    )


def _size(item: TraceDiff, call: CallDiff) -> tuple[int | None, int | None]:
    """The expected tokens and nano-dollars of a call: the prompt grows as its text does."""
    if isinstance(call.request or (call.recorded and call.recorded.request), ToolRequest):
        return 0, 0
    like = call.recorded or _like(item.trace, call.address)
    if (
        like is None
        or not isinstance(like.outcome, (ChatReply, EmbedReply))
        or like.outcome.usage.prompt is None
    ):
        return None, like.cost if like else None
    prompt, completion = like.outcome.usage.prompt, like.outcome.usage.completion or 0
    growth = (
        _length(call.request) / max(1, _length(like.request)) if call.request is not None else 1
    )
    return round(prompt * growth) + completion, like.cost


def _like(trace: Trace, address: str) -> CallAttempt | None:
    """A recorded call of the same step."""
    step = _step(address)
    return next((call for call in trace.answers.values() if _step(call.address) == step), None)


def _step(address: str) -> str:
    return address.split("/")[-2].partition("[")[0] if "/" in address else ""


def _length(request: Request) -> int:
    return len(str(request))
