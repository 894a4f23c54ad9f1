"""What each operator of search at inference time chooses, when it stops, and what it says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from driving import drive, last
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import (
    BadSignature,
    ConstraintFailed,
    ForeignPaths,
    MissingInput,
    ModelFailed,
    ParseFailure,
    Unidentified,
    UnknownInput,
)
from lmflow.interpreter.driver import drive_pure
from lmflow.library.search.voting import elected, is_settled, is_unanimous, leader_is_majority
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.programs.effects import Call
from lmflow.programs.environment import AppendedText, Env, overlay_values
from lmflow.replays.steps import completed_steps

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
TWO = lf.predict("think", "question -> thought", "Think.") >> lf.predict(
    "answer", "thought -> answer", "Answer."
)
Said = Iterable[str | Exception]


def driven(
    program: lf.Program, said: Said | Callable[[ChatRequest], str], **inputs: Any
) -> tuple[lf.Record, list[ChatRequest]]:
    """The outputs where models answer in order, or by a function; and what they were asked."""
    asked: list[ChatRequest] = []
    replies = None if callable(said) else iter(said)

    def recall(call: Call, address: str) -> ChatReply:
        assert isinstance(call.request, ChatRequest)
        assert address
        asked.append(call.request)
        reply = said(call.request) if replies is None else next(replies)  # type: ignore[operator]
        if isinstance(reply, Exception):
            raise reply
        return ChatReply(reply)

    pending = program(**(inputs or {"question": "q"}))
    return drive_pure(pending, Env(program.defaults), recall), asked


def length(_: Mapping[str, Any], outputs: Mapping[str, Any]) -> int:
    """How long the answer is."""
    return len(outputs["answer"])


def test_the_best_is_kept_and_the_earlier_where_they_tie() -> None:
    """The highest reward wins; of equal ones the first sample."""
    outputs, asked = driven(lf.best_of_n(ANSWER, length, n=4), ["a", "bbb", "ccc", "dd"])
    assert ("bbb", [0, 1, 2, 3]) == (outputs.answer, [request.sample for request in asked])


def test_it_stops_at_the_threshold() -> None:
    """No sample is drawn after the wave in which one reaches it."""
    assert 2 == len(driven(lf.best_of_n(ANSWER, length, n=9, threshold=3), ["a", "bbb", "c"])[1])
    assert 4 == len(
        driven(
            lf.best_of_n(ANSWER, length, n=9, threshold=3, width=2), ["a", "b", "ccc", "d", "e"]
        )[1]
    )


def test_failed_samples_and_failed_judgements_are_left_out() -> None:
    """What fails is no sample; what nobody could judge is given only where nothing could be."""
    down = ModelFailed("server", "down")
    assert "b" == driven(lf.best_of_n(ANSWER, length, n=2), [down, "b"])[0].answer
    grade = lf.predict("grade", "answer -> score: float")
    assert "b" == driven(lf.best_of_n(ANSWER, grade, n=2), ["a", "b", down, "1"])[0].answer
    assert "a" == driven(lf.best_of_n(ANSWER, grade, n=2), ["a", "b", down, down])[0].answer


def test_judges_are_checked_when_they_are_given() -> None:
    """A judge without the output that it judges by, or with an input that nothing gives, is
    refused.
    """
    with pytest.raises(BadSignature, match="no output 'score'"):
        lf.best_of_n(ANSWER, lf.predict("grade", "answer -> grade: float"), n=2)
    with pytest.raises(MissingInput, match="reference"):
        lf.best_of_n(ANSWER, lf.predict("grade", "answer, reference -> score: float"), n=2)
    with pytest.raises(Unidentified):
        lf.best_of_n(ANSWER, lambda _, __: 1.0, n=2)


@pytest.mark.parametrize("n", [0, -1])
def test_there_is_at_least_one_sample(n: int) -> None:
    """No samples are no search."""
    makers: tuple[Any, ...] = (
        lf.self_consistency,
        lf.adaptive_consistency,
        lf.multi_chain_comparison,
    )
    for make in makers:
        with pytest.raises(ValueError, match="n must be at least 1"):
            make(ANSWER, n=n)
    with pytest.raises(ValueError, match="width must be at least 1"):
        lf.self_consistency(ANSWER, n=3, width=n)


def test_the_majority_wins_in_its_first_words() -> None:
    """Case and outer space don't part votes; the outputs are those of the first sample that says
    it.
    """
    assert "PARIS" == driven(lf.self_consistency(ANSWER, n=3), ["Rome", "PARIS", "paris"])[0].answer
    assert "Rome" == driven(lf.self_consistency(ANSWER, n=2), ["Rome", "Paris"])[0].answer


def test_votes_have_weights_and_shares() -> None:
    """A weight is an output or a function; the share is the winner's part of the weight."""
    step = lf.predict("answer", "question -> sure: float, answer")
    said = [
        f"[[sure]]\n{sure}\n[[answer]]\n{word}" for sure, word in ((1, "a"), (1, "a"), (6, "b"))
    ]
    outputs, _ = driven(lf.self_consistency(step, n=3, weight="sure", share="share"), said)
    assert ("b", 0.75) == (outputs.answer, outputs.share)
    with pytest.raises(UnknownInput, match="answr"):
        lf.self_consistency(ANSWER, n=3, key="answr")


