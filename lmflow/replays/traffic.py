"""What recorded traffic would cost under another version: the plans of many executions, summed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from lmflow.replays.what_if import CostEstimate, Plan
from lmflow.traces.trace import Trace

NO_CALLS = CostEstimate(0, 0, 0, 0)


@attrs.frozen
class Traffic:
    """The costs of recorded executions, and of the same executions under a version.

    Args:
        executions: The number of executions.
        changed: The number of executions of which some call changes.
        recorded: The calls that were sent then.
        kept: The calls that stay as they are, which a replay doesn't send.
        least: The calls that certainly change.
        most: These, and the calls that may change with their replies.
    """

    executions: int = 0
    changed: int = 0
    recorded: CostEstimate = NO_CALLS
    kept: CostEstimate = NO_CALLS
    least: CostEstimate = NO_CALLS
    most: CostEstimate = NO_CALLS

    def __add__(self, other: Traffic) -> Traffic:
        """Return the costs of both sets of executions."""
        return Traffic(
            self.executions + other.executions,
            self.changed + other.changed,
            self.recorded + other.recorded,
            self.kept + other.kept,
            self.least + other.least,
            self.most + other.most,
        )

    @property
    def whole_least(self) -> CostEstimate:
        """The least that all the traffic takes under the version, the unchanged calls included."""
        return self.kept + self.least

    @property
    def whole_most(self) -> CostEstimate:
        """The most that all the traffic takes under the version, if programs send as many calls as
        were recorded.
        """
        return self.kept + self.most

    def to_json(self) -> dict[str, Any]:
        """Return the costs as JSON values."""
        replay = {"reused": self.kept, "least": self.least, "most": self.most}
        whole = {"least": self.whole_least, "most": self.whole_most}
        return {
            "executions": self.executions,
            "changed": self.changed,
            "recorded": attrs.asdict(self.recorded),
            "under": {name: attrs.asdict(estimate) for name, estimate in whole.items()},
            "replay": {name: attrs.asdict(estimate) for name, estimate in replay.items()},
        }


def traffic_of(plan: Plan) -> Traffic:
    """Return the costs of a plan's executions, as they were recorded and as they are planned."""
    items = plan.divergence.items
    recorded = NO_CALLS
    for item in items:
        recorded += recorded_cost(item.trace)
    changed = sum(1 for item in items if not item.same)
    return Traffic(len(items), changed, recorded, plan.kept, plan.least, plan.most)


def traffic(plans: Iterable[Plan]) -> Traffic:
    """Return the sum of the costs of plans."""
    total = Traffic()
    for plan in plans:
        total += traffic_of(plan)
    return total


def recorded_cost(trace: Trace) -> CostEstimate:
    """Return the size and price of the calls that an execution sent; reused replies are left out,
    and calls of tools cost nothing.
    """
    total = NO_CALLS
    for call in trace.calls:
        if call.source or call.outcome is None:
            continue
        usage = getattr(call.outcome, "usage", None)
        prompt = None if usage is None else usage.prompt
        tokens = 0 if usage is None else (prompt or 0) + (usage.completion or 0)
        is_unknown = call.kind != "tool" and (prompt is None or call.cost is None)
        cost = 0 if call.kind == "tool" else call.cost
        total += CostEstimate(1, tokens, cost, int(is_unknown))
    return total
