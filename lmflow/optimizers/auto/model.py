"""A Gaussian model of scores in which each choice adds its own effect."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import attrs

from lmflow.optimizers.parts.linear import cholesky, solve_lower, solve_upper

LEVEL = 0
"""The column of the overall level."""

_LEVEL_MEAN, _LEVEL_SD = 0.5, 1.0

Weights = Mapping[int, float]
"""A version as a sum of columns: the weight of each, the level left out."""


@attrs.frozen
class Scales:
    """The standard deviations of the model.

    Attributes:
        effects: The prior standard deviation of an effect, by its kind.
        row: The share of noise in the spread of the rows: noise variance over the variance of
            their difficulties, so the number of scores that a difficulty's prior is worth.
        noise: The standard deviation of one score around its expectation.
    """

    effects: Mapping[str, float]
    row: float = 1.0
    noise: float = 0.4


@attrs.frozen(eq=False)
class Posterior:
    """The model's belief under some scales: the means of all columns, the Cholesky factor of their
    precision, and the logarithm of the scores' marginal likelihood.
    """

    mean: list[float]
    factor: list[list[float]]
    evidence: float

    def value(self, weights: Weights) -> float:
        """Return the expectation of a sum of columns."""
        return sum(self.mean[column] * weight for column, weight in weights.items())

    def contrast(self, weights: Weights) -> tuple[float, float]:
        """Return the mean and the standard deviation of a sum of columns."""
        vector = [0.0] * len(self.mean)
        for column, weight in weights.items():
            vector[column] = weight
        # With precision L L^T the variance of v x is the square of L^-1 v.
        solution = solve_lower(self.factor, vector)
        return self.value(weights), math.sqrt(sum(part * part for part in solution))

    def draw(self, rng: random.Random) -> list[float]:
        """Draw all columns."""
        deviations = solve_upper(self.factor, [rng.gauss(0, 1) for _ in self.mean])
        return [mean + deviation for mean, deviation in zip(self.mean, deviations, strict=True)]


@attrs.define(eq=False)
class _Row:
    """What the scores on one row add up to: their number, their sum, and the columns' weights."""

    count: int = 0
    total: float = 0.0
    weights: dict[int, float] = attrs.field(factory=dict)


