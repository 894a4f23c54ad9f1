"""Intervals, tests and power, against published examples, values worked by hand, and scipy where it
is installed.
"""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmflow.evaluation.stats import (
    Estimate,
    bca_bootstrap,
    clustered_error,
    detectable_difference,
    format_score,
    mcnemar,
    mean,
    paired_test,
    sample_size_needed,
    sign_test,
    standard_error,
    wilson,
)
from lmflow.evaluation.student_t import t_quantile, t_tail

scores = st.lists(st.floats(-1, 1), min_size=1, max_size=20)
close: Any = pytest.approx


def ends(found: Estimate) -> tuple[float, float]:
    """The interval, which there is."""
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def drawn(seed: int, n: int) -> list[float]:
    """Skewed values."""
    rng = random.Random(seed)  # noqa: S311
    return [rng.expovariate(3) - 0.2 for _ in range(n)]


@pytest.mark.parametrize(
    ("df", "t"),
    [
        (1, 12.7062),
        (2, 4.30265),
        (3, 3.18245),
        (9, 2.26216),
        (30, 2.04227),
        (120, 1.97993),
        (1e6, 1.95997),
    ],
)
def test_students_table(df: float, t: float) -> None:
    """The quantiles are those of the printed table, and the tail is their inverse."""
    assert close(t, rel=1e-5) == t_quantile(0.975, df)
    assert close(0.05, rel=1e-4) == t_tail(t, df) == t_tail(-t, df)


def test_students_tail_is_whole_in_the_middle() -> None:
    """Everything lies at least 0 away."""
    assert (1.0, close(0.0, abs=1e-9)) == (t_tail(0.0, 5), t_quantile(0.5, 5))


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_newcombes_table(right: int, n: int, low: float, high: float) -> None:
    """The intervals that Newcombe (1998, Statistics in Medicine 17, table I, method 3) prints."""
    found = wilson(right, n)
    assert (right / n, n) == (found.value, found.n)
    assert (close(low, abs=5e-5), close(high, abs=5e-5)) == ends(found)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_proportion(counts: tuple[int, int]) -> None:
    """The proportion lies in its interval, that in 0 to 1, and all right is all wrong turned round."""
    right, n = counts
    low, high = ends(wilson(right, n))
    assert 0 <= low <= right / n <= high <= 1
    assert high > low
    assert (close(1 - high), close(1 - low)) == ends(wilson(n - right, n))


def test_the_mean_of_zeros_and_ones_is_a_proportion() -> None:
    """Where all scores are 0 or 1 the interval is Wilson's."""
    assert wilson(2, 3) == mean([1.0, 0.0, 1.0])


def test_the_mean_of_scores_has_students_interval() -> None:
    """By hand: 0.2, 0.4, 0.9 have the mean 0.5 and the deviation 0.3606, so 0.5 ± 4.3027 * 0.2082."""
    found = mean([0.2, 0.4, 0.9])
    assert ("t", 3, close(0.5), close(0.208167, rel=1e-5)) == (
        found.method,
        found.n,
        found.value,
        found.se,
    )
    assert (close(-0.39568, rel=1e-4), close(1.39568, rel=1e-4)) == ends(found)


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5]])
def test_scores_without_spread_have_no_interval(values: list[float]) -> None:
    """One score, or scores that are all alike, say nothing of the spread: no interval is better
    than none of width.
    """
    assert Estimate(0.5, None, None, None, len(values), "none") == mean(values)


def test_there_is_no_mean_of_nothing() -> None:
    """Nothing scored is no score of 0."""
    with pytest.raises(ValueError, match="no mean of no values"):
        mean([])
    with pytest.raises(ValueError, match="no mean of no differences"):
        paired_test([])


def test_the_clustered_error_by_hand() -> None:
    """1, 0 | 1, 1: the mean is 0.75, the clusters' sums of deviations are -0.5 and 0.5, so sqrt(0.5
    * 2 / 1) / 4.
    """
    assert close(0.25) == clustered_error([1, 0, 1, 1], ["a", "a", "b", "b"])


