"""An optimization plans for the budget of its run."""

from __future__ import annotations

from typing import Any

import pytest
from simulated import by_hash

import lmflow as lf
from lmflow.execution.jobs.fitting import fit_to_budget
from lmflow.execution.jobs.replay_optimization import replay_optimization
from lmflow.messages.replies import ChatReply, Usage
from lmflow.optimizers.parts.plan import Traces

STEP = lf.predict("answer", "question -> answer", "Answer.", options={"max_tokens": 20})
METRIC = lf.exact_match("answer")
ANSWER: Any = by_hash(
    {"Answer": "yes no", "You write": "Answer Answer-wisely", "What is": "Questions"}
)
ROWS = [{"question": f"{n} odd?", "answer": ["no", "yes"][n % 2]} for n in range(60)]
DATA = lf.Data(ROWS[:30], ROWS[30:50], ROWS[50:])


def fitted(optimizer: Any, budget: lf.Budget | None, judge_rows: int | None = None) -> Any:
    """The options of an optimizer that was fitted to a budget."""
    return fit_to_budget(optimizer, STEP, DATA, METRIC, budget, judge_rows).options


@pytest.mark.parametrize(
    "make", [lf.auto, lf.mipro, lf.gepa, lf.random_search, lf.simba], ids=lambda make: make.__name__
)
def test_the_search_gets_what_the_judging_leaves(make: Any) -> None:
    """Of 200 calls 20 judge both versions on ten rows, so the schedule is for 180."""
    assert 180 == fitted(make(), lf.Budget(calls=200))["calls"]
    assert 200 == fitted(make(), lf.Budget(calls=200), judge_rows=0)["calls"]


def test_a_size_that_was_given_stays() -> None:
    """An optimizer whose options set a size is not fitted, nor is any without a budget."""
    for optimizer in (lf.auto(calls=50), lf.mipro(trials=3), lf.gepa(iterations=2), lf.opro()):
        assert optimizer.options == fitted(optimizer, lf.Budget(calls=200))
    assert lf.auto().options == fitted(lf.auto(), None)


def test_a_guard_is_fitted_with_room_for_its_own_judging() -> None:
    """A guard runs all held-back rows, whatever the report is judged by."""
    options = fitted(lf.guard(lf.auto()), lf.Budget(calls=200), judge_rows=0)
    assert 180 == options["optimizer"][1]["calls"]


def test_dollars_and_tokens_keep_room_for_the_judging() -> None:
    """Such limits are passed on with the rollouts that the judging may take."""
    options = fitted(lf.auto(), lf.Budget(tokens=5000, usd=0.5))
    assert (None, 5000, 0.5, 30) == tuple(
        options[name] for name in ("calls", "tokens", "usd", "reserved")
    )


async def test_a_fitted_search_stays_within_its_budget_and_replays() -> None:
    """What was sent is within the budget, nothing stopped it, and its run replays to its version
    with the optimizer that the run records.
    """
    store = lf.MemoryStore()
    async with lf.Executor(lf.scripted(ANSWER), store) as ex:
        done = await ex.optimize(lf.auto(), STEP, DATA, METRIC, budget=lf.Budget(calls=150))
    assert done.spent.calls <= 150
    assert not done.stopped
    assert done.reason
    assert done.reason in str(done)
    again = replay_optimization(
        store.run(done.run.id), done.optimizer, STEP, Traces(done.start, DATA), METRIC
    )
    assert done.version.id == again.id


async def test_begun_again_over_the_same_store_it_pays_nothing() -> None:
    """The same call with the same budget comes to the same version and sends nothing."""
    store = lf.MemoryStore()
    versions, spent = [], []
    for _ in range(2):
        async with lf.Executor(lf.scripted(ANSWER), store) as ex:
            done = await ex.optimize(lf.auto(), STEP, DATA, METRIC, budget=lf.Budget(calls=120))
            versions.append(done.version.id)
            spent.append(ex.spent.calls)
    assert versions[0] == versions[1]
    assert 0 == spent[1] < spent[0]


async def test_a_budget_of_tokens_is_planned_for() -> None:
    """A search within tokens ends by itself, before the run's budget stops it."""

    def reply(request: Any) -> Any:
        return ChatReply(str(ANSWER(request)), usage=Usage(prompt=40, completion=10))

    async with lf.Executor(lf.scripted(reply)) as ex:
        data = lf.Data(ROWS[:30], ROWS[30:])
        done = await ex.optimize(lf.auto(tokens=6000), STEP, data, METRIC)
    assert 3000 < done.spent.tokens <= 6000 + 10 * 50
    assert not done.stopped


async def test_a_model_that_counts_no_tokens_does_not_run_for_ever() -> None:
    """Without counts a limit of tokens is one of the usual number of calls."""
    async with lf.Executor(lf.scripted(ANSWER)) as ex:
        done = await ex.optimize(lf.auto(tokens=6000), STEP, DATA, METRIC, judge_rows=0)
    assert 0 < done.spent.calls <= 300


async def test_the_report_tells_chosen_from_held_back() -> None:
    """The score that a version was chosen by stands beside the held-back one, with the difference
    and its interval.
    """

    def reply(request: Any) -> str:
        shows_demonstrations = len(request.messages) > 2
        return _by_parity(request.messages[-1].content) if shows_demonstrations else "yes"

    async with lf.Executor(lf.scripted(reply)) as ex:
        done = await ex.optimize(lf.auto(calls=120), STEP, DATA, METRIC)
    assert done.version.id != done.start.id
    optimism = done.optimism
    assert optimism is not None
    assert done.selected == pytest.approx(done.after.mean.value + optimism.value)  # type: ignore[union-attr]
    assert optimism.low is not None
    assert "on examples that the search saw" in str(done)


def _by_parity(text: str) -> str:
    number = int("".join(character for character in text if character.isdigit()) or 0)
    return ["no", "yes"][number % 2]
