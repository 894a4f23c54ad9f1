"""Candidates that each lead on some examples, and their ancestry (Agrawal et al. 2025, arXiv
2507.19457).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence


def front(scores: Sequence[Mapping[str, float]]) -> dict[int, int]:
    """Count, for each candidate on the Pareto front, the examples on which it leads.

    A candidate is removed if another remaining candidate leads too on each example on which it
    leads; the worst on average is removed first (section 3.3 there, algorithm 2). ``scores`` holds
    each candidate's scores by example; the keys of the result are positions in it.
    """
    leaders: dict[str, set[int]] = {}
    for label in dict.fromkeys(label for values in scores for label in values):
        top = max(values[label] for values in scores if label in values)
        leaders[label] = {at for at, values in enumerate(scores) if values.get(label) == top}
    remaining = set[int]().union(*leaders.values())
    for at in sorted(remaining, key=lambda at: (statistics.fmean(scores[at].values()), at)):
        others = remaining - {at}
        if all(leading & others for leading in leaders.values() if at in leading):
            remaining.remove(at)
    return {at: sum(at in leading for leading in leaders.values()) for at in sorted(remaining)}


def ancestors(parents: Sequence[tuple[int, ...]], at: int) -> frozenset[int]:
    """Return the positions of a candidate's parents, of their parents, and so on; ``parents`` holds
    the parents' positions of each candidate.
    """
    return frozenset(parents[at]).union(*(ancestors(parents, parent) for parent in parents[at]))