@given(said=st.lists(st.sampled_from("abc"), min_size=7, max_size=7), width=st.integers(1, 7))
def test_waves_give_the_same_answer_for_less(said: list[str], width: int) -> None:
    """A narrower width changes no answer, and asks no more."""

    def by_sample(request: ChatRequest) -> str:
        return said[request.sample]

    whole, all_ = driven(lf.self_consistency(ANSWER, n=7), by_sample)
    waves, some = driven(lf.self_consistency(ANSWER, n=7, width=width), by_sample)
    assert whole == waves
    assert len(some) <= len(all_) == 7


@given(a=st.integers(0, 12), b=st.integers(0, 12), level=st.floats(0.55, 0.99))
def test_the_posterior_is_that_of_beta(a: int, b: int, level: float) -> None:
    """P(Beta(a + 1, b + 1) > 1/2) by the exact tail is what the integral of its density says."""
    a, b = max(a, b), min(a, b)
    steps, beta = 4000, math.factorial(a) * math.factorial(b) / math.factorial(a + b + 1)
    points = (0.5 + 0.5 * (i + 0.5) / steps for i in range(steps))
    tail = sum(x**a * (1 - x) ** b for x in points) * 0.5 / steps / beta
    if abs(tail - level) > 1e-4:
        assert (tail >= level) == leader_is_majority(["x"] * a + ["y"] * b, level)


@pytest.mark.parametrize(("level", "runs"), [(0.9, 3), (0.95, 4), (0.99, 6)])
def test_agreement_ends_the_vote(level: float, runs: int) -> None:
    """Where all agree it stops after ceil(-log2(1 - level)) - 1 samples."""
    assert runs == math.ceil(-math.log2(1 - level)) - 1
    assert runs == len(driven(lf.adaptive_consistency(ANSWER, n=20, level=level), ["x"] * 20)[1])


def test_a_level_is_a_probability() -> None:
    """At one half every leader is the majority, and nothing is certain."""
    for level in (0.5, 1.0):
        with pytest.raises(ValueError, match="level"):
            lf.adaptive_consistency(ANSWER, n=3, level=level)


def test_a_window_that_agrees_ends_the_vote() -> None:
    """Only a whole window counts, and one with a failure isn't unanimous; the vote is over all
    samples.
    """
    program = lf.early_stopping_consistency(ANSWER, n=6, window=2)
    assert 4 == len(driven(program, ["a", "b", "c", "c", "d", "d"])[1])
    assert 6 == len(driven(program, ["a", ModelFailed("server", "x"), "a", "b", "c", "c"])[1])
    assert (True, False, False) == (
        is_unanimous(["a", "a"]),
        is_unanimous(["a", None]),
        is_unanimous(["a", "b"]),
    )


@given(
    votes=st.lists(st.sampled_from("abc"), min_size=1, max_size=9),
    left=st.integers(0, 5),
    data=st.data(),
)
def test_what_is_settled_stays(votes: list[str], left: int, data: st.DataObject) -> None:
    """Once settled, no votes that are left change who is elected."""
    if is_settled(votes, left):
        more = data.draw(st.lists(st.sampled_from("abc"), max_size=left))
        assert votes[elected(votes)[0]] == [*votes, *more][elected([*votes, *more])[0]]


def test_the_comparison_reads_all_chains() -> None:
    """Each sample that didn't fail stands in the last request."""
    program = lf.multi_chain_comparison(ANSWER, n=3)
    outputs, asked = driven(program, ["one", ModelFailed("server", "x"), "three", "best"])
    assert "best" == outputs.answer
    assert "[1] answer: one\n[2] answer: three" in last(asked[-1])


