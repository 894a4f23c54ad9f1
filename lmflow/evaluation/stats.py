"""Intervals, tests and power for scores: pure, from the standard library, seeded if random.

Sources: Wilson 1927 (a proportion); Efron 1987 (BCa); Bonett, Price 2012 (paired proportions);
McNemar 1947, exact; Miller 2024, arXiv 2411.00640 (clusters, pairing and power in evaluations of
language models).
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Hashable, Iterable, Sequence

import attrs

from lmflow.evaluation.student_t import t_quantile, t_tail

LEVEL = 0.95
POWER = 0.8
RESAMPLES = 2000
FEW, MANY = 20, 1000
"""From FEW pairs on the bootstrap has enough values to draw from; up to MANY pairs it says more
than normal theory.
"""

EQUAL = 1e-12
"""Differences of scores that are nearer than that are equal: 0.3 - 0.2 is not 0.9 - 0.8."""

_NORMAL = statistics.NormalDist()
_Z = _NORMAL.inv_cdf(0.5 + LEVEL / 2)
_FEWER_DECIMALS = 100  # from this score on one decimal is printed


@attrs.frozen
class Estimate:
    """A mean with its standard error and 95 % interval.

    Attributes:
        value: The mean.
        se: The standard error; ``None`` if one unit, or equal units, say nothing of the spread.
        low: The lower end of the interval, ``None`` if there is no interval.
        high: The upper end of the interval, ``None`` if there is no interval.
        n: The number of values, or of clusters if values come in clusters.
        method: The interval's name.
    """

    value: float
    se: float | None
    low: float | None
    high: float | None
    n: int
    method: str

    def __float__(self) -> float:
        return self.value

    @property
    def basis(self) -> str:
        """The interval's name and ``n``; without an interval why there is none."""
        if self.low is not None:
            return f"{self.method}, n {self.n}"
        reason = "all scores are equal" if self.n > 1 else "there is one score"
        return f"n {self.n}, no interval: {reason}"

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return format_score(self.value)
        interval = f"[{format_score(self.low)}, {format_score(self.high)}]"
        return f"{format_score(self.value)} {interval}"


@attrs.frozen
class Test:
    """A difference, the two-sided p of no difference, and the test's name."""

    __test__ = False  # pytest takes classes of this name for tests

    difference: Estimate
    p: float
    name: str


def mean(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Estimate:
    """Return the mean with its interval: Wilson's if all values are 0 or 1, else Student's t.

    ``clusters`` names the cluster of each value. If a cluster has several values, the standard
    error is that of the clusters, with Student's t. Raises ``ValueError`` without values.
    """
    if not values:
        raise ValueError("there is no mean of no values")
    # Answers to questions on one document rise and fall together: taken as independent they would
    # make the interval too narrow by the square root of the cluster's size.
    if clusters is not None and len(set(clusters)) < len(values):
        estimate = _clustered(values, clusters)
        return within(estimate, 0.0, 1.0) if is_binary(values) else estimate
    if is_binary(values):
        return wilson(round(math.fsum(values)), len(values))
    return _student(statistics.fmean(values), standard_error(values), len(values), "t")


def paired_test(
    differences: Sequence[float], clusters: Sequence[Hashable] | None = None, *, seed: int = 0
) -> Test:
    """Test the mean of paired differences against 0.

    Clusters of several pairs have the clustered standard error and Student's t. Differences of 0/1
    scores have Bonett and Price's interval and McNemar's exact test. Others have, from 20 to 1,000
    pairs, the BCa bootstrap with p by its inversion, and Student's t for fewer and for more. Raises
    ``ValueError`` without pairs.
    """
    if not differences:
        raise ValueError("there is no mean of no differences")
    if clusters is not None and len(set(clusters)) < len(differences):
        return _clustered_test(differences, clusters)
    if all(value in {-1.0, 0.0, 1.0} for value in differences):
        wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
        return mcnemar(wins, losses, len(differences))
    differing, se = sum(value != 0 for value in differences), standard_error(differences)
    if se is None or FEW <= len(differences) <= MANY:
        return _with_least_p(bca_bootstrap(differences, seed=seed), differing)
    estimate = _student(statistics.fmean(differences), se, len(differences), "t")
    return _with_least_p(_t_test(estimate), differing)


def wilson(right: int, n: int) -> Estimate:
    """Return a proportion with Wilson's score interval.

    Unlike Wald's, the interval never leaves 0 to 1, and it has a width also at 0 and at 1: ten
    right answers of ten do not prove that the program is never wrong.
    """
    p, square = right / n, _Z * _Z
    middle = (p + square / (2 * n)) / (1 + square / n)
    half = _Z / (1 + square / n) * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
    low, high = min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half))
    return Estimate(p, math.sqrt(p * (1 - p) / n), low, high, n, "Wilson")


