"""The judging of an optimization: it is planned, reserved and counted in the one budget, its failure
loses nothing, and a ref moves last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmflow as lf
from lmflow.data.dataset import Data
from lmflow.errors import BudgetTooSmall
from lmflow.execution.jobs.judging import plan_judging
from lmflow.messages.replies import Usage
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.values.record import digest

ANSWER = lf.predict("answer", "question -> answer", "Answer.", options={"max_tokens": 20})
CHECK = lf.predict("check", "question, answer -> score: float", options={"max_tokens": 20})
METRIC = lf.exact_match("answer")
JUDGE = lf.Judge(CHECK, reads={"question": "example.question", "answer": "outputs.answer"})
MAKERS: dict[str, Callable[[], PlanOptimizer]] = {
    "labeled": lambda: lf.labeled_few_shot(k=2),
    "bootstrap": lambda: lf.bootstrap_few_shot(max_bootstrapped=1, max_labeled=1),
    "random_search": lambda: lf.random_search(candidates=2, max_bootstrapped=1, max_labeled=1),
    "opro": lambda: lf.opro("answer", steps=1, breadth=2),
    "guard": lambda: lf.guard(lf.random_search(candidates=1)),
    "first_best": lf.first_best,
}


class Server:
    """A model that counts what it is asked, and answers by the hash of it."""

    def __init__(self) -> None:
        self.sent = 0

    def __call__(self, request: ChatRequest) -> str:
        """Yes, no, or a number for the judge."""
        self.sent += 1
        text = digest("pick", [message.content for message in request.messages])
        number = int(text[-8:], 16)
        if "score" in request.messages[0].content:
            return str(number % 2)
        return ("yes", "no")[number % 2]


def rows(start: int, count: int) -> list[dict[str, str]]:
    """Questions whose answers are yes or no."""
    return [
        {"id": f"e{n}", "question": f"is {n} odd?", "answer": ("yes", "no")[n % 2]}
        for n in range(start, start + count)
    ]


def data(held: int) -> Data:
    """Examples with so many held back."""
    return lf.Data(rows(0, 4), rows(10, 3), rows(20, held))


async def tuned(
    optimizer: PlanOptimizer,
    server: Server,
    parts: Data,
    metric: Any = METRIC,
    store: Any = None,
    **more: Any,
) -> lf.Optimization:
    """An optimization against the counting server."""
    async with lf.Executor(lf.scripted(server), store, concurrency=4) as ex:
        return await ex.optimize(optimizer, ANSWER, parts, metric, **more)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(MAKERS)),
    calls=st.integers(0, 60),
    held=st.integers(0, 6),
    judged=st.booleans(),
    judge_rows=st.none() | st.integers(0, 7),
)
async def test_the_server_never_counts_more_than_the_budget(
    name: str, calls: int, held: int, *, judged: bool, judge_rows: int | None
) -> None:
    """Whatever the optimizer, the judge and the held-back rows: what is sent is within the budget,
    the result says it to the call, and a refusal comes before anything is sent.
    """
    server, budget = Server(), lf.Budget(calls=calls)
    held = max(held, 1) if name == "guard" else held
    metric = JUDGE if judged else METRIC
    planned = plan_judging(ANSWER, data(held).held, metric, judge_rows).calls
    try:
        done = await tuned(
            MAKERS[name](), server, data(held), metric, budget=budget, judge_rows=judge_rows
        )
    except BudgetTooSmall:
        assert (True, 0) == (calls < planned, server.sent)
    else:
        assert server.sent <= calls
        assert (server.sent, True) == (done.spent.calls, planned <= calls)
        assert done.judging.calls <= min(planned, server.sent)
        assert not done.problem


async def test_a_small_budget_is_refused_with_the_line_that_mends_it() -> None:
    """Two calls cannot judge ten rows twice: nothing is sent, and the error says what to do."""
    server = Server()
    with pytest.raises(BudgetTooSmall, match=r"takes about 20 calls; left 2 calls.*judge_rows=N"):
        await tuned(lf.labeled_few_shot(), server, data(10), budget=lf.Budget(calls=2))
    assert 0 == server.sent


async def test_the_budget_of_the_executor_bounds_the_judging_too() -> None:
    """A limit on the executor is as good as one on the optimization."""
    server = Server()
    async with lf.Executor(lf.scripted(server), budget=lf.Budget(calls=5)) as ex:
        with pytest.raises(BudgetTooSmall):
            await ex.optimize(lf.labeled_few_shot(), ANSWER, data(10), METRIC)
    assert 0 == server.sent


async def test_less_is_judged_on_request() -> None:
    """Only the first rows are judged, or none."""
    some = await tuned(lf.labeled_few_shot(), Server(), data(10), judge_rows=3)
    none = await tuned(lf.labeled_few_shot(), Server(), data(10), judge_rows=0)
    assert some.before is not None
    assert (3, 6) == (len(some.before.rows), some.judging.calls)
    assert (None, 0) == (none.before, none.spent.calls)
    with pytest.raises(ValueError, match="judge_rows must be 0 or more, found -1"):
        await tuned(lf.labeled_few_shot(), Server(), data(10), judge_rows=-1)


async def test_what_is_reserved_is_not_searched_with() -> None:
    """A search that would take everything leaves what the new version's judging takes."""
    server = Server()
    done = await tuned(lf.random_search(candidates=9), server, data(6), budget=lf.Budget(calls=20))
    assert done.stopped
    assert done.start == done.version or done.comparison is not None
    assert "6 calls more are reserved for judging" in done.stopped


