"""The laws of thresholds and weights: fitted at no call, kept only where folds agree, versioned."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadData, ProgramError
from lmflow.interpreter.choices import Decision
from lmflow.messages.replies import ChatReply
from lmflow.optimizers.thresholds import fit_thresholds
from lmflow.signatures.choices import choice_of

SPAM = lf.predict("spam", "mail -> spam: bool", options={"logprobs": True, "top_logprobs": 2})
DESK = lf.predict(
    "desk", 'mail -> desk: Literal["red", "green", "blue"]', options={"logprobs": True}
)
THEN = SPAM >> lf.predict("note", "spam: bool -> note")


def tokens(shares: dict[str, float]) -> ChatReply:
    """A reply that says the likeliest text, with the probabilities of all."""
    text = max(shares, key=lambda each: shares[each])
    top = [{"token": each, "logprob": math.log(share)} for each, share in shares.items()]
    token = {"token": text, "logprob": math.log(shares[text]), "top_logprobs": top}
    return ChatReply(text, logprobs={"content": [token]})


def mails(count: int, cut: float, seed: int = 0) -> list[dict[str, Any]]:
    """Mails with the probability that a model gives spam, which they are from ``cut`` on."""
    rng = random.Random(seed)  # noqa: S311
    shares = [round(rng.uniform(0.02, 0.98), 3) for _ in range(count)]
    return [
        {"id": f"m{at}", "mail": str(share), "spam": share >= cut}
        for at, share in enumerate(shares)
    ]


def spam_model(request: Any) -> ChatReply:
    """A model that finds a mail as likely to be spam as its text says."""
    share = float(request.messages[-1].content.split()[-1])
    return tokens({"yes": share, "no": 1 - share})


async def recorded(program: Any, rows: Any, answer: Any, version: Any = None) -> Any:
    """A run of a program on rows."""
    async with lf.Executor(lf.scripted(answer)) as ex:
        return await ex.map(program, rows, version=version)


async def fitted(program: Any, rows: Any, run: Any, metric: Any, start: Any = None) -> Any:
    """An optimization that no model answers."""

    def refuses(request: Any) -> str:
        raise AssertionError(request)

    async with lf.Executor(lf.scripted(refuses)) as ex:
        return await ex.optimize(
            fit_thresholds(), program, lf.Data(rows), metric, version=start, prior=run.traces
        )


async def test_a_threshold_is_found_where_it_is() -> None:
    """From probabilities alone the threshold comes near the true one, at no call."""
    rows = mails(80, 0.3)
    run = await recorded(SPAM, rows, spam_model)
    result = await fitted(SPAM, rows, run, lf.exact_match("spam"))
    assert 0.3 == pytest.approx(result.version["spam.threshold"], abs=0.05)
    assert 0 == result.spent.calls
    assert "spam.threshold" in result.version.origin
    again = await fitted(SPAM, rows, run, lf.exact_match("spam"))
    assert result.version.id == again.version.id


async def test_what_is_right_already_stays() -> None:
    """If the likeliest value is right, the start version stays, and the reason says so."""
    rows = mails(60, 0.5)
    run = await recorded(SPAM, rows, spam_model)
    result = await fitted(SPAM, rows, run, lf.exact_match("spam"))
    assert lf.init(SPAM).id == result.version.id
    assert "not kept" in result.reason


async def test_noise_is_not_fitted() -> None:
    """Labels that the probabilities say nothing of give no threshold, at 20 seeds."""
    kept = 0
    for seed in range(20):
        rng = random.Random(f"labels {seed}")  # noqa: S311
        rows = [{**row, "spam": rng.random() < 0.5} for row in mails(30, 0.5, seed)]
        run = await recorded(SPAM, rows, spam_model)
        result = await fitted(SPAM, rows, run, lf.exact_match("spam"))
        kept += result.version.id != lf.init(SPAM).id
    assert kept <= 2


async def test_weights_turn_to_the_value_that_is_underrated() -> None:
    """Of three values, one that a model rates too low gets a weight above the others'."""
    rng = random.Random(0)  # noqa: S311
    rows = []
    for at in range(60):
        desk = rng.choice(("red", "green", "blue"))
        rows.append({"id": str(at), "mail": f"{desk} {at}", "desk": desk})

    def answer(request: Any) -> ChatReply:
        desk = request.messages[-1].content.split()[-2]
        shares: dict[str, float] = dict.fromkeys(("red", "green", "blue"), 0.1)
        shares[desk] = 0.3 if desk == "blue" else 0.8
        shares["red"] += 0.3 if desk == "blue" else 0.0
        return tokens(shares)

    run = await recorded(DESK, rows, answer)
    result = await fitted(DESK, rows, run, lf.exact_match("desk"))
    weights = result.version["desk.weights"]
    assert weights.get("blue", 1.0) > weights.get("red", 1.0)
    async with lf.Executor(lf.scripted(answer)) as ex:
        score = await ex.evaluate(DESK, rows, lf.exact_match("desk"), version=result.version)
    assert score.mean is not None
    assert 1.0 == score.mean.value


async def test_a_threshold_is_read_at_no_call() -> None:
    """Under another threshold the recording answers every call, and rolled back the root is the
    old one.
    """
    rows = mails(20, 0.3)
    run = await recorded(SPAM, rows, spam_model)
    start = lf.init(SPAM)
    low = start.put({"spam.threshold": 0.3})
    plan = lf.what_if(run, SPAM, low)
    assert (20, 0) == (plan.reused, plan.most.calls)
    traces = [trace for _, trace in plan.results if trace is not None]
    chosen = [trace.outputs.spam for trace in traces if trace.outputs is not None]
    assert [row["spam"] for row in rows] == chosen
    back = low.put({"spam.threshold": None})
    plan = lf.what_if(run, SPAM, back)
    results = [trace for _, trace in plan.results if trace is not None]
    assert [trace.root for trace in run.traces] == [trace.root for trace in results]


