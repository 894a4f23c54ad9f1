"""The laws of judging by folds: each row judges a version that did not see it."""

from __future__ import annotations

import pytest
from simulated import Seen, hashed, kept_going

import lmflow as lf
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.parts.limits import Limits
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces

STEP = lf.predict("answer", "question -> answer", "Answer.")
ROWS = [lf.Record(id=f"e{n}", question=f"{n}?", answer="yes") for n in range(40)]
DATA = lf.Data(ROWS)
METRIC = lf.exact_match("answer")
LABELS = lf.labeled_few_shot(k=3)


def searched(optimizer: PlanOptimizer, gain: float) -> Seen:
    """A search in a world in which demonstrations add so much."""

    def answer(request: ChatRequest) -> str:
        question = request.messages[-1].content
        chance = 0.4 + (gain if len(request.messages) > 2 else 0.0)
        return "yes" if hashed(question) < chance else "no"

    traces = Traces(lf.init(STEP), DATA)
    return kept_going(optimizer, STEP, traces, METRIC, answer)


def test_each_row_is_judged_once_by_a_version_that_did_not_see_it() -> None:
    """Start and new version are scored once on each row, which none of them shows."""
    needs = searched(lf.cross_fit(LABELS, folds=4), 0.3).needs
    judged = [rollout for need in needs for rollout in need.rollouts]
    start = lf.init(STEP).tree
    after = [rollout for rollout in judged if rollout.version.tree != start]
    assert sorted(row.id for row in ROWS) == sorted(rollout.example.id for rollout in after)
    for rollout in after:
        shown = {demo.question for demo in rollout.version["answer.demos"]}
        assert rollout.example.question not in shown


def test_a_clear_gain_is_kept_and_none_is_not() -> None:
    """The version is that of all rows if the folds say that the optimizer helps, else the start."""
    assert searched(lf.cross_fit(LABELS, folds=4), 0.4).version["answer.demos"]
    lost = searched(lf.cross_fit(LABELS, folds=4), -0.2)
    assert lf.init(STEP).id == lost.version.id


def test_the_reason_names_the_folds() -> None:
    """What was expected of the optimizer, and on how many rows."""
    reason = searched(lf.cross_fit(LABELS, folds=4), 0.4).needs[-1].reason
    assert reason.startswith("4 folds: labeled_few_shot is expected to differ from the start by +")
    assert "on 40 examples" in reason


def test_nothing_is_known_before_all_folds_are_judged() -> None:
    """Stopped early it answers with the start."""
    needs = searched(lf.cross_fit(LABELS, folds=4), 0.4).needs
    assert {lf.init(STEP).id} == {need.best.id for need in needs[:-1]}


def test_its_searches_share_a_budget() -> None:
    """Each of the searches gets a part of the calls, and the rest is for judging."""
    fit = lf.cross_fit(lf.auto(), folds=4).fit
    assert fit is not None
    fitted = fit(Limits(calls=1000))
    assert 120 == fitted.options["optimizer"][1]["calls"]
    assert fitted.words(STEP, DATA, METRIC).startswith("makes 5 searches, each of which buys")


def test_fewer_than_two_folds_are_refused() -> None:
    """One fold leaves nothing to learn from."""
    with pytest.raises(ValueError, match="must be 2 or more, found 1"):
        lf.cross_fit(LABELS, folds=1)