def mcnemar(wins: int, losses: int, n: int) -> Test:
    """Compare two proportions on the same ``n`` examples: one side alone won ``wins``, the other
    ``losses``.

    The interval is Wald's with a win and a loss added (Bonett, Price 2012). The test is exact,
    since evaluations often differ in a handful of examples, for which the chi-square approximation
    fails; so near the border interval and test may disagree.
    """
    p, q, value = (wins + 1) / (n + 2), (losses + 1) / (n + 2), (wins - losses) / n
    half = _Z * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    low, high = min(value, max(-1.0, p - q - half)), max(value, min(1.0, p - q + half))
    spread = (wins + losses) / n - value * value
    se = math.sqrt(spread / (n - 1)) if n > 1 and spread > 0 else None
    estimate = Estimate(value, se, low, high, n, "Bonett-Price")
    return Test(estimate, sign_test(wins, losses), "McNemar's exact test")


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided exact p of a fair coin over the pairs that differ; 1 if none differ."""
    n, tail, ways = wins + losses, 0, 1
    for k in range(min(wins, losses) + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return min(1.0, 2.0 * (tail / (1 << n)))


def bca_bootstrap(values: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES) -> Test:
    """Return the mean with its bias-corrected and accelerated bootstrap interval (Efron 1987).

    p is 1 minus the level at which the interval would end at 0. Equal values have no interval;
    their p is the sign test's.
    """
    n, value, se = len(values), statistics.fmean(values), standard_error(values)
    if se is None:
        p = sign_test(sum(v > 0 for v in values), sum(v < 0 for v in values))
        return Test(Estimate(value, None, None, None, n, "none"), p, "sign test")
    rng = random.Random(seed)  # noqa: S311 - no secret: reproducible
    draws = sorted(math.fsum(rng.choices(values, k=n)) / n for _ in range(resamples))
    bias = _NORMAL.inv_cdf(_rank(draws, value))
    acceleration = _acceleration(values)

    def end(z: float) -> float:
        corrected = bias + (bias + z) / (1 - acceleration * (bias + z))
        return draws[min(resamples - 1, int(_NORMAL.cdf(corrected) * resamples))]

    # The formula of `end` solved for z at the rank of 0: p agrees with the interval by definition.
    shift = _NORMAL.inv_cdf(_rank(draws, 0.0)) - bias
    below = _NORMAL.cdf(shift / (1 + acceleration * shift) - bias)
    estimate = Estimate(value, se, end(-_Z), end(_Z), n, "BCa")
    return Test(estimate, 2 * min(below, 1 - below), "paired bootstrap")


def standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean; ``None`` if the values are all equal, but for the
    rounding of their arithmetic.
    """
    equal = all(math.isclose(value, values[0], abs_tol=EQUAL) for value in values)
    return None if equal else statistics.stdev(values) / math.sqrt(len(values))


def clustered_error(values: Sequence[float], clusters: Sequence[Hashable]) -> float | None:
    """Return the standard error of the mean of clustered values (Miller 2024, section 2.2), times
    ``sqrt(G / (G - 1))`` for few clusters G; ``None`` if they show no spread.
    """
    center = statistics.fmean(values)
    deviations: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        deviations.setdefault(cluster, []).append(value - center)
    sums = [math.fsum(inner) for inner in deviations.values()]
    square = math.fsum(total * total for total in sums)
    if len(sums) < 2 or square <= EQUAL * EQUAL:  # noqa: PLR2004 - one cluster says nothing of the spread
        return None
    return math.sqrt(square * len(sums) / (len(sums) - 1)) / len(values)


