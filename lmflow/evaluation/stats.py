"""Intervals, tests and power for scores: pure, from the standard library, seeded where random.

Sources: Wilson 1927 (a proportion); Efron 1987 (BCa); Bonett, Price 2012 (paired proportions);
McNemar 1947, exact; Miller 2024, arXiv 2411.00640 (clusters, pairing and power in evaluations of
language models).
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable, Sequence

import attrs

from lmflow.evaluation.student_t import t_quantile, t_tail

LEVEL = 0.95
POWER = 0.8
RESAMPLES = 2000
FEW, MANY = 20, 1000
"""From so many pairs on the bootstrap has enough to draw from, and up to so many it says more than
normal theory.
"""

_NORMAL = statistics.NormalDist()
_Z = _NORMAL.inv_cdf(0.5 + LEVEL / 2)


@attrs.frozen
class Estimate:
    """A mean with its standard error and 95 % interval.

    ``n`` is the number of values, or of clusters where values come in clusters. ``se``, ``low`` and
    ``high`` are ``None`` where one unit, or units that are all alike, say nothing of the spread.
    ``method`` names the interval.
    """

    value: float
    se: float | None
    low: float | None
    high: float | None
    n: int
    method: str

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        bounds = (
            ""
            if self.low is None or self.high is None
            else f" [{format_score(self.low)}, {format_score(self.high)}]"
        )
        return f"{format_score(self.value)}{bounds}"


@attrs.frozen
class Test:
    """A difference with the two-sided p of there being none, and the test's name."""

    __test__ = False  # no test of pytest's

    difference: Estimate
    p: float
    name: str


def mean(values: Sequence[float], clusters: Sequence[str] | None = None) -> Estimate:
    """The mean with its interval: Wilson's where all values are 0 or 1, else Student's t.

    ``clusters`` names the cluster of each value; where a cluster has several, the standard error is
    that of the clusters, with Student's t. ``ValueError`` without values.
    """
    if not values:
        raise ValueError("there is no mean of no values")
    if clusters is not None and len(set(clusters)) < len(values):
        return _clustered(values, clusters)
    if binary(values):
        return wilson(round(math.fsum(values)), len(values))
    return _student(statistics.fmean(values), standard_error(values), len(values), "t")


def paired_test(
    differences: Sequence[float], clusters: Sequence[str] | None = None, *, seed: int = 0
) -> Test:
    """The mean of paired differences, tested against 0.

    Clusters of several pairs: clustered standard error and Student's t. Differences of 0/1 scores:
    Bonett and Price's interval, McNemar's exact test. Else from 20 to 1,000 pairs the BCa
    bootstrap, p by its inversion, and Student's t for fewer and for more. No p is below 2 to the 1
    - k for k units that differ, the least that their signs can give. ``ValueError`` without pairs.
    """
    if not differences:
        raise ValueError("there is no mean of no differences")
    if clusters is not None and len(set(clusters)) < len(differences):
        return _floored(_t_test(_clustered(differences, clusters)), len(set(clusters)))
    if all(value in {-1.0, 0.0, 1.0} for value in differences):
        return mcnemar(
            sum(d > 0 for d in differences), sum(d < 0 for d in differences), len(differences)
        )
    differing, se = sum(value != 0 for value in differences), standard_error(differences)
    if se is None or FEW <= len(differences) <= MANY:
        return _floored(bca_bootstrap(differences, seed=seed), differing)
    return _floored(
        _t_test(_student(statistics.fmean(differences), se, len(differences), "t")), differing
    )


def wilson(right: int, n: int) -> Estimate:
    """A proportion with Wilson's score interval: never outside 0 and 1, and of some width also at
    both.
    """
    p, square = right / n, _Z * _Z
    middle = (p + square / (2 * n)) / (1 + square / n)
    half = _Z / (1 + square / n) * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
    low, high = min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half))
    return Estimate(p, math.sqrt(p * (1 - p) / n), low, high, n, "Wilson")


def mcnemar(wins: int, losses: int, n: int) -> Test:
    """Two proportions on the same ``n`` examples, of which one side alone won ``wins`` and the
    other ``losses``.

    The interval is Wald's with a win and a loss added (Bonett, Price 2012), the test is exact, so
    near the border the two may disagree.
    """
    p, q, value = (wins + 1) / (n + 2), (losses + 1) / (n + 2), (wins - losses) / n
    half = _Z * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    low, high = min(value, max(-1.0, p - q - half)), max(value, min(1.0, p - q + half))
    spread = (wins + losses) / n - value * value
    se = math.sqrt(spread / (n - 1)) if n > 1 and spread > 0 else None
    return Test(
        Estimate(value, se, low, high, n, "Bonett-Price"),
        sign_test(wins, losses),
        "McNemar's exact test",
    )