def blame_think(_: Mapping[str, Any], outputs: Mapping[str, Any]) -> lf.Feedback:
    """The first step is to blame for all but "good"."""
    return lf.Feedback(float(outputs["answer"] == "good"), f"not {outputs['answer']}", "think")


def test_advice_goes_to_the_step_that_is_blamed() -> None:
    """Below its instruction, and nowhere else; newer advice replaces older."""
    outputs, asked = driven(
        lf.refine(TWO, blame_think, n=3), ["t", "bad", "t", "worse", "t", "good"]
    )
    assert "good" == outputs.answer
    heads = [request.messages[0].content for request in asked if request.messages]
    assert ["Think.", "Think.\n\nAdvice: not bad", "Think.\n\nAdvice: not worse"] == heads[::2]
    assert {"Answer."} == set(heads[1::2])


def metric_like(_: Mapping[str, Any], outputs: Mapping[str, Any]) -> lf.Score:
    """A score with feedback, as metrics give."""
    return lf.Score(len(outputs["answer"]) / 10, "longer")


def test_advice_without_blame_goes_to_all_and_the_best_is_kept() -> None:
    """A metric may be the feedback; the best attempt wins though a later one is worse."""
    outputs, asked = driven(lf.refine(TWO, metric_like, n=2), ["t", "longest", "t", "short"])
    assert "longest" == outputs.answer
    assert all("Advice: longer" in request.messages[0].content for request in asked[2:])


def test_a_program_may_give_the_feedback() -> None:
    """Its outputs score, feedback and step; a failure of it counts as no word."""
    judge = lf.predict("judge", "answer -> score: float, feedback, step")
    said = [
        "t",
        "a",
        "[[score]]\n0.2\n[[feedback]]\nmore\n[[step]]\nanswer",
        "t",
        "b",
        "[[score]]\n1\n[[feedback]]\n\n[[step]]\nx",
    ]
    outputs, asked = driven(lf.refine(TWO, judge, n=3), said)
    assert ("b", 6) == (outputs.answer, len(asked))
    assert ["Think.", "Answer.\n\nAdvice: more"] == [
        request.messages[0].content for request in asked[3:5]
    ]


def test_advice_stands_below_what_the_version_says() -> None:
    """A text that is added goes with any instruction, and with none."""
    assert {"p": "new\n\nadvice", "q": 3} == overlay_values(
        {"p": "new", "q": 1}, {"p": AppendedText("advice"), "q": 3}
    )
    assert {"p": "advice"} == overlay_values({"p": ""}, {"p": AppendedText("advice")})
    assert (
        "a\n\nb"
        == Env(lf.Record({"x.s.i": "a"}), "x.").under("", {"s.i": AppendedText("b")})["s.i"]
    )


async def test_a_text_may_be_added_to_a_run() -> None:
    """The version that is recorded says it all, so the run replays."""
    pending = ANSWER(question="q").under({"answer.instruction": AppendedText("Be brief.")})
    async with lf.Executor(lf.scripted(lambda r: r.messages[0].content)) as ex:
        trace = await ex.run(pending)
    assert trace.outputs is not None
    assert "Answer.\n\nBe brief." == trace.version["answer.instruction"] == trace.outputs.answer
    assert trace.root == lf.replay(trace, ANSWER).root


async def test_advice_follows_the_version() -> None:
    """Under another version the retry stands below that version's instruction, and a recording
    replays.
    """
    program = lf.constrain(ANSWER, is_short, retries=1)
    other = lf.init(program).put({"answer.instruction": "Say it."})
    async with lf.Executor(
        lf.scripted(lambda r: "ok" if "refused" in r.messages[0].content else "too long")
    ) as ex:
        trace = await ex.run(program, question="q")
        again = await ex.run(program, version=other, question="q")
    request = again.calls[1].request
    assert isinstance(request, ChatRequest)
    assert request.messages[0].content.startswith(
        "Say it.\n\nA former reply was refused. It was: answer: "
    )
    assert trace.root == lf.replay(trace, program).root


def is_short(_: Mapping[str, Any], outputs: Mapping[str, Any]) -> str | None:
    """Nothing where the answer is short."""
    return None if len(outputs["answer"]) < 4 else f"{len(outputs['answer'])} letters"


def is_lower(_: Mapping[str, Any], outputs: Mapping[str, Any]) -> bool:
    """Whether it is in small letters."""
    return bool(outputs["answer"].islower())


