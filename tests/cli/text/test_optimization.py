"""The laws of the words about optimizations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.cli.text.optimization import curve_text, phase_of, plan_data, price_of, steps
from lmflow.execution.jobs.judging import JudgingPlan
from lmflow.messages.replies import Usage
from lmflow.optimizers.parts.limits import Bound

POINTS = st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1)), max_size=20).map(sorted)
STEP = lf.predict("answer", "question -> answer", "x" * 400, options={"max_tokens": 32})


@given(POINTS.filter(bool))
def test_a_curve_tells_where_it_begins_and_ends(points: list[tuple[int, float]]) -> None:
    """The least and the greatest score and the last number of calls are told."""
    text = curve_text(points)
    assert f"{min(score for _, score in points):.3f}" in text
    assert text.endswith(f"after {points[-1][0]:,} calls")


def test_a_search_that_gained_nothing_looks_flat() -> None:
    """Its line is the lowest, one that rises ends in the highest."""
    assert "▁" == curve_text([(0, 0.3), (40, 0.3)])[-len("█ 0.300  after 40 calls")]
    assert "█" == curve_text([(0, 0.3), (40, 0.4)])[-len("█ 0.400  after 40 calls")]


def test_without_scores_there_is_no_curve() -> None:
    """Nothing was scored, so nothing is drawn."""
    assert "no scores" == curve_text([])
    assert [] == steps([])


def test_a_score_stays_until_it_is_beaten() -> None:
    """The curve goes right at the old score and then up to the new one."""
    assert [(0, 0.5), (10, 0.5), (10, 1.0)] == steps([(0, 0.5), (10, 1.0)])


@pytest.mark.parametrize(
    ("label", "phase"),
    [
        ("trial[3]/ex[e1]", "trial"),
        ("trial[3]/ex[e1]/judge", "trial"),
        ("chain[1]/cand[2]/ex[a/b]/n[1]", "chain/cand"),
        ("held/before/ex[7]", "held/before"),
        ("ex[e1]", "rollouts"),
    ],
)
def test_a_phase_is_the_place_without_numbers(label: str, phase: str) -> None:
    """Examples, samples and ordinals fall away."""
    assert phase == phase_of(label)


def test_prompts_are_estimated_where_nothing_was_run() -> None:
    """Instruction and inputs by their length, answers by what the step may write."""
    price = price_of(STEP, lf.init(STEP), {"question": "y" * 40}, None)
    assert (1, 32) == (price.calls, price.usage.completion)
    assert 110 <= (price.usage.prompt or 0) <= 130


def test_an_unknown_price_is_none() -> None:
    """A model without a listed price costs nobody knows what; calls and tokens are still bounded."""
    price = price_of(STEP, lf.init(STEP), {"question": "?"}, None)
    plan = plan_data(Bound(10, 2, 10), JudgingPlan(3, 6, 6, 12), price, "openai/unheard-of")
    assert (None, 34) == (plan["cost"], plan["calls"])
    assert plan["tokens"] > 10 * Usage(price.usage.prompt, 32).prompt  # type: ignore[operator]