@given(scores.filter(lambda values: len(set(values)) > 1))
def test_clusters_of_one_are_no_clusters(values: list[float]) -> None:
    """Where each value is its own cluster the clustered error is the plain one."""
    found = clustered_error(values, [str(at) for at in range(len(values))])
    assert found is None or close(standard_error(values), rel=1e-6) == found


@given(scores.filter(lambda values: len(set(values)) > 1), st.integers(2, 4))
def test_repeating_each_value_adds_no_certainty(values: list[float], times: int) -> None:
    """Samples of one example that agree are worth one: the clustered interval is that of the
    examples.
    """
    names = [str(at) for at in range(len(values))]
    repeated = mean(values * times, names * times)
    spread = standard_error(values)
    if repeated.se is not None and spread is not None:
        assert close(spread, rel=1e-6) == repeated.se
        assert len(values) == repeated.n


@given(values=st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=6))
def test_clusters_of_zeros_and_ones_stay_between_them(values: list[float]) -> None:
    """The interval of a clustered proportion ends at 0 and 1, that of a difference at -1 and 1."""
    clusters = [str(n) for n in range(len(values))]
    share = mean(values * 2, clusters * 2)
    difference = paired_test([-value for value in values] * 2, clusters * 2).difference
    for least, most, estimate in ((0, 1, share), (-1, 1, difference)):
        if estimate.low is not None and estimate.high is not None:
            assert least <= estimate.low <= estimate.value <= estimate.high <= most


def test_one_cluster_says_nothing_of_the_spread() -> None:
    """All values of one document have no interval."""
    assert Estimate(0.5, None, None, None, 1, "none") == mean([0.0, 1.0], ["a", "a"])


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [(1, 7, 0.0703125), (0, 5, 0.0625), (0, 6, 0.03125), (5, 5, 1.0), (0, 0, 1.0), (3, 9, 0.1460)],
)
def test_the_sign_test_by_hand(wins: int, losses: int, p: float) -> None:
    """Twice the lower binomial tail at a half, at most 1; 9 : 3 is 2 * 299 / 4096."""
    assert close(p, abs=5e-5) == sign_test(wins, losses) == sign_test(losses, wins)


def test_the_sign_test_is_exact_for_many() -> None:
    """Thousands of pairs don't overflow."""
    assert close(math.erfc(50 / math.sqrt(2 * 2500) * (1 - 0.5 / 50)), rel=0.01) == sign_test(
        5050, 4950
    )


def test_bonett_and_price_by_hand() -> None:
    """1 win and 7 losses of 21 (Bentur et al. in Fagerland et al. 2014): -6/23 ± 1.96 * 0.1263,
    -0.508 to -0.013.
    """
    found = mcnemar(1, 7, 21)
    assert (close(-6 / 21), close(0.0703125)) == (found.difference.value, found.p)
    assert (close(-0.508, abs=5e-4), close(-0.013, abs=5e-4)) == ends(found.difference)


@given(st.integers(1, 60), st.data())
def test_mcnemar_turned_round(n: int, data: st.DataObject) -> None:
    """The other side's difference has the same p and the interval turned round; the difference lies
    in it.
    """
    wins = data.draw(st.integers(0, n))
    losses = data.draw(st.integers(0, n - wins))
    there, back = mcnemar(wins, losses, n), mcnemar(losses, wins, n)
    (low, high), (other_low, other_high) = ends(there.difference), ends(back.difference)
    assert (there.p, close(-other_high), close(-other_low)) == (back.p, low, high)
    assert -1 <= low <= there.difference.value <= high <= 1


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=40))
def test_pairs_of_zeros_and_ones_are_mcnemars(differences: list[float]) -> None:
    """Differences of 0/1 scores are tested by the discordant pairs, and their mean is the value."""
    found = paired_test(differences)
    assert mcnemar(differences.count(1.0), differences.count(-1.0), len(differences)) == found
    assert close(statistics.fmean(differences)) == found.difference.value
    assert found.difference.se is None or close(standard_error(differences)) == found.difference.se


