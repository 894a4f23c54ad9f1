"""The laws of the verdict on a version: shrunk to the start, and surer with more examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.optimizers.parts.evidence import Evidence
from lmflow.optimizers.parts.verdict import CAUTION, judge_differences

STEP = lf.predict("answer", "question -> answer", "Answer.")


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60))
def test_the_expectation_is_shrunk(differences: list[float]) -> None:
    """The expected difference lies between none and the mean of the differences."""
    mean = sum(differences) / len(differences)
    expected = judge_differences(differences, []).difference
    assert min(0.0, mean) <= expected <= max(0.0, mean)


def test_more_examples_see_smaller_differences() -> None:
    """The difference that could be seen falls with the number of examples."""
    wins = [1.0, 0.0, 0.0, 0.0]
    visible = [judge_differences(wins * times, wins).visible for times in (1, 5, 25, 125)]
    assert visible == sorted(visible, reverse=True)


def test_what_could_be_seen_is_what_would_pass() -> None:
    """A mean difference just above the visible one is better, one just below is not."""
    verdict = judge_differences([1.0, 0.0] * 20, [1.0])
    share = verdict.difference / 0.5
    assert CAUTION * verdict.deviation == pytest.approx(share * verdict.visible)


@pytest.mark.parametrize(
    ("differences", "held", "better"),
    [
        ([1.0] * 10 + [0.0] * 60, [1.0] * 2 + [0.0] * 18, True),
        ([1.0] * 10 + [0.0] * 60, [-1.0] + [0.0] * 19, False),
        ([1.0] * 10 + [0.0] * 60, [], False),
        ([1.0, -1.0] * 30, [0.0] * 20, False),
        ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], False),
        ([], [], False),
    ],
)
def test_a_version_passes_by_all_examples_and_the_held_back_ones(
    differences: list[float], held: list[float], *, better: bool
) -> None:
    """Clear on all examples and not worse on the held-back ones, or else not better; three wins
    are too few.
    """
    assert better == judge_differences(differences, held).is_better


def test_pairs_are_examples_that_both_were_scored_on() -> None:
    """Only examples with scores of both versions count, each once."""
    start, other = lf.init(STEP), lf.init(STEP).put({"answer.instruction": "Say."}, note="")
    evidence = Evidence()
    evidence.add(start, "r1", "a", 0.0)
    evidence.add(start, "r2", "b", 1.0)
    evidence.add(other, "r3", "a", 1.0)
    evidence.add(other, "r4", "a", 0.5)
    evidence.add(other, "r5", "c", 0.0)
    assert [0.75] == evidence.differences(start, other)