class ScoreModel:
    """Scores as a level, plus the effects of what a version is made of, plus the row's difficulty,
    plus noise; all of them normal.

    A kind's effects have a mean of their own (a column too), so that a kind of which the first few
    did well promises more of the same. Difficulties are integrated out: of the precision of the
    other columns remains ``S - C^T (N + row)^-1 C`` over the noise variance, where S sums the
    products of all observations, C those of each row, and N counts them. So two versions are
    compared by the rows that they share, and by the others only as far as rows are alike (Gelman
    et al. 2013, Bayesian Data Analysis, sections 5 and 14).

    Each observation updates the sums, so the cost of a fit does not depend on their number.
    """

    def __init__(self, kinds: tuple[str, ...], mean_sd: float) -> None:
        self.columns = ["level", *("mean" for _ in kinds)]
        self.mean_of = {kind: 1 + at for at, kind in enumerate(kinds)}
        self.count = 0
        self._mean_sd = mean_sd
        self._rows: dict[int, _Row] = {}
        self._products: list[list[float]] = [[0.0] * (at + 1) for at in range(len(self.columns))]
        self._targets = [0.0] * len(self.columns)
        self._squares = 0.0
        self._shared: tuple[float, list[list[float]]] = (math.nan, [])

    def add_column(self, kind: str) -> int:
        """Add a column for one more effect of a kind; return its number."""
        self.columns.append(kind)
        self._products.append([0.0] * len(self.columns))
        self._targets.append(0.0)
        if self._shared[1]:
            self._shared[1].append([0.0] * len(self.columns))
        return len(self.columns) - 1

    def learn(self, weights: Weights, scores: Mapping[int, float]) -> None:
        """Learn the scores of a version by row."""
        pattern = sorted({LEVEL: 1.0, **weights}.items())
        for number, score in scores.items():
            row = self._rows.setdefault(number, _Row())
            self._subtract(row)
            row.count, row.total = row.count + 1, row.total + score
            for column, weight in pattern:
                row.weights[column] = row.weights.get(column, 0.0) + weight
            self._add(row)
            self._squares += score * score
        self.count += len(scores)
        total = math.fsum(scores.values())
        for at, (column, weight) in enumerate(pattern):
            self._targets[column] += weight * total
            for other, other_weight in pattern[: at + 1]:
                self._products[column][other] += len(scores) * weight * other_weight

    def attach(self, column: int, weights: Weights, scores: Mapping[int, float]) -> None:
        """Give observations that were learned before a column more, the latest one, at weight 1."""
        for number in scores:
            row = self._rows[number]
            self._subtract(row)
            row.weights[column] = row.weights.get(column, 0.0) + 1.0
            self._add(row)
        self._targets[column] += math.fsum(scores.values())
        for other, weight in {LEVEL: 1.0, **weights, column: 1.0}.items():
            self._products[column][other] += len(scores) * weight

    def solve(self, scales: Scales) -> Posterior:
        """Return the posterior under some scales."""
        variance, precisions = scales.noise**2, self._prior_precisions(scales)
        shared = self._shared_products(scales.row)
        precision = [
            [(product - part) / variance for product, part in zip(*rows, strict=True)]
            for rows in zip(self._products, shared, strict=True)
        ]
        for at, prior in enumerate(precisions):
            precision[at][at] += prior
        target = [own / variance for own in self._row_free_targets(scales.row)]
        target[LEVEL] += _LEVEL_MEAN * precisions[LEVEL]
        factor = cholesky(precision)
        half = solve_lower(factor, target)
        determinant = 2 * sum(math.log(row[-1]) for row in factor)
        fit = self._row_free_squares(scales.row) / variance + _LEVEL_MEAN**2 * precisions[LEVEL]
        evidence = -0.5 * (
            self.count * math.log(variance)
            + sum(math.log1p(row.count / scales.row) for row in self._rows.values())
            + determinant
            - sum(map(math.log, precisions))
            + fit
            - sum(part * part for part in half)
        )
        return Posterior(solve_upper(factor, half), factor, evidence)

    def _prior_precisions(self, scales: Scales) -> list[float]:
        deviations = {"level": _LEVEL_SD, "mean": self._mean_sd, **scales.effects}
        return [1 / deviations[kind] ** 2 for kind in self.columns]

    def _row_free_targets(self, share: float) -> list[float]:
        targets = list(self._targets)
        for row in self._rows.values():
            part = row.total / (row.count + share)
            for column, weight in row.weights.items():
                targets[column] -= weight * part
        return targets

    def _row_free_squares(self, share: float) -> float:
        rows = self._rows.values()
        return self._squares - math.fsum(row.total**2 / (row.count + share) for row in rows)

    def _shared_products(self, share: float) -> list[list[float]]:
        """Return ``C^T (N + share)^-1 C``; that of the share used last is kept up to date."""
        if self._shared[0] != share:
            self._shared = share, [[0.0] * (at + 1) for at in range(len(self.columns))]
            for row in self._rows.values():
                self._add(row)
        return self._shared[1]

    def _subtract(self, row: _Row) -> None:
        self._add(row, -1.0)

    def _add(self, row: _Row, sign: float = 1.0) -> None:
        """Add a row's part to the products that rows share."""
        share, products = self._shared
        if not products or not row.count:
            return
        factor, pairs = sign / (row.count + share), list(row.weights.items())
        for column, weight in pairs:
            scaled, line = factor * weight, products[column]
            for other, other_weight in pairs:
                if other <= column:
                    line[other] += scaled * other_weight