def test_the_bootstrap_is_seeded() -> None:
    """The same seed gives the same interval, another a slightly different one."""
    values = drawn(1, 40)
    assert bca_bootstrap(values) == bca_bootstrap(values, seed=0) != bca_bootstrap(values, seed=1)


@given(st.integers(0, 50), st.integers(5, 40))
@settings(max_examples=20, deadline=None)
def test_the_bootstrap_agrees_with_itself(seed: int, n: int) -> None:
    """The interval leaves 0 out just where p is below 0.05, but for the grain of 2,000 draws."""
    found = bca_bootstrap([value - 0.05 for value in drawn(seed, n)])
    low, high = ends(found.difference)
    assert low <= found.difference.value <= high
    assert (low > 0 or high < 0) == (found.p < 0.05) or abs(found.p - 0.05) < 0.01


def test_the_bootstrap_turns_with_its_values() -> None:
    """Skewed values have an interval that reaches further on the long side, and turned round on the
    other.
    """
    values = drawn(3, 30)
    low, high = ends(bca_bootstrap(values).difference)
    mirrored_low, mirrored_high = ends(bca_bootstrap([-value for value in values]).difference)
    center = statistics.fmean(values)
    assert high - center > center - low
    assert -mirrored_low + center > center + mirrored_high
    assert (close(-mirrored_high, abs=0.03), close(-mirrored_low, abs=0.03)) == (low, high)


@pytest.mark.parametrize(
    ("differences", "p"), [([0.1] * 6, 0.03125), ([0.25] * 3, 0.25), ([0.0] * 4 + [0.0], 1.0)]
)
def test_differences_that_are_all_alike(differences: list[float], p: float) -> None:
    """Nothing to draw from: no interval, and the sign test's p."""
    found = bca_bootstrap(differences)
    assert (p, "sign test", None) == (found.p, found.name, found.difference.low)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_few_pairs_decide_nothing(n: int) -> None:
    """Up to five pairs, even of nearly one size, may all go one way by chance: p is at least 2 to
    the 1 - n.
    """
    nearly = [0.1 + 1e-6 * at for at in range(n)]
    assert 2.0 ** (1 - n) == paired_test(nearly).p
    assert (
        2.0 ** (1 - n)
        == paired_test([*nearly, *nearly], [*map(str, range(n)), *map(str, range(n))]).p
    )


@pytest.mark.parametrize(
    ("n", "name"),
    [(2, "t test"), (19, "t test"), (20, "paired bootstrap"), (1000, "paired bootstrap")],
)
def test_which_test_goes_with_how_many_pairs(n: int, name: str) -> None:
    """The bootstrap needs enough to draw from; a few pairs are left to Student's t."""
    assert name == paired_test(drawn(1, n)).name


def test_many_pairs_are_tested_by_students_t() -> None:
    """Beyond a thousand pairs the normal theory is exact enough, and at once; it agrees with the
    bootstrap.
    """
    values = drawn(5, 1001)
    theory, drawn_again = paired_test(values), bca_bootstrap(values, resamples=500)
    assert "t test" == theory.name
    assert close(ends(drawn_again.difference), abs=0.006) == ends(theory.difference)


def test_clusters_of_pairs_are_tested_by_students_t() -> None:
    """By hand: clusters of two with means 0.1, 0.3, 0.2, -0.2: t = 0.1 / (sqrt(0.14 / 3) / 2) =
    0.92582, 3 df.
    """
    found = paired_test(
        [0.1, 0.1, 0.3, 0.3, 0.2, 0.2, -0.2, -0.2], ["a", "a", "b", "b", "c", "c", "d", "d"]
    )
    assert ("clustered t test", 4) == (found.name, found.difference.n)
    assert close(t_tail(0.9258201, 3), rel=1e-6) == found.p