def test_a_retry_says_what_failed() -> None:
    """The problem and the refused reply stand below the last predictor's instruction; passing ends
    it.
    """
    outputs, asked = driven(lf.constrain(TWO, is_short), ["t", "long one", "t", "ok"])
    assert "ok" == outputs.answer
    told = asked[3].messages[0].content
    assert all(part in told for part in ("answer: long one", "8 letters"))
    assert "Think." == asked[2].messages[0].content


def test_checks_go_from_cheap_to_dear() -> None:
    """Functions come before programs, whatever their order, and a failed one saves the rest."""
    dear = lf.predict("dear", "answer -> ok: bool, problem")
    program = lf.constrain(ANSWER, dear, is_short, retries=1)
    said = ["too long", "ok", "[[ok]]\nfalse\n[[problem]]\nit is dull"]
    with pytest.raises(ConstraintFailed, match="8 letters; then it is dull"):
        driven(program, said)


def test_soft_constraints_give_the_attempt_that_passed_most() -> None:
    """And the earlier where they tie."""
    program = lf.constrain(ANSWER, is_short, is_lower, retries=2, hard=False)
    assert "ABC" == driven(program, ["TOO LONG", "ABC", "DEF"])[0].answer


def test_a_hard_constraint_can_be_caught() -> None:
    """It is thrown into flows like a failed call, so a search goes on without the sample."""
    assert (
        "ok"
        == driven(
            lf.best_of_n(lf.constrain(ANSWER, is_short, retries=0), length, n=2), ["too long", "ok"]
        )[0].answer
    )


def test_a_program_without_predictors_is_asked_again_as_it_is() -> None:
    """There is nobody to tell."""
    ways = iter([{"answer": "too long"}, {"answer": "ok"}])
    tool = lf.tool("say", "question -> answer", lambda **_: next(ways), version="1")
    with pytest.raises(ConstraintFailed):
        drive(lf.constrain(tool, is_short, retries=0)(question="q"))
    assert "ok" == drive(lf.constrain(tool, is_short)(question="q")).answer


def test_constraints_name_a_step() -> None:
    """One that there is."""
    with pytest.raises(UnknownInput, match="Did you mean 'think'"):
        lf.constrain(TWO, is_short, step="thnk")
    _, asked = driven(lf.constrain(TWO, is_short, step="think"), ["t", "long one", "t", "ok"])
    assert "refused" in asked[2].messages[0].content
    with pytest.raises(ValueError, match="retries"):
        lf.constrain(ANSWER, is_short, retries=-1)


def test_a_cascade_asks_the_cheap_model_first() -> None:
    """Each model in turn, on all predictors, until one's outputs are accepted; the last is not
    judged.
    """
    program = lf.cascade(TWO, ["a/small", "a/middle", "a/large"], is_lower)
    outputs, asked = driven(program, ["t", "NO", "t", "yes"])
    assert ("yes", ["a/small"] * 2 + ["a/middle"] * 2) == (
        outputs.answer,
        [request.model for request in asked],
    )
    down = ModelFailed("server", "down")
    assert "NO" == driven(program, [down, "t", "NO", "t", "NO"])[0].answer
    assert "NO" == driven(program, ["t", "NO", "t", "NO", down])[0].answer
    with pytest.raises(ValueError, match="at least one model"):
        lf.cascade(ANSWER, [], is_lower)


OTHER = lf.predict("other", "question, hint = '' -> answer, more", "Other.")


def by_length(inputs: Mapping[str, Any]) -> str:
    """A route."""
    return "long" if len(inputs["question"]) > 3 else "nowhere"


def test_a_router_takes_the_route_that_is_chosen() -> None:
    """By a function or a program; outputs are what all routes give."""
    program = lf.router(by_length, {"short": ANSWER, "long": OTHER}, default="short")
    outputs, asked = driven(program, ["[[answer]]\nx\n[[more]]\ny"], question="long one")
    assert ({"answer": "x"}, "Other.") == (
        dict(outputs),
        asked[0].messages[0].content.split("\n")[0],
    )
    assert "short" == driven(program, ["short"], question="q")[0].answer
    chosen = lf.router(lf.predict("choose", "question -> label"), {"short": ANSWER})
    assert "x" == driven(chosen, ["short", "x"])[0].answer


