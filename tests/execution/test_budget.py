"""The laws of budgets: no limit is ever passed, whatever runs side by side, and a refusal says what
is left.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BudgetExceeded, ModelFailed, Unbounded
from lmflow.execution.budget import (
    NOTHING,
    ONE,
    Budget,
    Ledger,
    Spent,
)
from lmflow.execution.costs import actual_or_worst, prompt_bound, spent_on, worst_case
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, ModelReply, Usage, failure_of
from lmflow.messages.requests import ChatRequest, EmbedRequest, ModelRequest
from lmflow.models.base import Http, Send
from lmflow.traces.trace import CallAttempt

ANSWER = lf.predict("answer", "question -> answer", "Answer.", options={"max_tokens": 20})
ROWS = [{"question": f"q{i}"} for i in range(100)]


def priced(model: str, usage: Usage, at: int) -> int | None:
    """A nano-dollar a token, two for what is written to a cache."""
    del model, at
    return (usage.prompt or 0) + (usage.completion or 0) + (usage.written or 0)


@attrs.define(eq=False)
class Billed:
    """A model that counts what it would bill, answers after a random number of turns, and fails now
    and then.
    """

    seed: int = 0
    name: str = "billed/model"
    endpoint: str = "billed"
    calls: int = 0
    tokens: int = 0
    most: int = 0
    open: int = 0

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """A reply of random length within the request's limit."""
        rng = random.Random(f"{self.seed}{request}")  # noqa: S311 - no secret

        async def exchange(_: Http) -> ChatReply:
            assert isinstance(request, ChatRequest)
            self.calls, self.open = self.calls + 1, self.open + 1
            self.most = max(self.most, self.open)
            for _turn in range(rng.randrange(5)):
                await asyncio.sleep(0)
            self.open -= 1
            usage = Usage(rng.randrange(1, prompt_bound(request)), rng.randrange(20))
            self.tokens += (usage.prompt or 0) + (usage.completion or 0)
            return ChatReply("fine", usage=usage)

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do."""


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "budget",
    [
        Budget(calls=37),
        Budget(tokens=4_000),
        Budget(usd=4e-6),
        Budget(calls=50, tokens=5_000, usd=5e-6),
    ],
)
async def test_no_limit_is_ever_passed_at_concurrency_64(budget: Budget, seed: int) -> None:
    """What is sent stays within the budget, and the run is refused what could pass it."""
    model = Billed(seed)
    async with lf.Executor(model, budget=budget, concurrency=64, prices=priced) as ex:
        with pytest.raises(BudgetExceeded):
            await ex.map(ANSWER, ROWS)
        assert (model.calls, model.tokens) == (ex.spent.calls, ex.spent.tokens)
        assert budget.holds(ex.spent)


async def test_a_budget_of_n_calls_is_used_to_the_last() -> None:
    """Exactly N calls are sent, of N that are needed none is refused."""
    for calls in (99, 100):
        model = Billed()
        async with lf.Executor(model, budget=Budget(calls=calls), concurrency=64) as ex:
            if calls == len(ROWS):
                await ex.map(ANSWER, ROWS)
            else:
                with pytest.raises(BudgetExceeded):
                    await ex.map(ANSWER, ROWS)
        assert calls == model.calls


async def test_a_refusal_says_what_is_spent_and_left() -> None:
    """Spent, left, the run and how much of it is done are in the error and its words."""
    store = lf.MemoryStore()
    async with lf.Executor(Billed(), store, budget=Budget(calls=7)) as ex:
        with pytest.raises(
            BudgetExceeded, match=r"spent 7 calls.*left 0 calls.*stopped with 7 of 100 done"
        ) as caught:
            await ex.map(ANSWER, ROWS)
    (run,) = store.runs()
    assert (7, 100, run.id, 0) == (
        caught.value.done,
        caught.value.total,
        caught.value.run,
        caught.value.left.calls,
    )


async def test_a_stopped_run_s_record_is_complete() -> None:
    """All that was sent is on record with its answer; executions that were stopped are open, not
    failed.
    """
    store, model = lf.MemoryStore(), Billed()
    async with lf.Executor(model, store, budget=Budget(tokens=4_000), concurrency=64) as ex:
        with pytest.raises(BudgetExceeded):
            await ex.map(ANSWER, ROWS)
    run = store.run(store.runs()[0].id)
    calls = [call for trace in run for call in trace.calls]
    assert ("stopped", model.calls, []) == (
        run.status,
        len(calls),
        [c for c in calls if c.outcome is None],
    )
    assert {True: len(calls), False: 100 - len(calls)} == {
        done: sum(t.done is done for t in run) + (0 if done else 100 - len(run))
        for done in (True, False)
    }


async def test_every_attempt_counts() -> None:
    """A retry is a call."""
    model = lf.retrying(
        lf.scripted(lambda _: ModelFailed("server", "busy", 500)), attempts=4, longest=0
    )
    async with lf.Executor(model, budget=Budget(calls=2)) as ex:
        with pytest.raises(BudgetExceeded):
            await ex.run(ANSWER, question="why?")
        assert 2 == ex.spent.calls


async def test_no_flow_can_catch_it() -> None:
    """A used up budget ends the run, also where the flow catches everything."""
    caught: list[str] = []

    @lf.flow("question -> answer", uses=[ANSWER], version="1")
    async def stubborn(question):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - typed by its signature
        try:
            await ANSWER(question=question)
            return (await ANSWER(question=question)).answer
        except Exception:
            caught.append("it")
            raise
        finally:
            await ANSWER(question="on the way out")

    async with lf.Executor(Billed(), budget=Budget(calls=1)) as ex:
        with pytest.raises(BudgetExceeded):
            await ex.run(stubborn, question="why?")
    assert [] == caught


async def test_branches_that_are_open_end_before_the_run_is_stopped() -> None:
    """In a fork too, what was sent is answered and recorded."""
    store, wide = lf.MemoryStore(), lf.map(ANSWER, "questions", item="question")
    async with lf.Executor(Billed(), store, budget=Budget(calls=5)) as ex:
        with pytest.raises(BudgetExceeded):
            await ex.run(wide, questions=[str(i) for i in range(9)])
    (trace,) = store.run(store.runs()[0].id)
    assert (5, 0, False) == (len(trace.calls), len(trace.orphans), trace.done)


async def test_a_limited_part_counts_in_the_whole() -> None:
    """What is spent under a budget of its own is spent of the executor's too."""
    async with lf.Executor(Billed(), budget=Budget(calls=3)) as ex:
        await ex.limited(Budget(calls=1)).run(ANSWER, question="a")
        with pytest.raises(BudgetExceeded, match="budget of 1 call is used up"):
            await ex.map(ANSWER, ROWS, budget=Budget(calls=1))
        assert (2, 1) == (ex.spent.calls, ex.left.calls)
        with pytest.raises(BudgetExceeded, match="budget of 3 calls is used up"):
            await ex.limited(Budget(calls=2)).map(ANSWER, ROWS)


