"""A Bayesian model of scores in which each choice adds its own effect, and Thompson sampling from
it.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence

from lmflow.optimizers.parts.linear import cholesky, solve_lower, solve_upper

_EFFECT_SD = 0.15  # prior standard deviation of a choice's effect
_NOISE_SD = 0.45  # standard deviation of one score around its expectation
_LEVEL_SD = 1.0  # prior standard deviation of the overall level
_DIFFICULTY_WEIGHT = 0.5  # number of scores that the prior of an example's difficulty is worth
_FIT_ROUNDS = 3  # alternations between fitting effects and fitting difficulties
_STALE_SHARE = 20  # draws may ignore the latest 1/20 of observations, so that refits stay linear

Choices = tuple[int, ...]
"""One choice of each kind, by position."""


class AdditiveModel:
    """Scores as a level, plus an effect of each choice, plus each example's difficulty, plus noise.

    ``sizes`` holds the number of choices of each kind. Effects have a normal prior around 0, so a
    choice that was hardly tried is shrunk to the mean. Equal scores and equal randomness give equal
    draws.

    Difficulties are fitted because choices are scored on different numbers of blocks: without them
    a choice that met only the easy examples would seem better than one that met all of them.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._first_columns = [1 + sum(sizes[:kind]) for kind in range(len(sizes))]
        self._sizes = list(sizes)
        self._observations: list[tuple[Choices, Mapping[str, float]]] = []
        self._mean: list[float] = [0.0] * (1 + sum(sizes))
        self._factor: list[list[float]] = []
        self._fitted = 0

    def tell(self, choices: Choices, scores: Mapping[str, float]) -> None:
        """Learn the scores of some choices by example."""
        if scores:
            self._observations.append((choices, dict(scores)))

    def value(self, choices: Choices) -> float:
        """Return the posterior mean of the sum of the choices' effects (without the level)."""
        if self._fitted < len(self._observations):
            self._fit()
        return self._effect(choices)

    def draw(self, rng: random.Random) -> Choices:
        """Draw effects from the posterior and return the choices that are best under them (Thompson
        1933).
        """
        if self._fitted + self._fitted // _STALE_SHARE < len(self._observations):
            self._fit()
        effects = self._draw_effects(rng)
        return tuple(
            _argmax(effects[start : start + size])
            for start, size in zip(self._first_columns, self._sizes, strict=True)
        )

    def _draw_effects(self, rng: random.Random) -> list[float]:
        normals = [rng.gauss(0, 1) for _ in self._mean]
        if not self._factor:
            return [_EFFECT_SD * normal for normal in normals]
        # With precision L L^T, the solution of L^T x = z has covariance (L L^T)^-1 for standard
        # normal z: a draw of the posterior without inverting the matrix.
        deviations = solve_upper(self._factor, normals)
        return [mean + deviation for mean, deviation in zip(self._mean, deviations, strict=True)]

    def _fit(self) -> None:
        """Fit level and effects by ridge regression, in turns with the examples' difficulties."""
        self._factor = cholesky(self._precision())
        self._mean = [0.0] * len(self._mean)
        self._fitted = len(self._observations)
        for _ in range(_FIT_ROUNDS):
            target = self._target(self._difficulties())
            self._mean = solve_upper(self._factor, solve_lower(self._factor, target))

    def _precision(self) -> list[list[float]]:
        size = len(self._mean)
        precision = [[0.0] * size for _ in range(size)]
        for at in range(size):
            precision[at][at] = 1 / (_EFFECT_SD if at else _LEVEL_SD) ** 2
        for choices, scores in self._observations:
            columns = (0, *self._columns(choices))
            for i in columns:
                for j in columns:
                    precision[i][j] += len(scores) / _NOISE_SD**2
        return precision

    def _target(self, difficulty: Mapping[str, float]) -> list[float]:
        """Sum, for each choice, its scores without the examples' difficulties."""
        target = [0.0] * len(self._mean)
        for choices, scores in self._observations:
            rest = math.fsum(score - difficulty[name] for name, score in scores.items())
            for column in (0, *self._columns(choices)):
                target[column] += rest / _NOISE_SD**2
        return target

    def _difficulties(self) -> dict[str, float]:
        """Estimate what each example adds to a score: the mean of its residuals, shrunk to the
        level.
        """
        residuals: dict[str, list[float]] = {}
        level = statistics.fmean(
            score for _, scores in self._observations for score in scores.values()
        )
        for choices, scores in self._observations:
            expected = level + self._effect(choices)
            for name, score in scores.items():
                residuals.setdefault(name, []).append(score - expected)
        return {
            name: level + math.fsum(values) / (len(values) + _DIFFICULTY_WEIGHT)
            for name, values in residuals.items()
        }

    def _effect(self, choices: Choices) -> float:
        return math.fsum(self._mean[column] for column in self._columns(choices))

    def _columns(self, choices: Choices) -> list[int]:
        return [start + at for start, at in zip(self._first_columns, choices, strict=True)]


def _argmax(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