def test_unknown_routes_are_errors() -> None:
    """Of a function a mistake in the program, of a model one in its reply; a default must be a
    route.
    """
    with pytest.raises(UnknownInput):
        driven(lf.router(by_length, {"long": ANSWER}), [])
    with pytest.raises(ParseFailure, match="one of `short`"):
        driven(
            lf.router(lf.predict("choose", "question -> label"), {"short": ANSWER}), ["nonsense"]
        )
    with pytest.raises(UnknownInput):
        lf.router(by_length, {"long": ANSWER}, default="lng")
    with pytest.raises(BadSignature, match="no output in common"):
        lf.router(by_length, {"a": ANSWER, "b": lf.predict("b", "question -> other")})


def test_an_ensemble_votes_under_its_versions() -> None:
    """Each version's instruction is asked; the majority wins, or what a function makes of all."""
    versions = [lf.init(ANSWER).put({"answer.instruction": word}) for word in ("A", "B", "C")]
    outputs, asked = driven(lf.ensemble(ANSWER, versions), ["x", "y", "y"])
    assert ("y", ["A", "B", "C"]) == (
        outputs.answer,
        [request.messages[0].content for request in asked],
    )
    assert "x+y+z" == driven(lf.ensemble(ANSWER, versions, joined), ["x", "y", "z"])[0].answer
    with pytest.raises(ForeignPaths):
        lf.ensemble(ANSWER, [lf.init(TWO)])
    with pytest.raises(ValueError, match="at least one version"):
        lf.ensemble(ANSWER, [])


def joined(outputs: Sequence[lf.Record]) -> lf.Record:
    """All answers in one."""
    return lf.Record(answer="+".join(each.answer for each in outputs))


GROW = lf.predict("grow", "question, word = '' -> letter", "Grow.")


@lf.flow("question, word = '' -> word", uses=[GROW])
async def grown(question: str, word: str) -> str:
    """One letter more."""
    letter: str = (await GROW(question=question, word=word)).letter
    return word + letter


def worth(_: Mapping[str, Any], outputs: Mapping[str, Any]) -> float:
    """The letters' places, the later the better."""
    return float(sum(map(ord, outputs["word"])))


def test_a_beam_keeps_the_best_states() -> None:
    """Breadth samples of each kept state a level; equal states are one; the best of the last level
    is given.
    """
    outputs, asked = driven(
        lf.beam(grown, worth, width=2, depth=2, breadth=3),
        ["a", "c", "b", "x", "y", "z", "p", "q", "z"],
    )
    assert ("cz", 9) == (outputs.word, len(asked))
    assert ["[[word]]\nc"] * 3 + ["[[word]]\nb"] * 3 == [
        last(request).partition("q\n")[2] for request in asked[3:]
    ]
    assert 4 == len(
        driven(lf.beam(grown, worth, width=2, depth=2, breadth=2), ["a", "a", "b", "c"])[1]
    )


def test_a_beam_stops_at_its_threshold() -> None:
    """No level is begun once the best state reaches it; a level that fails leaves the one before."""
    assert 2 == len(
        driven(lf.beam(grown, worth, width=1, depth=3, breadth=2, threshold=98), ["a", "b"])[1]
    )
    down = ModelFailed("server", "down")
    assert (
        "b"
        == driven(lf.beam(grown, worth, width=1, depth=2, breadth=2), ["a", "b", down, down])[
            0
        ].word
    )


@pytest.mark.parametrize("make", [lf.best_of_n, lf.refine])
def test_they_are_drawn(make: Any) -> None:
    """A diagram shows the operator and what it is made of."""
    assert "answer" in str(lf.diagram(make(ANSWER, length, n=3)))


def test_the_threshold_saves_what_the_docstring_says() -> None:
    """Where a sample reaches it with probability p, it takes (1 - (1 - p)**n) / p runs on average."""
    program = lf.best_of_n(ANSWER, length, n=3, threshold=2)
    runs = [len(driven(program, chance)[1]) for chance in itertools.product(("a", "bb"), repeat=3)]
    assert (1 - 0.5**3) / 0.5 == sum(runs) / len(runs)


async def test_credit_sees_every_sample() -> None:
    """What each step was given and gave is found in searches too, so optimizers learn from them."""
    program = lf.best_of_n(TWO, length, n=2)
    async with lf.Executor(lf.scripted(lambda r: r.messages[0].content)) as ex:
        trace = await ex.run(program, question="q")
    assert ["think", "answer"] * 2 == [step.step for step in completed_steps(trace, program)]
