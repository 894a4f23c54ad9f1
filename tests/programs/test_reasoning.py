"""The laws of chains of thought side by side."""

from __future__ import annotations

import pytest

import lmflow as lf
from lmflow.errors import BadSignature

plan = lf.chain_of_thought(lf.predict("plan", "topic -> outline", "Plan."))
check = lf.chain_of_thought(lf.predict("check", "topic -> risks", "Check."))
REPLIES = {
    "Plan.": "[[reasoning]]\nfirst\n[[outline]]\na",
    "Check.": "[[reasoning]]\nsecond\n[[risks]]\nb",
}
MODEL = lf.scripted(lambda request: REPLIES[request.messages[0].content.partition("\n")[0]])


def test_parallel_reasoning_is_named_after_its_step() -> None:
    """Of two chains of thought each keeps its own reasoning, and the run replays."""
    both = lf.parallel(plan, check)
    trace = lf.run(both, model=MODEL, topic="t")
    expected = {
        "plan_reasoning": "first", "outline": "a", "check_reasoning": "second", "risks": "b",
    }  # fmt: skip
    assert expected == dict(trace.outputs or {})
    assert trace.root == lf.replay(trace, both).root
    assert ("plan.demos", "check.demos") == tuple(p for p in both.paths if p.endswith("demos"))


def test_one_chain_of_thought_keeps_its_name() -> None:
    """Reasoning that doesn't clash has the name that the step gave it."""
    sober = lf.predict("sober", "topic -> facts")
    assert "topic -> reasoning, outline, facts" == str(lf.parallel(plan, sober).signature)


def test_the_step_within_a_part_names_its_reasoning() -> None:
    """In a part of several steps it is the last that wrote it."""
    shorten = lf.predict("shorten", "outline -> short")
    both = lf.parallel(plan >> shorten, check)
    names = [field.name for field in both.signature.outputs]
    assert ["plan_reasoning", "outline", "short", "check_reasoning", "risks"] == names


def test_reasoning_in_a_pipe_is_the_last() -> None:
    """Steps one after the other write one field; the trace has the reasoning of each."""
    piped = plan >> check
    trace = lf.run(piped, model=MODEL, topic="t")
    assert {"reasoning": "second", "outline": "a", "risks": "b"} == dict(trace.outputs or {})
    assert trace.root == lf.replay(trace, piped).root


async def test_reasoning_in_a_flow_is_each_step_s() -> None:
    """A flow has the outputs of each step apart."""

    @lf.flow(uses=[plan, check])
    async def both(topic: str) -> str:
        one, other = await lf.gather(plan(topic=topic), check(topic=topic))
        return f"{one.reasoning}, {other.reasoning}"

    async with lf.Executor(MODEL) as ex:
        assert "first, second" == (await ex.run(both, topic="t")).outputs.both  # type: ignore[union-attr]


def test_other_outputs_still_clash() -> None:
    """Only reasoning is renamed: two steps that write one answer are refused."""
    with pytest.raises(BadSignature, match="'outline' appears twice"):
        lf.parallel(plan, lf.predict("other", "topic -> outline"))


def test_one_step_twice_is_refused() -> None:
    """The reasoning of one step twice would have one name."""
    with pytest.raises(BadSignature, match="'plan_reasoning' appears twice"):
        lf.parallel(plan, plan)
