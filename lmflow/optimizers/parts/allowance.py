"""Admitting the rollouts of needs by the model calls that remain."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence

import attrs

from lmflow.optimizers.parts.needs import Need, PlannedRollout, unanswered
from lmflow.optimizers.parts.plan import Plan, advance_plan
from lmflow.traces.counts import count_model_calls
from lmflow.traces.trace import Trace

# A reply that cannot be read is asked for once more, and an endpoint may refuse a schema once.
CALLS_A_PREDICTOR = 3
"""The most calls of a predictor that a rollout is admitted for."""


class Allowance:
    """The remaining calls, and the most and the fewest that a rollout of each program took.

    Rollouts of a need run side by side, so their calls are known only when all are spent. A need is
    therefore admitted by the most that it could take: admitted by a mean it could exceed the limit.
    """

    def __init__(self, calls: int) -> None:
        self.remaining = calls
        self._most: dict[str, int] = {}
        self._fewest: dict[str, int] = {}

    def affordable(self, rollouts: Sequence[PlannedRollout]) -> int:
        """Return how many of the rollouts, in order, cannot take more than the remaining calls."""
        worst_cases = itertools.accumulate(map(self._worst_case, rollouts))
        return sum(calls <= self.remaining for calls in worst_cases)

    def may_suffice(self, rollouts: Sequence[PlannedRollout]) -> bool:
        """Return whether the remaining calls could do for all rollouts, if each took no more than
        the cheapest of its program so far.
        """
        best_case = sum(self._fewest.get(rollout.program.key, 1) for rollout in rollouts)
        return best_case <= self.remaining

    def spend(self, rollouts: Sequence[PlannedRollout], traces: Sequence[Trace]) -> None:
        """Subtract the calls of rollouts."""
        for rollout, trace in zip(rollouts, traces, strict=True):
            calls, key = count_model_calls(trace), rollout.program.key
            self.remaining -= calls
            self._most[key] = max(calls, self._most.get(key, 1))
            self._fewest[key] = min(calls, self._fewest.get(key, calls))

    def _worst_case(self, rollout: PlannedRollout) -> int:
        predictors = len(rollout.program.predictors)
        return max(CALLS_A_PREDICTOR * predictors, self._most.get(rollout.program.key, 1))


def within_calls(plan: Plan, calls: int) -> Plan:
    """Run a plan, and end it with its best version so far before its calls could exceed a number.

    A need is passed on whole if its rollouts cannot take more than the remaining calls; otherwise
    it is passed on piece by piece, as long as the remaining calls could do for all of it.
    """
    allowance, answers = Allowance(calls), dict[str, Trace]()
    state = advance_plan(plan)
    while isinstance(state, Need):
        affordable = yield from buy_pieces(state, allowance, answers)
        if not affordable:
            yield attrs.evolve(state, rollouts=(), labels=(), phase="done")
            return state.best
        missing = unanswered(state, answers)
        traces = yield missing
        count_new(missing, traces, allowance, answers)
        state = advance_plan(plan, tuple(answers[rollout.key] for rollout in state.rollouts))
    return state


def buy_pieces(
    need: Need, allowance: Allowance, answers: dict[str, Trace]
) -> Generator[Need, tuple[Trace, ...], bool]:
    """Run a need piece by piece until the rest of it is affordable as a whole; return whether it
    is.
    """
    missing = unanswered(need, answers)
    while (count := allowance.affordable(missing.rollouts)) < len(missing.rollouts):
        if not count or not allowance.may_suffice(missing.rollouts):
            return False
        piece = attrs.evolve(need, rollouts=missing.rollouts[:count], labels=missing.labels[:count])
        traces = yield piece
        count_new(piece, traces, allowance, answers)
        missing = unanswered(need, answers)
    return True


def count_new(
    need: Need, traces: Sequence[Trace], allowance: Allowance, answers: dict[str, Trace]
) -> None:
    """Spend the calls of the rollouts that had no answer, and add the answers of all."""
    trace_of = {rollout.key: trace for rollout, trace in zip(need.rollouts, traces, strict=True)}
    new = unanswered(need, answers).rollouts
    allowance.spend(new, [trace_of[rollout.key] for rollout in new])
    answers |= trace_of
