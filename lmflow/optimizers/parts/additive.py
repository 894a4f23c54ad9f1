"""A Bayesian model of scores in which each choice adds its own effect, and Thompson sampling from
it.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence

_EFFECT, _NOISE, _LEVEL = (
    0.15,
    0.45,
    1.0,
)  # standard deviations: of a choice's effect, of one score, of the level
_DIFFICULTY = 0.5  # how many scores the prior of an example's difficulty is worth
_ROUNDS = 3  # of fitting effects and difficulties by turns
_FRESH = 20  # draws may lag by one part in so many of what was told, so that all fits together stay linear

Point = tuple[int, ...]


class Additive:
    """The level, plus an effect of each choice (name -> how many choices), plus each example's
    difficulty, plus noise.

    Effects are normal around 0, so choices that were hardly tried are shrunk to the mean. Equal
    scores and equal randomness give equal points.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._starts = [1 + sum(sizes[:at]) for at in range(len(sizes))]
        self._sizes = list(sizes)
        self._seen: list[tuple[Point, Mapping[str, float]]] = []
        self._mean: list[float] = [0.0] * (1 + sum(sizes))
        self._factor: list[list[float]] = []
        self._fitted = 0

    def tell(self, point: Point, scores: Mapping[str, float]) -> None:
        """The scores of a point by example. Those of one example are compared with each other
        alone.
        """
        if scores:
            self._seen.append((point, dict(scores)))

    def value(self, point: Point) -> float:
        """The posterior mean of a point's score on an example of mean difficulty, but for the
        level.
        """
        if self._fitted < len(self._seen):
            self._fit()
        return self._effect(point)

    def draw(self, rng: random.Random) -> Point:
        """The best point of one draw from the posterior (Thompson 1933)."""
        if self._fitted + self._fitted // _FRESH < len(self._seen):
            self._fit()
        drawn = (
            [_EFFECT * rng.gauss(0, 1) for _ in self._mean]
            if not self._factor
            else self._drawn(rng)
        )
        return tuple(
            max(range(size), key=lambda k, start=start: drawn[start + k])  # type: ignore[misc]
            for start, size in zip(self._starts, self._sizes, strict=True)
        )

    def _drawn(self, rng: random.Random) -> list[float]:
        noise = _backward(self._factor, [rng.gauss(0, 1) for _ in self._mean])
        return [mean + more for mean, more in zip(self._mean, noise, strict=True)]

    def _fit(self) -> None:
        """The posterior of level and effects by ridge solves, by turns with the examples'
        difficulties.
        """
        size = len(self._mean)
        precision = [[0.0] * size for _ in range(size)]
        for at in range(size):
            precision[at][at] = 1 / (_EFFECT if at else _LEVEL) ** 2
        for point, scores in self._seen:
            places = (0, *self._places(point))
            for i in places:
                for j in places:
                    precision[i][j] += len(scores) / _NOISE**2
        self._factor, self._mean, self._fitted = _cholesky(precision), [0.0] * size, len(self._seen)
        for _ in range(_ROUNDS):
            target = self._target(self._difficulties())
            self._mean = _backward(self._factor, _forward(self._factor, target))

    def _target(self, easy: Mapping[str, float]) -> list[float]:
        """Per choice the sum of its scores, without the examples' difficulties."""
        found = [0.0] * len(self._mean)
        for point, scores in self._seen:
            rest = math.fsum(score - easy[name] for name, score in scores.items()) / _NOISE**2
            for at in (0, *self._places(point)):
                found[at] += rest
        return found

    def _difficulties(self) -> dict[str, float]:
        """Per example what it adds to a score: the mean of what effects leave, shrunk to 0."""
        rests: dict[str, list[float]] = {}
        level = statistics.fmean(score for _, scores in self._seen for score in scores.values())
        for point, scores in self._seen:
            expected = level + self._effect(point)
            for name, score in scores.items():
                rests.setdefault(name, []).append(score - expected)
        return {
            name: level + math.fsum(held) / (len(held) + _DIFFICULTY)
            for name, held in rests.items()
        }

    def _effect(self, point: Point) -> float:
        return math.fsum(self._mean[at] for at in self._places(point))

    def _places(self, point: Point) -> list[int]:
        return [start + at for start, at in zip(self._starts, point, strict=True)]


def _cholesky(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """The lower factor of a positive definite matrix."""
    lower: list[list[float]] = []
    for i, row in enumerate(matrix):
        lower.append([0.0] * len(matrix))
        for j in range(i + 1):
            rest = row[j] - sum(a * b for a, b in zip(lower[i][:j], lower[j][:j], strict=True))
            lower[i][j] = math.sqrt(rest) if i == j else rest / lower[j][j]
    return lower


def _forward(lower: Sequence[Sequence[float]], target: Sequence[float]) -> list[float]:
    """The solution of ``lower x = target``."""
    found: list[float] = []
    for i, row in enumerate(lower):
        found.append((target[i] - sum(a * b for a, b in zip(row[:i], found, strict=True))) / row[i])
    return found


def _backward(lower: Sequence[Sequence[float]], target: Sequence[float]) -> list[float]:
    """The solution of ``lower^T x = target``."""
    found = [0.0] * len(lower)
    for i in reversed(range(len(lower))):
        found[i] = (
            target[i] - sum(lower[j][i] * found[j] for j in range(i + 1, len(lower)))
        ) / lower[i][i]
    return found