# No mean lies beyond the bounds, so an interval cut there covers it as often.
def within(estimate: Estimate, least: float, most: float) -> Estimate:
    """Return an estimate whose interval ends at the bounds that no value can pass."""
    if estimate.low is None or estimate.high is None:
        return estimate
    low, high = max(least, estimate.low), min(most, estimate.high)
    return attrs.evolve(estimate, low=low, high=high)


def is_binary(values: Iterable[float]) -> bool:
    """Return whether each value is 0 or 1."""
    return all(value in {0.0, 1.0} for value in values)


def sample_size_needed(difference: Estimate) -> int | None:
    """Return how many examples would show a difference of this size and spread, at 80 % power and p
    below 0.05 (normal theory; Miller 2024, section 5); ``None`` without a difference or a spread.
    """
    if not difference.se or not difference.value:
        return None
    return math.ceil(difference.n * (detectable_difference(difference) / difference.value) ** 2)


def detectable_difference(difference: Estimate) -> float:
    """Return the smallest difference that this many examples would show at 80 % power; 0 without a
    spread.
    """
    return (_Z + _NORMAL.inv_cdf(POWER)) * (difference.se or 0.0)


def format_score(value: float) -> str:
    """Write a score with three decimals, one from 100 on, and no minus before a zero."""
    text = f"{value:.3f}" if abs(value) < _FEWER_DECIMALS else f"{value:.1f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _student(value: float, se: float | None, n: int, method: str) -> Estimate:
    if se is None:
        return Estimate(value, None, None, None, n, "none")
    half = t_quantile(0.5 + LEVEL / 2, n - 1) * se
    return Estimate(value, se, value - half, value + half, n, method)


def _clustered(values: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    se = clustered_error(values, clusters)
    return _student(statistics.fmean(values), se, len(set(clusters)), "clustered t")


def _clustered_test(differences: Sequence[float], clusters: Sequence[Hashable]) -> Test:
    """Test clusters by Student's t; clusters without a spread by the sign test."""
    estimate = _clustered(differences, clusters)
    if set(differences) <= {-1.0, 0.0, 1.0}:
        estimate = within(estimate, -1.0, 1.0)
    if estimate.se is not None:
        return _with_least_p(_t_test(estimate), estimate.n)
    sums: dict[Hashable, float] = dict.fromkeys(clusters, 0.0)
    for difference, cluster in zip(differences, clusters, strict=True):
        sums[cluster] += difference
    wins, losses = sum(s > EQUAL for s in sums.values()), sum(s < -EQUAL for s in sums.values())
    return Test(estimate, sign_test(wins, losses), "sign test")


def _t_test(estimate: Estimate) -> Test:
    se = estimate.se
    assert se is not None  # noqa: S101 - the caller has asked
    p = t_tail(estimate.value / se, estimate.n - 1)
    return Test(estimate, p, f"{estimate.method} test")


def _with_least_p(test: Test, differing: int) -> Test:
    """Raise p to 2 to the 1 - k for k units that differ, the least that their signs can give.

    Normal theory and resampling are sure of themselves for a few equal differences: three pairs
    that all gained about 0.1 would otherwise have a p below any bound.
    """
    return attrs.evolve(test, p=max(test.p, min(1.0, 2.0 ** (1 - differing))))


def _rank(draws: Sequence[float], value: float) -> float:
    """Return the share of draws below ``value``, ties half; never 0 or 1, at which the normal
    quantile is infinite.
    """
    below, ties = sum(draw < value for draw in draws), sum(draw == value for draw in draws)
    rank = (below + ties / 2) / len(draws)
    return min(max(rank, 0.5 / len(draws)), 1 - 0.5 / len(draws))


def _acceleration(values: Sequence[float]) -> float:
    """Return a sixth of the skewness of the jackknife's means."""
    center = statistics.fmean(values)
    cubes = math.fsum((value - center) ** 3 for value in values)
    squares = math.fsum((value - center) ** 2 for value in values)
    return cubes / (6 * squares * math.sqrt(squares))
