"""The laws of curves: unbiased, exact where they say so, and at no call."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET
from fractions import Fraction

import attrs
import pytest
from chances import Chances
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadData
from lmflow.evaluation.curves import best_at, vote_at

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
ROWS = [{"id": f"e{n}", "question": f"q{n}", "answer": "4"} for n in range(8)]
METRIC = lf.exact_match("answer")
SAMPLES = st.lists(
    st.tuples(st.sampled_from([None, "a", "b", "c"]), st.sampled_from([0.0, 1.0])),
    min_size=1,
    max_size=6,
)


async def sampled(n: int, seed: int = 0, rows: int = 8) -> lf.Run:
    """A run with samples."""
    async with lf.Executor(Chances(seed=seed)) as ex:
        return await ex.map(ANSWER, ROWS[:rows], samples=n)


@given(n=st.integers(1, 12), data=st.data())
def test_pass_at_k_is_that_of_chen(n: int, data: st.DataObject) -> None:
    """For scores of 0 and 1 it is 1 - C(n - c, k) / C(n, k)."""
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    expected = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
    assert best_at([1.0] * c + [0.0] * (n - c), k) == pytest.approx(float(expected))


@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=6), data=st.data())
def test_pass_at_k_is_the_mean_best_of_all_subsets(
    values: list[float], data: st.DataObject
) -> None:
    """For any scores it is the mean of the best over all subsets of that size."""
    k = data.draw(st.integers(1, len(values)))
    best = [max(subset) for subset in itertools.combinations(values, k)]
    assert best_at(values, k) == pytest.approx(sum(best) / len(best))


@given(samples=SAMPLES)
def test_a_vote_of_one_is_the_mean(samples: list[tuple[str | None, float]]) -> None:
    """vote@1 is the mean score of the samples, failures at 0."""
    scores = [score if vote is not None else 0.0 for vote, score in samples]
    assert vote_at(samples, 1, 1000, "") == pytest.approx(sum(scores) / len(scores))


@given(samples=SAMPLES, data=st.data())
def test_votes_never_beat_the_best(
    samples: list[tuple[str | None, float]], data: st.DataObject
) -> None:
    """A vote picks one of the samples, so it is at most pass@k."""
    k = data.draw(st.integers(1, len(samples)))
    assert vote_at(samples, k, 1000, "") <= best_at([score for _, score in samples], k) + 1e-9


@given(seed=st.integers(0, 99))
def test_drawn_subsets_are_seeded(seed: int) -> None:
    """The same seed draws the same subsets."""
    samples = [(str(n % 3), float(n % 2)) for n in range(10)]
    one, other = (vote_at(samples, 5, 20, str(seed)) for _ in range(2))
    assert one == other


async def test_the_last_vote_is_what_self_consistency_gives() -> None:
    """vote@n over n samples is the score of running self_consistency with n."""
    found = lf.curves(await sampled(5), ROWS, METRIC)
    async with lf.Executor(Chances()) as ex:
        voted = lf.scores_from(await ex.map(lf.self_consistency(ANSWER, n=5), ROWS), ROWS, METRIC)
    assert voted.mean is not None
    assert voted.mean.value == pytest.approx(found.points[-1].vote.value)


async def test_curves_rise_and_cost() -> None:
    """pass@k never falls with k, and calls grow with it."""
    found = lf.curves(await sampled(6), ROWS, METRIC)
    best = [point.best.value for point in found.points]
    assert best == sorted(best)
    assert [1, 2, 3, 4, 5, 6] == [point.calls for point in found.points]
    assert found.exact


async def test_many_samples_are_shown_at_powers_of_two() -> None:
    """Beyond 8 samples the sizes are powers of two, and the last."""
    found = lf.curves(await sampled(12, rows=2), ROWS, METRIC, subsets=50)
    assert ([1, 2, 4, 8, 12], False) == ([point.k for point in found.points], found.exact)


async def test_they_are_shown() -> None:
    """As a table, as bars, as rows, and as a picture that is XML."""
    found = lf.curves(await sampled(3), ROWS, METRIC)
    assert "pass@k" in str(found)
    assert 6 == len(found.plot().splitlines())
    assert {"k", "pass", "pass_low", "vote", "calls"} <= set(found.rows()[0])
    assert found.enough(1.0) == 1
    assert "svg" in ET.fromstring(found.svg()).tag  # noqa: S314 - made here


async def test_uneven_samples_are_refused() -> None:
    """Examples must have been run equally often."""
    run = await sampled(2)
    with pytest.raises(BadData, match="1 to 2 samples"):
        lf.curves(attrs.evolve(run, items=run.items[:-1]), ROWS, METRIC)


async def test_a_cascade_s_ends_are_its_models() -> None:
    """At threshold 0 the first model answers all, above every confidence the last does."""
    cheap, dear = await sampled(3), await sampled(1, seed=1)
    found = lf.cascade_curve({"cheap": cheap, "dear": dear}, ROWS, METRIC)
    first, last = found.steps[0], found.steps[-1]
    assert ((1.0, 0.0), (0.0, 1.0)) == (first.answered, last.answered)
    assert (3.0, 4.0) == (first.calls, last.calls)
    assert first.score.value == lf.curves(cheap, ROWS, METRIC).points[-1].vote.value
    assert last.score.value == lf.curves(dear, ROWS, METRIC).points[-1].vote.value


async def test_a_cascade_costs_more_the_more_it_asks() -> None:
    """Calls never fall with the threshold, and the front is in rising score and cost."""
    found = lf.cascade_curve({"a": await sampled(3), "b": await sampled(2, seed=1)}, ROWS, METRIC)
    calls = [step.calls for step in found.steps]
    assert calls == sorted(calls)
    front = [step.score.value for step in found.front]
    assert front == sorted(set(front))
    assert "threshold" in str(found)
    assert "svg" in ET.fromstring(found.svg()).tag  # noqa: S314 - made here


async def test_confidence_may_be_a_function() -> None:
    """Instead of the share of votes, a function of the outputs."""
    run = await sampled(1)
    found = lf.cascade_curve(
        {"a": run, "b": run}, ROWS, METRIC, confidence=lambda outputs: float(outputs["answer"])
    )
    assert (
        {0.0, math.inf}
        < {step.threshold for step in found.steps}
        <= {0.0, 1.0, 2.0, 3.0, 4.0, math.inf}
    )


async def test_cascades_are_of_the_same_examples() -> None:
    """Runs of other examples can't be put behind one another."""
    with pytest.raises(BadData, match="same examples"):
        lf.cascade_curve({"a": await sampled(1), "b": await sampled(1, rows=4)}, ROWS, METRIC)


@given(seed=st.integers(0, 50), n=st.integers(1, 4))
async def test_intervals_of_shares_end_at_1(seed: int, n: int) -> None:
    """For scores of 0 and 1 no interval of pass@k or vote@k leaves 0 to 1."""
    points = lf.curves(await sampled(n, seed), ROWS, METRIC).points
    ends = [(each.low, each.high) for point in points for each in (point.best, point.vote)]
    assert all(0 <= (low or 0) <= (high or 0) <= 1 for low, high in ends)
