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
            await ex.optimize(make(), STEP, DATA, lf.exact_match("answer"))
        assert 0 == ex.spent.calls


async def test_a_judge_s_model_is_looked_up_first() -> None:
    """A judge on a model that doesn't exist is an error before anything is sent."""
    grade = lf.predict("grade", "response -> score: float", "Grade it.", model=ABSENT)
    judge = lf.Judge(grade, reads={"response": "outputs.answer"})
    async with lf.Executor(lf.scripted(lambda _: "yes")) as ex:
        with pytest.raises(ModelUnavailable, match="nowhere"):
            await ex.optimize(lf.opro(steps=1, breadth=1), STEP, DATA, judge)
        assert 0 == ex.spent.calls


@pytest.mark.parametrize(
    "make",
    [
        lambda: lf.gepa(iterations=1),
        lambda: lf.mipro(candidates=2, trials=1),
        lambda: lf.racing(trials=1),
        lambda: lf.synthesize(count=1),
        lambda: lf.first_best(lf.random_search(candidates=1), lf.infer_rules(candidates=1)),
        lambda: lf.opro(proposer=lf.predict("p", "task, attempts -> text", model=ABSENT)),
        lambda: lf.random_search(teacher=lf.predict("t", "question -> answer", model=ABSENT)),
    ],
)
async def test_proposers_have_a_model_or_nothing_begins(
    make: Callable[[], PlanOptimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program whose steps name their model does not lend it to proposers and teachers, so their
    models are looked up before anything is sent.
    """
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    step = lf.predict("answer", "question -> answer", "Answer.", model="openai/m")
    async with lf.Executor() as ex:
        with pytest.raises(ModelUnavailable):
            await ex.optimize(make(), step, DATA, lf.exact_match("answer"))
        assert 0 == ex.spent.calls
