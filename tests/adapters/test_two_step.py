"""The laws of the two-step adapter: a free answer, then the extraction of the outputs by a call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import BudgetExceeded, ParseFailure, Unbounded, UnknownAdapter
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest

FREE = "Well: the capital is Paris, which was said three times."
FORM = "[[answer]]\nParis\n[[count]]\n3"
BIG = lf.scripted(lambda _: ChatReply(FREE, model="a/big", usage=Usage(10, 20)), name="a/big")
SMALL = lf.scripted(lambda _: ChatReply(FORM, model="b/small", usage=Usage(3, 4)), name="b/small")
BOTH = lf.routed({"a/big": BIG, "b/small": SMALL}, lambda _: "a/big")
STEP = lf.predict(
    "step", "question -> answer, count: int", "Say it.", adapter=lf.two_step("b/small"),
    model="a/big", options={"temperature": 1.0, "max_tokens": 50},
)  # fmt: skip


def _in_turn(replies: list[Any]) -> Any:
    return lf.scripted(iter(replies))


def _requests(trace: lf.Trace) -> list[ChatRequest]:
    return [call.request for call in trace.calls if isinstance(call.request, ChatRequest)]


def test_the_first_call_asks_for_a_free_answer() -> None:
    """Without a form or a schema; the outputs are named in words."""
    system, user = lf.render(STEP, {"question": "?"})
    assert "Say it.\n\nAnswer freely, and state: answer; count (a whole number)." == system.content
    assert "[[question]]\n?" == user.content
    bare = lf.predict("bare", "question -> answer", "Say it.", adapter="two_step")
    assert "Say it." == lf.render(bare, {"question": "?"})[0].content


async def test_the_second_call_extracts_from_the_answer() -> None:
    """It is asked of the other model, is told the answer alone, and gets the limit of tokens alone
    of the options.
    """
    async with lf.Executor(BOTH) as ex:
        trace = await ex.run(STEP, question="?")
    first, second = _requests(trace)
    assert ("a/big", "b/small") == (first.model, second.model)
    assert {"answer": "Paris", "count": 3} == dict(trace.outputs or {})
    assert f"[[text]]\n{FREE}\n" in second.messages[1].content
    assert "question" not in second.messages[1].content
    assert ({"temperature": 1.0, "max_tokens": 50}, {"max_tokens": 50}) == (
        dict(first.options), dict(second.options),
    )  # fmt: skip
    assert {"a/big", "b/small"} <= set(trace.world["models"])


async def test_without_a_model_the_same_one_extracts() -> None:
    """It is asked under the step's options."""
    step = lf.predict("s", "q -> answer, count: int", adapter="two_step", options={"seed": 1})
    async with lf.Executor(_in_turn([FREE, FORM])) as ex:
        trace = await ex.run(step, q="?")
    assert [{"seed": 1}, {"seed": 1}] == [dict(request.options) for request in _requests(trace)]
    assert {"answer": "Paris", "count": 3} == dict(trace.outputs or {})


