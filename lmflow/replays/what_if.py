"""Plans what a recording would cost under another version, before anything is paid."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs

from lmflow.adapters.adapter import Adapter
from lmflow.errors import short
from lmflow.messages.replies import ChatReply, EmbedReply
from lmflow.messages.requests import Request, ToolRequest
from lmflow.models.prices import cost_of
from lmflow.programs.program import Program
from lmflow.replays.addresses import step_of_address
from lmflow.replays.differences import CallDiff, CallDifference, Divergence, TraceDiff
from lmflow.replays.divergence import diff_trace, labelled_traces
from lmflow.replays.reuse import copied_call
from lmflow.replays.simulate import ReplayCase, choices_of, plan_answers
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.values.interchange import JsonValue
from lmflow.values.record import plain
from lmflow.versions.version import Version
from lmflow.views.amounts import dollars
from lmflow.views.lines import counted
from lmflow.views.page import page_html, page_markdown

_REUSED: tuple[CallDifference, ...] = ("same", "moved")
_SENT: tuple[CallDifference, ...] = ("reissued", "changed", "new")
_MAYBE_SENT: tuple[CallDifference, ...] = (*_SENT, "unknown")


@attrs.frozen
class CostEstimate:
    """The expected size and price of calls, from those of their recorded counterparts.

    ``cost`` is in nano-dollars, ``None`` if no price is known. ``unknown`` counts the calls that
    have no counterpart with recorded tokens and price; they are not in the sums.
    """

    calls: int
    tokens: int
    cost: int | None
    unknown: int

    def __add__(self, other: CostEstimate) -> CostEstimate:
        """Return the estimate of both sets of calls."""
        if not self.calls or not other.calls:
            return other if other.calls else self
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return CostEstimate(
            self.calls + other.calls,
            self.tokens + other.tokens,
            sum(costs) if costs else None,
            self.unknown + other.unknown,
        )

    def __str__(self) -> str:
        money = "price unknown" if self.cost is None else dollars(self.cost / 1e9)
        more = f", {self.unknown} of them without a recorded size or price" if self.unknown else ""
        calls, tokens = counted(self.calls, "call"), counted(self.tokens, "token")
        return f"{calls}, about {tokens}, {money}{more}"


@attrs.frozen(eq=False, repr=False)
class Plan(JsonValue):
    """The calls that a version reuses from a recording and the calls that it must send.

    Nothing was sent to make the plan. ``least`` covers the calls that are certain to be sent;
    ``most`` adds every recorded call that may change with their replies. (A program may send more
    than was recorded once replies differ: no plan can bound that; a budget does.)
    """

    divergence: Divergence

    @property
    def reused(self) -> int:
        """The number of calls that the recording answers."""
        return sum(self.divergence.counts[kind] for kind in _REUSED)

    @property
    def kept(self) -> CostEstimate:
        """The size and price of the calls that the recording answers, as they were recorded."""
        return _estimate(self.divergence.items, _REUSED)

    @property
    def least(self) -> CostEstimate:
        """The estimate of the calls that are certain to be sent."""
        return _estimate(self.divergence.items, _SENT)

    @property
    def most(self) -> CostEstimate:
        """The estimate of ``least`` and of the recorded calls that may change with its replies."""
        return _estimate(self.divergence.items, _MAYBE_SENT)

    @property
    def results(self) -> tuple[tuple[str, Trace | None], ...]:
        """The executions under the version by label; ``None`` if calls have to be sent."""
        version = self.divergence.version
        return tuple((item.label, _result(item, version)) for item in self.divergence.items)

    def __str__(self) -> str:
        return "\n".join([*self._lines(), str(self.divergence)])

    def __repr__(self) -> str:
        least, most = self.least, self.most
        needed = f"{least.calls}" if least == most else f"{least.calls} to {most.calls}"
        version = short(self.divergence.version.id)
        return f"<Plan {version}: {self.reused} calls reused, {needed} to send>"

    def _repr_html_(self) -> str:
        return page_html(self._page_lines(), *self.divergence.blocks())

    def _repr_markdown_(self) -> str:
        return page_markdown(self._page_lines(), *self.divergence.blocks())

    def _lines(self) -> tuple[str, ...]:
        least, most = self.least, self.most
        reused = f"reused: {counted(self.reused, 'call')}"
        if least == most:
            return reused, f"needed: {least}"
        return reused, f"needed: at least {least};", f"        with what may change: {most}"

    def _page_lines(self) -> tuple[str, ...]:
        version = short(self.divergence.version.id)
        return f"Plan under version {version}: nothing was sent", *self._lines()

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as new JSON values, as ``lmflow replay --json`` prints it."""
        values: dict[str, Any] = plain(self.to_json())
        return values

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values: the estimates, then those of its divergence."""
        least, most = attrs.asdict(self.least), attrs.asdict(self.most)
        return {
            "reused": self.reused,
            "needed": {"least": least, "most": most},
            **self.divergence.to_json(),
        }


def what_if(  # noqa: PLR0913 - each is a choice of its own
    recorded: Trace | Run,
    program: Program,
    version: Version | None = None,
    *,
    at: str = "",
    places: Mapping[str, Any] | None = None,
    adapters: Iterable[Adapter] = (),
) -> Plan:
    """Plan a recording under a version, offline: which calls are reused and which are sent.

    Calls whose request stays the same are reused. The first changed call of a branch is sent, and
    what depends on its reply is unknown until then.

    Args:
        recorded: The trace or run.
        program: The program as it is now.
        version: The version to run it under, by default the recorded one.
        at: The address from which on every call is sent; empty: none is sent that needn't be.
        places: Model names -> what they stand for now, by default as recorded.
        adapters: The adapters of your own that the executor chose by model.

    Returns:
        The plan, with the outputs of the executions that need no call.

    Raises:
        NotRecorded: The recording has no call at or below ``at``.
        ReplayDiverged: A request differs before ``at``.
        ForeignPaths: The version has paths that the program doesn't have.
        Redacted: The recording doesn't hold the requests as they were sent.
    """
    labels = [label for label, _ in labelled_traces(recorded)]
    cases = [
        ReplayCase(trace, program, version or trace.version, places, choices_of(trace, adapters))
        for _, trace in labelled_traces(recorded)
    ]
    answers = plan_answers(cases, at)
    items = tuple(
        diff_trace(label, case, reuse, simulation)
        for label, case, (reuse, simulation) in zip(labels, cases, answers, strict=True)
    )
    planned = version or next((item.trace.version for item in items), Version())
    return Plan(Divergence(planned, items, assumed=False))


def _result(item: TraceDiff, version: Version) -> Trace | None:
    simulation = item.simulation
    if not simulation.whole:
        return None
    calls = tuple(
        copied_call(call.recorded, call.address, item.trace.id, call.recorded.started)
        for call in simulation.calls
        if call.recorded is not None
    )
    return attrs.evolve(
        item.trace,
        version=version,
        calls=calls,
        outputs=simulation.outputs,
        failure=simulation.failure,
    )


def _estimate(items: Iterable[TraceDiff], kinds: Collection[CallDifference]) -> CostEstimate:
    sizes = []
    for item in items:
        sizes += [_size(item, call) for call in item.calls if call.kind in kinds]
    costs = [cost for _, cost in sizes if cost is not None]
    return CostEstimate(
        len(sizes),
        sum(tokens for tokens, _ in sizes if tokens is not None),
        sum(costs) if costs or not sizes else None,
        sum(1 for tokens, cost in sizes if tokens is None or cost is None),
    )


def _size(item: TraceDiff, call: CallDiff) -> tuple[int | None, int | None]:
    """Return the expected tokens and nano-dollars of a call.

    Prompt tokens are taken to grow in proportion to the request's text, the price in proportion to
    the tokens.
    """
    if isinstance(call.request or (call.recorded and call.recorded.request), ToolRequest):
        return 0, 0
    counterpart = call.recorded or _call_of_same_step(item, call.address)
    if counterpart is None:
        return None, None
    outcome = counterpart.outcome
    if not isinstance(outcome, (ChatReply, EmbedReply)) or outcome.usage.prompt is None:
        return None, counterpart.cost
    growth = 1.0
    if call.request is not None:
        growth = _length(call.request) / max(1, _length(counterpart.request))
    recorded = outcome.usage.prompt + (outcome.usage.completion or 0)
    tokens = round(outcome.usage.prompt * growth) + (outcome.usage.completion or 0)
    price = counterpart.cost
    if counterpart.source:  # A reused reply cost nothing; sent again, it would.
        price = cost_of(counterpart.target, outcome.usage, counterpart.started)
    if price is None or not recorded:
        return tokens, price
    return tokens, round(price * tokens / recorded)


def _call_of_same_step(item: TraceDiff, address: str) -> CallAttempt | None:
    step = step_of_address(item.program, address)
    return next(
        (
            call
            for call in item.trace.answers.values()
            if step_of_address(item.program, call.address) == step
        ),
        None,
    )


def _length(request: Request) -> int:
    return len(str(request))