async def test_what_was_spent_before_counts() -> None:
    """A part may begin with what an earlier one has spent."""
    async with lf.Executor(Billed()) as ex:
        with pytest.raises(BudgetExceeded):
            await ex.limited(Budget(calls=1), spent=ONE).run(ANSWER, question="a")


async def test_tools_cost_nothing() -> None:
    """A budget counts what models are asked."""
    async with lf.Executor(budget=Budget(calls=0)) as ex:
        trace = await ex.run(lf.tool("up", "x -> y", lambda x: x.upper(), version="1"), x="a")
        assert lf.Record(y="A") == trace.outputs


CASES: list[tuple[dict[str, Any], Budget, str]] = [
    (
        {},
        Budget(tokens=5),
        r"answer has no max_tokens. Give it one: options=\{\"max_tokens\": 512\}",
    ),
    ({}, Budget(usd=5), "answer has no max_tokens"),
    ({"max_tokens": 5}, Budget(usd=5), "answer asks billed/model, whose price isn't known"),
]


@pytest.mark.parametrize(("options", "budget", "words"), CASES)
async def test_what_can_not_be_bounded_is_refused_first(
    options: dict[str, Any], budget: Budget, words: str
) -> None:
    """Without a bound on each call nothing is sent, nothing recorded, and the line that mends it is
    named.
    """
    model, store = Billed(), lf.MemoryStore()
    step = lf.predict("answer", "question -> answer", options=options)
    async with lf.Executor(model, store, budget=budget) as ex:
        with pytest.raises(Unbounded, match=words):
            await ex.map(step, ROWS)
    assert (0, []) == (model.calls, list(store.runs()))


async def test_each_model_that_may_answer_is_bounded() -> None:
    """A model that chooses among others is as dear as those: each of them needs a price, its own
    name needs none.
    """
    one, other = Billed(name="billed/one"), Billed(name="billed/other")
    prices = {"billed/one": priced, "billed/other": priced}
    chosen, rows = lf.fallback(one, other), [{"question": "a"}]
    known = lambda m, u, at: prices[m](m, u, at) if m in prices else None  # noqa: E731
    async with lf.Executor(chosen, budget=Budget(usd=1), prices=known) as ex:
        assert [] == list((await ex.map(ANSWER, rows)).failures)
        del prices["billed/other"]
        with pytest.raises(Unbounded, match="asks billed/other, whose price isn't known"):
            await ex.map(ANSWER, rows)


@pytest.mark.parametrize(
    "limits", [{"calls": -1}, {"tokens": True}, {"usd": float("nan")}, {"usd": float("inf")}]
)
def test_a_limit_is_a_number_from_0(limits: dict[str, Any]) -> None:
    """What is no limit is refused."""
    with pytest.raises(ValueError, match="must be 0 or more"):
        Budget(**limits)


spends = st.builds(Spent, st.integers(0, 3), st.integers(0, 50), st.integers(0, 50))
budgets = st.builds(
    Budget,
    st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 200),
    st.none() | st.sampled_from([0, 1e-7]),
)


