"""The answer of a search at any time: the version that the model believes in, or the start."""

from __future__ import annotations

import math

import attrs

from lmflow.optimizers.auto.arms import Choice
from lmflow.optimizers.auto.model import LEVEL
from lmflow.optimizers.auto.search import Search

_MOST_ROWS = 100_000


@attrs.frozen
class Decision:
    """A choice, and what the model believes of the leader against the start.

    Attributes:
        choice: The answer.
        leader: The choice of the highest expectation.
        difference: The expected difference between leader and start.
        deviation: Its standard deviation.
        expected: The expected score of the answer.
    """

    choice: Choice
    leader: Choice
    difference: float = 0.0
    deviation: float = 0.0
    expected: float | None = None


def decide(search: Search, *, exact: bool = False) -> Decision:
    """Return the leader if it is expected to be better than the start by at least ``theta``
    standard deviations, else the start.

    Only choices that were scored can lead. Of choices that were scored on the same rows the one
    with the highest mean stands for all of them: the model may promise another more, but on the
    same rows it is known to be worse.
    """
    zero = search.arms.zero
    if not search.values(zero):
        return Decision(zero, zero)
    posterior = search.fitted.posterior(exact=exact)
    leader = max(_leaders(search), key=lambda choice: posterior.value(search.weights(choice)))
    weights = dict(search.weights(leader))
    for column, weight in search.weights(zero).items():
        weights[column] = weights.get(column, 0.0) - weight
    difference, deviation = posterior.contrast(weights) if leader != zero else (0.0, 0.0)
    wins = difference > 0 and difference >= search.theta * deviation
    choice = leader if wins else zero
    expected = posterior.value({LEVEL: 1.0, **search.weights(choice)})
    return Decision(choice, leader, difference, deviation, expected)


def reason(search: Search, decision: Decision) -> str:
    """Say why the answer is what it is and, if the start is kept, how many rows more would tell."""
    rows = len(search.values(decision.leader))
    if decision.leader == search.arms.zero:
        return "the start version is kept: no version that was scored is expected to be better"
    gain = f"{decision.difference:+.3f} ± {decision.deviation:.3f}"
    if decision.choice == decision.leader:
        return f"expected to be better than the start by {gain}, scored on {rows} rows"
    words = f"the start version is kept: the best candidate is expected to differ by {gain}"
    return f"{words}, {_needed(search, decision, rows)}"


def _needed(search: Search, decision: Decision, rows: int) -> str:
    if decision.difference <= 0:
        return "so it is not better"
    ratio = search.theta * decision.deviation / decision.difference
    more = min(_MOST_ROWS, max(1, math.ceil(rows * (ratio * ratio - 1))))
    return f"and about {more:,} rows more would tell whether it is better"


def _leaders(search: Search) -> list[Choice]:
    """Return the choices that can lead: of those scored on the same rows the one with the highest
    mean, the earlier of equals.
    """
    by_rows: dict[frozenset[int], Choice] = {}
    for choice, summary in search.summaries.items():
        if search.is_vetoed(choice):
            continue
        other = by_rows.setdefault(summary.rows, choice)
        if summary.mean > search.summaries[other].mean:
            by_rows[summary.rows] = choice
    leaders = list(by_rows.values())
    return leaders if search.arms.zero in leaders else [search.arms.zero, *leaders]
