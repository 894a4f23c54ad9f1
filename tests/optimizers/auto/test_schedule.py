"""What a budget buys."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.optimizers.auto.purse import Purse
from lmflow.optimizers.auto.schedule import FEWEST_PROPOSALS, plan_schedule
from lmflow.optimizers.auto.search import BLOCK, Search
from lmflow.optimizers.parts.allowance import CALLS_A_PREDICTOR
from lmflow.optimizers.parts.limits import Limits

STEP = lf.predict("answer", "question -> answer")
ROWS = [{"question": f"{n}?", "answer": "yes"} for n in range(200)]
DATA = lf.Data(ROWS[:100], ROWS[100:])
METRIC = lf.exact_match("answer")


@given(
    calls=st.integers(1, 20_000),
    steps=st.integers(1, 6),
    rows=st.integers(1, 500),
    harvests=st.booleans(),
)
def test_the_parts_fit_into_the_whole(calls: int, steps: int, rows: int, *, harvests: bool) -> None:
    """Start, harvest and comparisons are never more rollouts than there are, and nothing is
    negative.
    """
    schedule = plan_schedule(calls, calls // steps, steps, rows, harvests=harvests)
    assert schedule.start + schedule.tries + schedule.blocks * BLOCK <= max(
        schedule.rollouts, schedule.start
    )
    assert schedule.start <= rows
    assert all(value >= 0 for value in attrs.astuple(schedule))


@given(calls=st.integers(1, 20_000), steps=st.integers(1, 6))
def test_fewer_than_three_proposals_are_none(calls: int, steps: int) -> None:
    """Instructions are searched in earnest or not at all."""
    schedule = plan_schedule(calls, calls // steps, steps, 200, harvests=steps > 1)
    assert schedule.proposals == 0 or schedule.proposals >= FEWEST_PROPOSALS


def test_more_calls_buy_no_less() -> None:
    """Proposals and comparisons grow with the budget."""
    sizes = [
        plan_schedule(n, n, 1, 200, harvests=False) for n in (30, 100, 300, 1000, 3000, 10_000)
    ]
    assert sizes == sorted(sizes, key=lambda size: (size.proposals, size.blocks))


def test_the_schedule_is_said_in_words() -> None:
    """A large budget names its proposals, a small one says why it has none."""
    large = lf.auto(calls=300).words(STEP, DATA, METRIC)
    assert (
        "buys 30 rows of the start version, 4 candidates at no proposal, 6 proposals, 3 rewritings"
        " and about 27 comparisons of 10 rows"
    ) == large
    small = lf.auto(calls=60).words(STEP, DATA, METRIC)
    assert small.endswith(
        "fewer than 3 proposals is no search, so it will only choose demonstrations"
    )


def test_other_searches_say_what_a_number_of_calls_buys() -> None:
    """Each of them has words for its calls, and none without."""
    made = (lf.mipro, lf.gepa, lf.random_search, lf.simba)
    assert all(make(calls=300).words(STEP, DATA, METRIC).startswith("buys") for make in made)
    assert not any(make().words(STEP, DATA, METRIC) for make in made)


def test_a_judge_makes_a_rollout_dearer() -> None:
    """The calls of a judge count, so the same budget buys half as many comparisons."""
    grade = lf.predict("grade", "question, response -> score: float")
    judge = lf.Judge(grade, reads={"question": "example.question", "response": "outputs.answer"})
    assert "about 13 comparisons" in lf.auto(calls=300).words(STEP, DATA, judge)


@given(calls=st.integers(1, 20_000), steps=st.integers(FEWEST_PROPOSALS, 8))
def test_many_steps_have_an_instruction_proposed_for_each(calls: int, steps: int) -> None:
    """An instruction for each step costs hardly more than a rollout, so it is proposed if a block is
    left to score it on.
    """
    schedule = plan_schedule(calls, calls // steps, steps, 200, harvests=True)
    assert schedule.blocks <= schedule.free or schedule.proposals >= steps


@given(calls=st.integers(0, 2000), spent=st.integers(0, 2000), cost=st.integers(1, 12))
def test_a_block_is_never_cut_by_the_end_of_the_budget(calls: int, spent: int, cost: int) -> None:
    """Before the last row of a block, what a rollout takes at most is left; else none of its scores
    would be learned.
    """
    nothing: Any = None
    purse = Purse(Limits(calls=calls), min(calls, spent))
    search = Search(nothing, [], nothing, nothing, purse, 0.8, nothing, cost)
    rows = search.affordable_rows()
    left = calls - purse.calls
    assert 0 == rows or left - (rows - 1) * cost >= CALLS_A_PREDICTOR * cost
    assert rows < BLOCK + BLOCK // 2


def test_within_a_number_of_calls_a_search_plans_for_it() -> None:
    """`within` makes the schedule of a search that plans; one with a size of its own is only stopped."""
    fitted = lf.within(lf.auto(), max_calls=60)
    assert lf.auto(calls=60).words(STEP, DATA, METRIC) == fitted.words(STEP, DATA, METRIC)
    assert 60 == fitted.bound(STEP, DATA).calls
    assert not lf.within(lf.random_search(candidates=3), max_calls=60).words(STEP, DATA, METRIC)


def test_a_limit_of_tokens_is_planned_for_once_a_price_is_known() -> None:
    """What a call takes is unknown before the start version ran, so no number is made up."""
    words = lf.auto(tokens=20_000).words(STEP, DATA, METRIC)
    assert words == lf.auto(usd=1.0).words(STEP, DATA, METRIC)
    assert words.startswith("scores the start version on some rows, then plans")
