"""What a search may spend, and what it has spent."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from lmflow.errors import ProgramError
from lmflow.messages.replies import ChatReply, EmbedReply
from lmflow.messages.requests import ToolRequest
from lmflow.models.prices import cost_of
from lmflow.optimizers.parts.limits import Limits
from lmflow.optimizers.parts.needs import PlannedRollout
from lmflow.traces.counts import count_model_calls
from lmflow.traces.trace import CallAttempt, Trace

_NANO = 1_000_000_000


@attrs.define(eq=False)
class Purse:
    """The limits of a search, and what its rollouts took so far. A rollout that is needed again
    costs nothing. Calls are always limited.
    """

    limits: Limits
    calls: int = 0
    tokens: int = 0
    cost: int = 0
    _rollouts: set[str] = attrs.field(factory=set)
    _aside: float = 0.0

    def charge(self, rollouts: Sequence[PlannedRollout], traces: Sequence[Trace]) -> None:
        """Add what rollouts took."""
        for rollout, trace in zip(rollouts, traces, strict=True):
            if rollout.key not in self._rollouts:
                self._rollouts.add(rollout.key)
                self.calls += count_model_calls(trace)
                for call in trace.calls:
                    self._charge_call(call)

    def set_aside(self, rollouts: int) -> None:
        """Set the reserve aside, at the mean of what so many rollouts of the start took."""
        measured = self.limits.tokens is not None or self.limits.usd is not None
        if rollouts and measured:
            self._aside = self.spent_share * self.limits.reserved / rollouts

    @property
    def spent_share(self) -> float:
        """The share of the limit nearest to its end that is spent."""
        limits = self.limits
        shares = [
            spent / limit if limit else 1.0
            for spent, limit in (
                (self.calls, limits.calls),
                (self.tokens, limits.tokens),
                (self.cost / _NANO, limits.usd),
            )
            if limit is not None
        ]
        return max(shares)

    @property
    def share(self) -> float:
        """The share of what is not set aside that is spent."""
        return self.spent_share / max(1e-9, 1.0 - self._aside)

    @property
    def capacity(self) -> int:
        """The number of calls that the whole purse buys at the prices so far."""
        most = self.limits.calls or 0
        return min(most, round(self.calls / self.share)) if self.share and self.calls else most

    def _charge_call(self, call: CallAttempt) -> None:
        if isinstance(call.request, ToolRequest):
            return
        if not isinstance(call.outcome, (ChatReply, EmbedReply)):
            return
        usage = call.outcome.usage
        self.tokens += (usage.prompt or 0) + (usage.completion or 0)
        if self.limits.usd is not None:
            model = call.request.model
            cost = cost_of(model, usage, call.started)
            if cost is None:
                msg = f"no price of {model} is known: give auto calls= or tokens= instead of usd="
                raise ProgramError(msg)
            self.cost += cost