def sign_test(wins: int, losses: int) -> float:
    """The two-sided exact p of a fair coin over the pairs that differ; 1 where none do."""
    n, tail, ways = wins + losses, 0, 1
    for k in range(min(wins, losses) + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return min(1.0, 2.0 * (tail / (1 << n)))


def bca_bootstrap(values: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES) -> Test:
    """The mean with its bias-corrected and accelerated bootstrap interval (Efron 1987); p is 1
    minus the level at which the interval would end at 0. Values that are all alike have no
    interval; their p is the sign test's.
    """
    n, value, se = len(values), statistics.fmean(values), standard_error(values)
    if se is None:
        p = sign_test(sum(v > 0 for v in values), sum(v < 0 for v in values))
        return Test(Estimate(value, None, None, None, n, "none"), p, "sign test")
    rng = random.Random(seed)  # noqa: S311 - no secret: reproducible
    draws = sorted(math.fsum(rng.choices(values, k=n)) / n for _ in range(resamples))
    bias = _NORMAL.inv_cdf(_rank(draws, value))
    speed = _acceleration(values)

    def end(z: float) -> float:
        reached = bias + (bias + z) / (1 - speed * (bias + z))
        return draws[min(resamples - 1, int(_NORMAL.cdf(reached) * resamples))]

    shift = _NORMAL.inv_cdf(_rank(draws, 0.0)) - bias
    below = _NORMAL.cdf(shift / (1 + speed * shift) - bias)
    found = Estimate(value, se, end(-_Z), end(_Z), n, "BCa")
    return Test(found, 2 * min(below, 1 - below), "paired bootstrap")


def standard_error(values: Sequence[float]) -> float | None:
    """The standard error of the mean; ``None`` where the values are all alike."""
    alike = all(value == values[0] for value in values)
    return None if alike else statistics.stdev(values) / math.sqrt(len(values))


def clustered_error(values: Sequence[float], clusters: Sequence[str]) -> float | None:
    """The standard error of the mean where values of one cluster go together (Miller 2024, section
    2.2), times ``sqrt(G / (G - 1))`` for few clusters G. ``None`` where they show no spread.
    """
    center = statistics.fmean(values)
    apart: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        apart.setdefault(cluster, []).append(value - center)
    sums = [math.fsum(inner) for inner in apart.values()]
    square = math.fsum(total * total for total in sums)
    return (
        math.sqrt(square * len(sums) / (len(sums) - 1)) / len(values)
        if len(sums) > 1 and square > 0
        else None
    )


def binary(values: Iterable[float]) -> bool:
    """Whether each value is 0 or 1."""
    return all(value in {0.0, 1.0} for value in values)


def sample_size_needed(difference: Estimate) -> int | None:
    """How many examples in all would show a difference of this size and spread, at 80 % power and p
    below 0.05 (normal theory; Miller 2024, section 5). ``None`` where no difference or no spread
    was seen.
    """
    if not difference.se or not difference.value:
        return None
    return math.ceil(difference.n * (detectable_difference(difference) / difference.value) ** 2)


def detectable_difference(difference: Estimate) -> float:
    """The smallest difference that this many examples would show at 80 % power; 0 where no spread
    was seen.
    """
    return (_Z + _NORMAL.inv_cdf(POWER)) * (difference.se or 0.0)


def format_score(value: float) -> str:
    """A score as it is printed: three decimals, one from 100 on, and no minus before a zero."""
    text = f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"  # noqa: PLR2004 - where decimals stop to matter
    return text.removeprefix("-") if float(text) == 0 else text


def _student(value: float, se: float | None, n: int, method: str) -> Estimate:
    if se is None:
        return Estimate(value, None, None, None, n, "none")
    half = t_quantile(0.5 + LEVEL / 2, n - 1) * se
    return Estimate(value, se, value - half, value + half, n, method)


def _clustered(values: Sequence[float], clusters: Sequence[str]) -> Estimate:
    return _student(
        statistics.fmean(values),
        clustered_error(values, clusters),
        len(set(clusters)),
        "clustered t",
    )


def _t_test(found: Estimate) -> Test:
    if found.se is None:
        return Test(found, 1.0, "none")
    return Test(found, t_tail(found.value / found.se, found.n - 1), f"{found.method} test")


def _floored(test: Test, differing: int) -> Test:
    return attrs.evolve(test, p=max(test.p, min(1.0, 2.0 ** (1 - differing))))


def _rank(draws: Sequence[float], value: float) -> float:
    """The share of draws below ``value``, ties half, kept off 0 and 1."""
    below, ties = sum(draw < value for draw in draws), sum(draw == value for draw in draws)
    return min(max((below + ties / 2) / len(draws), 0.5 / len(draws)), 1 - 0.5 / len(draws))


def _acceleration(values: Sequence[float]) -> float:
    """A sixth of the skewness of the jackknife's means."""
    center = statistics.fmean(values)
    cubes, squares = (math.fsum((value - center) ** power for value in values) for power in (3, 2))
    return cubes / (6 * squares * math.sqrt(squares))