async def test_both_calls_are_recorded_paid_and_replayed(tmp_path: Path) -> None:
    """In one trace, from memory and from a store, in a stream too, with both costs."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(BOTH, store) as ex:
            trace = await ex.run(STEP, question="?")
            assert (2, 37) == (ex.spent.calls, ex.spent.tokens)
        stored = store.trace(trace.id)
    assert trace.root == lf.replay(trace).root == lf.replay(stored, STEP).root
    assert 0 == lf.what_if(stored, STEP).most.calls
    pieces = list(lf.replay_stream(stored, STEP))
    assert ["Paris"] == [part.text for part in pieces if part.field == "answer"]


async def test_a_stream_shows_the_outputs_alone() -> None:
    """Nothing of the free answer is shown as an output."""
    async with lf.Executor(BOTH) as ex:
        parts = [part async for part in ex.stream(STEP, question="?")]
    assert [("answer", "Paris"), ("count", "3")] == [(part.field, part.text) for part in parts]


async def test_a_budget_bounds_both_calls() -> None:
    """A budget of one call stops before the extraction; one in tokens bounds both models."""
    async with lf.Executor(BOTH, budget=lf.Budget(calls=1)) as ex:
        with pytest.raises(BudgetExceeded):
            await ex.run(STEP, question="?")
    async with lf.Executor(BOTH, budget=lf.Budget(tokens=10_000)) as ex:
        assert (await ex.run(STEP, question="?")).outputs
    unbounded = lf.predict("s", "q -> a, n: int", adapter="two_step")
    async with lf.Executor(BOTH, budget=lf.Budget(tokens=10_000)) as ex:
        with pytest.raises(Unbounded):
            await ex.run(unbounded, q="?")


async def test_the_extraction_is_asked_once_more() -> None:
    """If its reply can't be read, for what is wrong, in JSON if that is no text; the free answer
    isn't paid again.
    """
    step = lf.predict("s", "q -> answer, count: int", adapter="two_step")
    async with lf.Executor(
        _in_turn([FREE, "[[answer]]\nParis\n[[count]]\nmany", '{"count": 3}'])
    ) as ex:
        trace = await ex.run(step, q="?")
    assert ({"answer": "Paris", "count": 3}, 3) == (dict(trace.outputs or {}), len(trace.calls))
    assert trace.root == lf.replay(trace).root


@pytest.mark.parametrize("empty", ["", "<think>hm</think>", "<think>hm"])
async def test_an_answer_that_is_empty_is_asked_for_again(empty: str) -> None:
    """Thinking alone is no answer; after two there is none to extract from."""
    step = lf.predict("s", "q -> answer, count: int", adapter="two_step")
    async with lf.Executor(_in_turn([ChatReply(empty), FREE, FORM])) as ex:
        trace = await ex.run(step, q="?")
    assert 3 == len(trace.calls)
    async with lf.Executor(_in_turn([ChatReply(empty), ChatReply(empty)])) as ex:
        with pytest.raises(ParseFailure, match="an answer"):
            await ex.run(step, q="?")


async def test_reasoning_is_that_of_the_answer() -> None:
    """Outputs from a reply's metadata come from the first reply; its thinking isn't extracted from."""
    step = lf.predict("s", "q -> thought: Reasoning, answer, count: int", adapter="two_step")
    replies = [ChatReply(f"<think>once, twice</think>{FREE}"), ChatReply(FORM, reasoning="no")]
    async with lf.Executor(_in_turn(replies)) as ex:
        trace = await ex.run(step, q="?")
    assert "once, twice" == dict(trace.outputs or {})["thought"]
    assert "twice" not in _requests(trace)[1].messages[1].content


@pytest.mark.parametrize(
    ("step", "version", "adapters"),
    [
        ("two_step:b/small", {}, {}),
        ("", {"s.adapter": "two_step:b/small"}, {}),
        ("", {"s.adapter": lf.two_step("b/small")}, {}),
        ("", {}, {"a/*": "two_step:b/small"}),
        ("", {}, {"a/*": lf.two_step("b/small")}),
    ],
)
async def test_it_is_chosen_by_name_or_value(
    step: Any, version: Mapping[str, Any], adapters: Mapping[str, Any], tmp_path: Path
) -> None:
    """As a step's default, by a version, or by an executor's rule; the name is what is stored."""
    program = lf.predict("s", "q -> answer, count: int", adapter=step, model="a/big")
    chosen = lf.init(program).put(version) if version else None
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(BOTH, store, adapters=adapters) as ex:
            trace = await ex.run(program, version=chosen, q="?")
        stored = store.trace(trace.id)
    assert ["a/big", "b/small"] == [request.model for request in _requests(trace)]
    assert trace.root == lf.replay(stored, program).root


async def test_an_interrupted_extraction_is_resumed() -> None:
    """A run that was stopped between the calls goes on with the second."""
    store = lf.MemoryStore()
    async with lf.Executor(BOTH, store, budget=lf.Budget(calls=1)) as ex:
        with pytest.raises(BudgetExceeded):
            await ex.map(STEP, [{"question": "?"}])
    async with lf.Executor(BOTH, store) as ex:
        run = await ex.resume(store.run(store.runs()[0].id), STEP)
        assert 1 == ex.spent.calls
    assert "Paris" == dict(run.traces[0].outputs or {})["answer"]


def test_an_agent_writes_calls_in_its_own_forms() -> None:
    """A step of an agent has no outputs to extract: its forms are named."""
    with pytest.raises(UnknownAdapter, match="`native`, `chat`, `json`"):
        lf.react("q -> answer", [lf.tool("t", "x -> y", len, version="1")], adapter="two_step")