async def test_later_steps_that_were_not_recorded_count_as_no_difference() -> None:
    """A decision after which the program sends something new can't be judged: nothing is fitted."""
    rows = mails(30, 0.3)

    def answer(request: Any) -> Any:
        return "noted" if "[[spam]]" in request.messages[-1].content else spam_model(request)

    run = await recorded(THEN, rows, answer)
    result = await fitted(THEN, rows, run, lf.exact_match("spam"))
    assert lf.init(THEN).id == result.version.id


async def test_errors_say_what_is_missing() -> None:
    """Without logprobs, traces of the start, or a step that chooses, the error says the fix."""
    rows = mails(6, 0.3)
    plain = await recorded(SPAM, rows, ["yes"] * 6)
    with pytest.raises(BadData, match="logprobs"):
        await fitted(SPAM, rows, plain, lf.exact_match("spam"))
    run = await recorded(SPAM, rows, spam_model)
    other = lf.init(SPAM).put({"spam.instruction": "Is it?"})
    with pytest.raises(BadData, match="start version"):
        await fitted(SPAM, rows, run, lf.exact_match("spam"), other)
    words = lf.predict("words", "mail -> words")
    with pytest.raises(ProgramError, match="no step of words chooses"):
        await fitted(words, rows, await recorded(words, rows, ["a"] * 6), lf.exact_match("words"))


VOTED = lf.self_consistency(lf.predict("spam", "mail -> spam: bool"), n=9, share="sure")


def voter(request: Any) -> str:
    """A model without logprobs: of nine samples as many say yes as the mail's share."""
    share = float(request.messages[-1].content.split()[-1])
    return "yes" if request.sample < round(9 * share) else "no"


async def test_a_threshold_is_fitted_to_votes() -> None:
    """Where a model gives no logprobs the shares of recorded votes count, at no call, and what is
    fitted decides as it was scored.
    """
    rows = mails(40, 0.3)
    run = await recorded(VOTED, rows, voter)
    result = await fitted(VOTED, rows, run, lf.exact_match("spam"))
    assert 0.3 == pytest.approx(result.version["spam.threshold"], abs=0.1)
    assert 0 == result.spent.calls
    plan = lf.what_if(run, VOTED, result.version)
    assert (40 * 9, 0) == (plan.reused, plan.most.calls)
    async with lf.Executor(lf.scripted(voter)) as ex:
        before = await ex.evaluate(VOTED, rows, lf.exact_match("spam"))
        after = await ex.evaluate(VOTED, rows, lf.exact_match("spam"), version=result.version)
    assert before.mean is not None
    assert after.mean is not None
    assert 0.9 < after.mean.value
    assert before.mean.value < 0.85


async def test_votes_without_a_threshold_count_as_before() -> None:
    """A version without threshold elects the majority, and rolled back the root is the old one."""
    rows = mails(20, 0.5)
    run = await recorded(VOTED, rows, voter)
    plan = lf.what_if(run, VOTED, lf.init(VOTED).put({"spam.threshold": None}))
    results = [trace for _, trace in plan.results if trace is not None]
    assert [trace.root for trace in run.traces] == [trace.root for trace in results]


async def test_noise_of_votes_is_not_fitted() -> None:
    """Labels that votes say nothing of give no threshold, at five seeds."""
    kept = 0
    for seed in range(5):
        rng = random.Random(f"votes {seed}")  # noqa: S311
        rows = [{**row, "spam": rng.random() < 0.5} for row in mails(30, 0.5, seed)]
        run = await recorded(VOTED, rows, voter)
        result = await fitted(VOTED, rows, run, lf.exact_match("spam"))
        kept += result.version.id != lf.init(VOTED).id
    assert 0 == kept


@given(
    votes=st.lists(st.sampled_from(("true", "false")), min_size=1, max_size=9),
    more=st.integers(0, 9),
    threshold=st.floats(0, 1),
    rest=st.randoms(use_true_random=False),
)
def test_a_settled_vote_stays(votes: list[str], more: int, threshold: float, rest: Any) -> None:
    """Once an election is settled, no votes that follow change what it chooses."""
    choice = choice_of(lf.predict("spam", "mail -> spam: bool").signature)
    assert choice is not None
    decision = Decision(choice, threshold)
    later = [rest.choice(choice.labels) for _ in range(more)]
    if decision.is_settled(votes, more):
        assert decision.elected(votes) == decision.elected([*votes, *later])
    assert decision.is_settled(votes, 0)


async def test_a_threshold_that_is_settled_draws_no_more() -> None:
    """With waves the samples end when those to come can't change the decision; a value that nobody
    voted for can be chosen, with a share of none.
    """
    step = lf.predict("spam", "mail -> spam: bool")
    waves = lf.self_consistency(step, n=9, width=3, share="sure")
    version = lf.init(waves).put({"spam.threshold": 0.3})
    always = lf.init(waves).put({"spam.threshold": 0.0})
    async with lf.Executor(lf.scripted(lambda _: "yes")) as ex:
        yes = (await ex.run(waves, mail="a", version=version)).outputs
        assert (lf.Record(spam=True, sure=1.0), 3) == (yes, ex.spent.calls)
    async with lf.Executor(lf.scripted(lambda _: "no")) as ex:
        no = (await ex.run(waves, mail="a", version=version)).outputs
        chosen = (await ex.run(waves, mail="a", version=always)).outputs
    assert lf.Record(spam=False, sure=1.0) == no
    assert lf.Record(spam=True, sure=0.0) == chosen