def test_clusters_without_spread_decide_nothing() -> None:
    """One cluster has no error, so the sign test's p is 1."""
    assert (1.0, "sign test") == (
        paired_test([0.1, 0.2], ["a", "a"]).p,
        paired_test([0.1, 0.2], ["a", "a"]).name,
    )


def test_power_is_millers() -> None:
    """A difference of 5 points with a fifth of the pairs discordant needs about 620 pairs (7.849 *
    0.1975 / 0.05²).
    """
    wins, losses, n = 125, 75, 1000
    assert close(620, abs=2) == sample_size_needed(mcnemar(wins, losses, n).difference)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(100, 400))
def test_what_is_detectable_is_what_is_needed(wins: int, losses: int, n: int) -> None:
    """A difference as large as the detectable one needs as many examples as there are."""
    found = mcnemar(wins, losses, n).difference
    wanted = sample_size_needed(found)
    assert (
        wanted is None
        or (wanted <= n) == (abs(found.value) >= detectable_difference(found))
        or abs(wanted - n) <= 1
    )


@pytest.mark.parametrize(
    "found", [mcnemar(0, 0, 9).difference, mcnemar(2, 2, 9).difference, mcnemar(9, 0, 9).difference]
)
def test_no_difference_or_no_spread_needs_no_number(found: Estimate) -> None:
    """Where nothing was seen no number of examples follows."""
    assert sample_size_needed(found) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.500"), (-0.0001, "0.000"), (-0.25, "-0.250"), (1234.56, "1234.6"), (-100, "-100.0")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    """Three decimals, one from 100 on, no minus before a zero."""
    assert text == format_score(value)


def test_an_estimate_reads_with_its_interval() -> None:
    """In words: the value and the interval, where there is one."""
    assert ("0.667 [0.208, 0.939]", "0.500") == (str(mean([1, 0, 1])), str(mean([0.5])))
    assert 0.5 == float(mean([0.5]))


class TestScipy:
    """The same figures from scipy."""

    stats: Any = None

    @pytest.fixture(autouse=True)
    def _scipy(self) -> None:
        self.stats = pytest.importorskip("scipy.stats")

    @pytest.mark.parametrize("df", [1, 2, 3, 5, 10, 40, 1000])
    def test_student(self, df: int) -> None:
        """Tails and quantiles of Student's t."""
        for t in (0.01, 0.5, 1.0, 2.0, 5.0, 30.0):
            assert close(2 * float(self.stats.t.sf(t, df)), rel=1e-9, abs=1e-12) == t_tail(t, df)
        for p in (0.6, 0.9, 0.975, 0.999):
            assert close(float(self.stats.t.ppf(p, df)), rel=1e-8) == t_quantile(p, df)

    @pytest.mark.parametrize(("wins", "losses"), [(0, 1), (3, 9), (40, 61), (500, 430)])
    def test_sign(self, wins: int, losses: int) -> None:
        """The exact binomial test at a half."""
        assert close(float(self.stats.binomtest(wins, wins + losses).pvalue)) == sign_test(
            wins, losses
        )

    @pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (99, 100)])
    def test_wilson(self, right: int, n: int) -> None:
        """Wilson's interval."""
        wanted = self.stats.binomtest(right, n).proportion_ci(method="wilson")
        assert (close(float(wanted.low), abs=1e-9), close(float(wanted.high))) == ends(
            wilson(right, n)
        )

    @pytest.mark.parametrize("n", [15, 60])
    def test_bca(self, n: int) -> None:
        """The BCa interval, but for the draws."""
        numpy = pytest.importorskip("numpy")
        values = drawn(n, n)
        wanted = self.stats.bootstrap(
            (values,), numpy.mean, n_resamples=20000, rng=numpy.random.default_rng(1)
        )
        low, high = (float(end) for end in wanted.confidence_interval)
        tolerance = 0.06 * (high - low)
        assert (close(low, abs=tolerance), close(high, abs=tolerance)) == ends(
            bca_bootstrap(values).difference
        )
