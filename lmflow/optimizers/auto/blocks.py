"""Scoring blocks of rows, side by side, and paying for what a search needs."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import attrs

from lmflow.optimizers.auto.decision import decide, reason
from lmflow.optimizers.auto.search import Planned, Search
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import Plan, advance_plan
from lmflow.optimizers.parts.scoring import Best, ScoredRollout, score_side_by_side
from lmflow.traces.trace import Trace


def score_blocks(
    search: Search, batch: Sequence[Planned], phase: str
) -> Generator[Need, tuple[Trace, ...], list[tuple[ScoredRollout, ...]]]:
    """Score choices on rows, side by side, and learn from the scores."""
    jobs = [
        (plan.label, search.arms.version(plan.choice), [search.rows[row] for row in plan.rows])
        for plan in batch
    ]
    unknown = Best(search.task.version)
    results = yield from score_side_by_side(search.task, jobs, unknown, phase)
    for plan, result in zip(batch, results, strict=True):
        values = {row: own.value for row, own in zip(plan.rows, result.rows, strict=True)}
        search.learn(plan.choice, values)
        search.note_runs(result.version, result.rows)
    return [result.rows for result in results]


def answered(search: Search, plan: Plan) -> Plan:
    """Run the plan of a search: name in each of its needs the answer so far, with the reason, and
    charge the search's purse with all that is needed.
    """
    state = advance_plan(plan)
    while isinstance(state, Need):
        decision = decide(search, exact=not state.rollouts)
        best = search.arms.version(decision.choice)
        traces = yield attrs.evolve(
            state,
            best=best,
            score=decision.expected,
            estimate=search.task.evidence.estimate(best),
            reason=reason(search, decision),
        )
        search.purse.charge(state.rollouts, traces)
        state = advance_plan(plan, traces)
    return state