@given(budgets, st.lists(st.tuples(spends, spends, st.booleans()), max_size=12))
def test_a_ledger_never_passes_its_budget(
    budget: Budget, steps: list[tuple[Spent, Spent, bool]]
) -> None:
    """Whatever is reserved and actual_or_worst in whatever order, spent and reserved together stay
    within the budget.
    """
    ledger, reserved = Ledger(budget), []
    for worst, actual, settle in steps:
        if ledger.fits(worst):
            ledger = ledger.reserving(worst)
            reserved.append(worst)
        if settle and reserved:
            held = reserved.pop(0)
            spent = Spent(*map(min, attrs.astuple(held), attrs.astuple(actual)))
            ledger = ledger.settling(held, spent)
        assert budget.holds(ledger.spent + ledger.reserved)
    assert sum((worst.tokens for worst in reserved), 0) == ledger.reserved.tokens


@given(st.lists(st.text(), max_size=4), st.integers(1, 4), st.integers(0, 99))
def test_the_worst_case_covers_every_byte(texts: list[str], choices: int, limit: int) -> None:
    """A prompt has no more tokens than bytes, a completion no more than its limit, each choice."""
    request = ChatRequest(
        tuple(Message("user", text) for text in texts), options={"max_tokens": limit, "n": choices}
    )
    sent = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    assert sent + choices * limit <= worst_case("s", request, priced, 0).tokens
    assert sent <= prompt_bound(EmbedRequest(tuple(texts)))


def test_the_dearer_way_is_the_worst_case() -> None:
    """A provider may write the prompt to a cache, which costs more."""
    request = ChatRequest((), options={"max_tokens": 1})
    assert 2 * prompt_bound(request) + 1 == worst_case("s", request, priced, 0).cost


WORST = Spent(1, 100, 1000)
SETTLED = [
    (ChatReply("x", usage=Usage(3, 4)), 7, Spent(1, 7, 7)),
    (ChatReply("x", usage=Usage(3, 4)), None, Spent(1, 7, 1000, 1)),
    (ChatReply("x"), 7, Spent(1, 100, 7, 1)),
    (failure_of(ModelFailed("rate_limit", "later", 429)), None, Spent(1)),
    (failure_of(ModelFailed("bad_reply", "unreadable", 200)), None, Spent(1, 100, 1000, 1)),
    (failure_of(ModelFailed("timeout", "no time left", 408)), None, Spent(1, 100, 1000, 1)),
    (failure_of(ModelFailed("server", "the client had gone", 499)), None, Spent(1, 100, 1000, 1)),
    (failure_of(ModelFailed("server", "gave up", 504)), None, Spent(1, 100, 1000, 1)),
    (failure_of(ModelFailed("server", "down", 503)), None, Spent(1)),
    (failure_of(ModelFailed("timeout", "lost")), None, Spent(1, 100, 1000, 1)),
    (None, None, Spent(1, 100, 1000, 1)),
]


@pytest.mark.parametrize(("outcome", "cost", "expected"), SETTLED)
def test_what_nobody_can_tell_counts_as_the_worst_case(
    outcome: Any, cost: int | None, expected: Spent
) -> None:
    """A refused call costs nothing, a lost one may be billed."""
    assert expected == actual_or_worst(outcome, cost, WORST)


def test_recorded_calls_can_be_added_up() -> None:
    """Orphans count as maybe billed, reused replies and other attempts' sources as nothing."""
    request = ChatRequest((Message("user", "hi"),), options={"max_tokens": 5})
    ended = CallAttempt(
        "a", request, request.key, outcome=ChatReply("x", usage=Usage(3, 4)), cost=7
    )
    worst = worst_case("a", request, priced, 0)
    calls = [
        ended,
        attrs.evolve(ended, source="other"),
        attrs.evolve(ended, outcome=None, cost=None),
    ]
    assert Spent(1, 7, 7) + attrs.evolve(worst, unknown=1) == spent_on(calls, priced, measured=True)
    assert NOTHING == spent_on([])


def test_a_budget_says_its_limits() -> None:
    """Words for people: only what is limited."""
    assert "the budget of 1 call, 5,000 tokens, $2.5" == str(Budget(1, 5000, 2.5))
    assert "2 calls, 1 token, $0.000001" == str(Spent(2, 1, 1000))


async def test_a_call_waits_while_open_ones_may_make_room() -> None:
    """Reserved worst cases that turn out cheaper are used again: fewer side by side, not fewer in
    all.
    """
    model = Billed()
    request = ChatRequest(
        (Message("system", "Answer."), Message("user", "[[question]]\nq0")),
        options={"max_tokens": 20},
    )
    bound = worst_case("answer", request, priced, 0).tokens
    async with lf.Executor(model, budget=Budget(tokens=8 * bound), concurrency=64) as ex:
        run = await ex.map(ANSWER, ROWS[:9])
    assert (9, True) == (len(run), model.most <= 8)