def by_prompt(model: str, usage: Usage, at: int) -> int:
    """A price of 1,000 nano-dollars a prompt token."""
    del model, at
    return 1_000 * (usage.prompt or 0)


@pytest.mark.parametrize("cents", [0.1, 0.5, 1, 3])
async def test_money_is_reserved_too(cents: float) -> None:
    """With a budget of dollars the server's bill stays below it, judging included."""
    nano = int(cents * 10_000_000)
    async with lf.Executor(lf.scripted(Server()), prices=by_prompt) as ex:
        with contextlib.suppress(BudgetTooSmall):
            await ex.optimize(
                lf.random_search(candidates=2),
                ANSWER,
                data(4),
                METRIC,
                budget=lf.Budget(usd=cents / 100),
            )
        assert ex.spent.cost <= nano


async def test_a_result_that_cannot_be_judged_is_returned(tmp_path: Path) -> None:
    """Held-back rows that the metric cannot score: the version is returned with the reason, and the
    ref stays.
    """
    unlabelled = [{"id": f"h{n}", "question": f"is {n} odd?"} for n in range(3)]
    parts = lf.Data(rows(0, 4), rows(10, 3), unlabelled)
    with lf.SqliteStore(tmp_path / "s.db") as store:
        done = await tuned(lf.labeled_few_shot(), Server(), parts, store=store, ref="prod")
        assert {} == dict(store.refs())
        assert done.version == store.version(done.version.id)
    assert done.version != done.start
    assert done.comparison is None
    assert done.not_judged
    assert "could not be judged" in done.not_moved
    assert done.not_judged in str(done)


def by_demos(good: str, bad: str) -> Callable[[ChatRequest], str]:
    """A model that answers worse or better once it is shown demonstrations."""
    return lambda request: good if len(request.messages) == 2 else bad


@pytest.mark.parametrize(("plain", "shown", "moves"), [("yes", "no", False), ("no", "yes", True)])
async def test_a_ref_never_moves_to_a_worse_version(
    plain: str, shown: str, tmp_path: Path, *, moves: bool
) -> None:
    """The verdict on the held-back data decides; the result says why the ref stayed."""
    held = [{"id": f"h{n}", "question": f"q{n}", "answer": "yes"} for n in range(12)]
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(lf.scripted(by_demos(plain, shown)), store) as ex:
            done = await ex.optimize(
                lf.labeled_few_shot(), ANSWER, lf.Data(rows(0, 4), held=held), METRIC,
                ref="prod",
            )  # fmt: skip
        assert done.comparison is not None
        assert ("b" if moves else "a") == done.comparison.better
        assert (["prod"] if moves else []) == list(store.refs())
    assert moves == (not done.not_moved)
    assert moves or "is worse" in str(done)


async def test_a_kept_start_says_that_the_ref_stayed(tmp_path: Path) -> None:
    """Where the search finds nothing better there is nothing to move, and the result says so."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        done = await tuned(lf.first_best(), Server(), data(2), store=store, ref="tuned")
        assert [] == list(store.refs())
    assert "ref tuned was not moved: the start version was kept" in str(done)


async def test_without_held_data_a_ref_moves(tmp_path: Path) -> None:
    """Nothing was held back to say otherwise."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        done = await tuned(lf.labeled_few_shot(), Server(), data(0), store=store, ref="tuned")
        assert done.version == store.version("tuned")
    assert "" == done.not_moved


async def test_a_bad_ref_is_refused_first() -> None:
    """A name that no ref may have costs nothing."""
    server = Server()
    with pytest.raises(lf.errors.LmflowError):
        await tuned(lf.random_search(candidates=1), server, data(2), ref="a b")
    assert 0 == server.sent


@pytest.mark.parametrize("budget", [lf.Budget(tokens=100), lf.Budget(usd=0.0001)])
async def test_tokens_and_dollars_that_cannot_do_are_refused_first(budget: lf.Budget) -> None:
    """The prompts alone would take more than that: nothing is sent."""
    server = Server()
    async with lf.Executor(lf.scripted(server), prices=by_prompt) as ex:
        with pytest.raises(BudgetTooSmall):
            await ex.optimize(lf.labeled_few_shot(), ANSWER, data(9), METRIC, budget=budget)
    assert 0 == server.sent


@pytest.mark.parametrize(("held", "words"), [(0, "no data was held back"), (3, "as asked")])
async def test_what_is_not_judged_says_why(held: int, words: str) -> None:
    """Nothing held back and nothing wanted are told apart."""
    done = await tuned(lf.labeled_few_shot(), Server(), data(held), judge_rows=0)
    assert words in done.not_judged
    assert words in str(done)


async def test_what_is_recorded_of_the_start_need_not_fit_again(tmp_path: Path) -> None:
    """A judging that was cut off goes on within what is left of its budget."""
    server, parts = Server(), data(10)
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(lf.scripted(server), store) as ex:
            await ex.map(ANSWER, list(parts.held[:6]))
        done = await tuned(
            lf.labeled_few_shot(), server, parts, store=store, budget=lf.Budget(calls=14)
        )
    assert (14, 20) == (done.spent.calls, server.sent)
    assert done.comparison is not None
