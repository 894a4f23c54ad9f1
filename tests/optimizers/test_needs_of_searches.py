"""The laws of what a search looks for before it pays for anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import lmflow as lf
from lmflow.errors import ModelUnavailable
from lmflow.optimizers.parts.plan import PlanOptimizer

STEP = lf.predict("answer", "question -> answer", "Answer.")
ROWS = [lf.Record(id=f"e{n}", question=f"{n}?", answer="yes") for n in range(6)]
DATA = lf.Data(ROWS[:2], ROWS[2:4], ROWS[4:])
ABSENT = "nowhere/model"


@pytest.mark.parametrize(
    "make",
    [
        lambda: lf.opro(steps=1, breadth=1, model=ABSENT),
        lambda: lf.random_search(candidates=1, teacher=ABSENT),
        lambda: lf.chain(lf.labeled_few_shot(), lf.within(lf.gepa(model=ABSENT), max_calls=9)),
    ],
)
async def test_models_of_proposers_and_teachers_are_looked_up_first(
    make: Callable[[], PlanOptimizer],
) -> None:
    """A model that doesn't exist is an error before anything is sent."""
    model = lf.scripted(lambda _: "yes")
    async with lf.Executor(model) as ex:
        with pytest.raises(ModelUnavailable, match="nowhere"):
            await ex.optimize(make(), STEP, None, DATA, lf.exact_match("answer"))
        assert 0 == ex.spent.calls


async def test_a_judge_s_model_is_looked_up_first() -> None:
    """A judge on a model that doesn't exist is an error before anything is sent."""
    grade = lf.predict("grade", "response -> score: float", "Grade it.", model=ABSENT)
    judge = lf.Judge(grade, reads={"response": "outputs.answer"})
    async with lf.Executor(lf.scripted(lambda _: "yes")) as ex:
        with pytest.raises(ModelUnavailable, match="nowhere"):
            await ex.optimize(lf.opro(steps=1, breadth=1), STEP, None, DATA, judge)
        assert 0 == ex.spent.calls
