"""The scores that a search has seen, and the version that they speak for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs

from lmflow.optimizers.parts.linear import cholesky, solve_lower, solve_upper
from lmflow.versions.version import Version

_VERSION_WEIGHT = (
    9.0  # scores that the prior of a version's effect is worth: noise / effect variance
)
_EXAMPLE_WEIGHT = 0.5  # scores that the prior of an example's difficulty is worth
_TIE = 1e-9  # gains closer than this are equal but for rounding

Observation = tuple[str, str, float]
"""The hash of a version's parameters, an example's id, a score."""


@attrs.define(eq=False)
class Evidence:
    """All scores of candidate versions in one search, in the order in which they were seen.

    It belongs to one plan and grows with it, like the plan's own variables: a plan that is begun
    again sees the same scores in the same order, and so names the same best version at each need.
    """

    _versions: dict[str, Version] = attrs.field(factory=dict)
    _observations: dict[str, Observation] = attrs.field(factory=dict)
    _gains: dict[str, float] = attrs.field(factory=dict)
    _fitted: int = 0

    def add(self, version: Version, rollout: str, example: str, score: float) -> None:
        """Add the score of a version on an example. A search may need one rollout several times; it
        is still one observation.
        """
        self._versions.setdefault(version.tree, version)
        self._observations.setdefault(rollout, (version.tree, example, score))

    def best(self, start: Version) -> Version:
        """Return the version with the highest posterior expectation; the start unless another is
        expected to be better, and the earlier of equals.

        Before the start was scored no version is known to be better than it.
        """
        if self._fitted < len(self._observations):
            self._gains = posterior_effects([*self._observations.values()])
            self._fitted = len(self._observations)
        if start.tree not in self._gains:
            return start
        best, top = start, self._gains[start.tree]
        for tree, gain in self._gains.items():
            if gain > top + _TIE:
                best, top = self._versions[tree], gain
        return best


def posterior_effects(observations: Sequence[Observation]) -> dict[str, float]:
    """Return the posterior mean of each version's effect on the score.

    A score is a level, plus the example's difficulty, plus the version's effect, plus noise; the
    last three are normal around 0. So versions are compared on the examples that they share, a
    version that met only easy examples is not better for it, and one that met few is shrunk
    towards the others. Versions that were scored on the same examples are ordered by their means.
    """
    columns = {tree: 1 + at for at, tree in enumerate(dict.fromkeys(o[0] for o in observations))}
    if not columns:
        return {}
    size = 1 + len(columns)
    matrix = [[0.0] * size for _ in range(size)]
    target = [0.0] * size
    for group in _by_example(observations, columns):
        _add_example(group, matrix, target)
    for column in range(1, size):
        matrix[column][column] += _VERSION_WEIGHT
    factor = cholesky(matrix)
    effects = solve_upper(factor, solve_lower(factor, target))
    return {tree: effects[column] for tree, column in columns.items()}


def _by_example(
    observations: Sequence[Observation], columns: Mapping[str, int]
) -> list[dict[int, list[float]]]:
    """Group the scores by example and, within each, by the version's column."""
    groups: dict[str, dict[int, list[float]]] = {}
    for tree, example, score in observations:
        groups.setdefault(example, {}).setdefault(columns[tree], []).append(score)
    return list(groups.values())


# The difficulty of an example is integrated out: its m scores have the covariance I + J / w (J all
# ones, w the weight of the prior), whose inverse is I - J / (w + m). As further unknowns the
# examples would make the system grow with the data instead of with the versions.
def _add_example(
    scores: Mapping[int, Sequence[float]], matrix: list[list[float]], target: list[float]
) -> None:
    """Add one example to the normal equations; column 0 is the level."""
    counts = {column: len(values) for column, values in scores.items()}
    sums = {column: math.fsum(values) for column, values in scores.items()}
    count, total = sum(counts.values()), math.fsum(sums.values())
    share = 1 / (_EXAMPLE_WEIGHT + count)
    counts[0], sums[0] = count, total
    for column, number in counts.items():
        target[column] += sums[column] - number * total * share
        for other, other_number in counts.items():
            matrix[column][other] -= number * other_number * share
    matrix[0][0] += count
    for column in scores:
        matrix[column][column] += counts[column]
        matrix[0][column] += counts[column]
        matrix[column][0] += counts[column]
