"""Candidates that each lead on some examples, and their family tree (Agrawal et al. 2025, arXiv
2507.19457).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence


def front(scores: Sequence[Mapping[str, float]]) -> dict[int, int]:
    """Per place of a candidate on the Pareto front on how many examples it leads.

    A candidate is left out where on each example on which it leads one that stays does too, the
    worst on average first (section 3.3 there, algorithm 2).
    """
    leads: dict[str, set[int]] = {}
    for label in dict.fromkeys(label for found in scores for label in found):
        top = max(found[label] for found in scores if label in found)
        leads[label] = {at for at, found in enumerate(scores) if found.get(label) == top}
    alive = set[int]().union(*leads.values())
    for at in sorted(alive, key=lambda at: (statistics.fmean(scores[at].values()), at)):
        if all(led & (alive - {at}) for led in leads.values() if at in led):
            alive.remove(at)
    return {at: sum(at in led for led in leads.values()) for at in sorted(alive)}


def ancestors(parents: Sequence[tuple[int, ...]], at: int) -> frozenset[int]:
    """The places of a candidate's parents, of theirs, and so on; ``parents`` holds those of each
    place.
    """
    return frozenset(parents[at]).union(*(ancestors(parents, parent) for parent in parents[at]))
