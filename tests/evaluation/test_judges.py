"""The laws of judges: programs like any others, whose verdicts are scores."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from driving import addresses, drive
from scored import run

import lmflow as lf
from lmflow.data.dataset import Dataset
from lmflow.errors import BadScore, MetricFailed, MissingInput
from lmflow.evaluation.judges import Judge, evaluation_by_judge
from lmflow.metrics import Score
from lmflow.programs.program import Program
from lmflow.traces.trace import Failed
from lmflow.values.record import Record

READS = {
    "question": "example.question",
    "reference": "example.answer",
    "response": "outputs.answer",
}
CHECK = lf.predict("check", "question, response -> verdict: bool, why", "Say whether it is right.")


def sections(**values: str) -> str:
    """A reply in marked sections."""
    return "\n".join(f"[[{name}]]\n{value}" for name, value in values.items())


def semantic(reference: str, missing: str, response: str, unsupported: str) -> Record:
    """What semantic_f1 makes of a model's lists."""
    reply = sections(
        reference_ideas=reference, missing=missing, response_ideas=response, unsupported=unsupported
    )
    return drive(lf.semantic_f1(question="q", reference="r", response="s"), lambda _: reply)


@pytest.mark.parametrize(
    ("lists", "score"),
    [
        (('["a", "b"]', "[]", '["a", "b"]', "[]"), 1.0),
        (('["a", "b"]', '["b"]', '["a"]', "[]"), 2 / 3),  # recall 1/2, precision 1
        (('["a", "b"]', '["b"]', '["a", "c"]', '["c"]'), 0.5),
        (('["a"]', '["a"]', '["c"]', '["c"]'), 0.0),
        (('["a"]', '["a"]', "[]", "[]"), 0.0),  # nothing said
        (('["a"]', '["a", "x"]', '["c"]', "[]"), 0.0),  # more missing than there are
    ],
)
def test_semantic_f1_counts_ideas(lists: tuple[str, str, str, str], score: float) -> None:
    """The model lists, the code counts: the harmonic mean of the shares that are covered and
    supported.
    """
    assert pytest.approx(score) == semantic(*lists).score


def test_semantic_f1_says_what_to_mend() -> None:
    """The feedback names the ideas that are missing and those that the reference doesn't have."""
    assert (
        "missing: b; unsupported: c, d"
        == semantic('["a", "b"]', '["b"]', '["a", "c", "d"]', '["c", "d"]').feedback
    )


def test_a_reference_without_ideas_has_no_score() -> None:
    """A judge that finds nothing to compare with fails, and isn't a score of 0."""
    with pytest.raises(BadScore, match="no idea in the reference"):
        semantic("[]", "[]", '["a"]', "[]")


@pytest.mark.parametrize(
    ("claims", "unsupported", "score", "feedback"),
    [
        ('["a", "b", "c", "d"]', '["d"]', 0.75, "unsupported: d"),
        ('["a"]', "[]", 1.0, ""),
        ('["a"]', '["a"]', 0.0, "unsupported: a"),
        ("[]", "[]", 1.0, ""),  # it claims nothing
    ],
)
def test_grounded(claims: str, unsupported: str, score: float, feedback: str) -> None:
    """The share of the claims that the context supports."""
    reply = sections(claims=claims, unsupported=unsupported)
    found = drive(lf.grounded(context=["c"], response="r"), lambda _: reply)
    assert Record(score=score, feedback=feedback) == found


def prefers(text: str) -> Any:
    """A judge of pairs that finds one text better, wherever it stands."""
    return lambda asked: sections(
        reason="r",
        better="first"
        if asked.index("[[first]]") < asked.index(text) < asked.index("[[second]]")
        else "second",
    )


@pytest.mark.parametrize(("text", "winner"), [("good", "a"), ("poor", "b")])
def test_pairwise_finds_the_better_one(text: str, winner: str) -> None:
    """A judge that means it says the same in both orders."""
    found = drive(lf.pairwise(question="q", a="good", b="poor"), prefers(text))
    assert (winner, "r / r") == (found.winner, found.feedback)


@pytest.mark.parametrize("place", ["first", "second", "tie"])
def test_pairwise_is_not_fooled_by_the_order(place: str) -> None:
    """A judge that prefers a place, or none, gives a tie."""
    reply = sections(reason="r", better=place)
    assert "tie" == drive(lf.pairwise(question="q", a="x", b="y"), lambda _: reply).winner


def test_pairwise_asks_in_both_orders() -> None:
    """Two calls side by side, each at its own address."""
    asked: list[str] = []

    def answer(text: str) -> str:
        asked.append(text)
        return sections(reason="r", better="tie")

    where = addresses(lf.pairwise(question="q", a="one", b="two"), answer)
    assert 2 == len(where) == len({*where})
    assert [True, False] == [text.index("one") < text.index("two") for text in asked]


@pytest.mark.parametrize("judge", [lf.semantic_f1, lf.grounded, lf.pairwise])
def test_judges_can_be_tuned(judge: Program) -> None:
    """Their prompts are parameters, and they pickle like any program."""
    assert [path for path in judge.paths if path.endswith(".instruction")]
    assert judge == pickle.loads(pickle.dumps(judge))  # noqa: S301


def test_a_judge_reads_example_and_outputs() -> None:
    """Each input of the program comes from a field of either side."""
    judge = lf.Judge(lf.semantic_f1, reads=READS)
    inputs = judge.inputs({"question": "q", "answer": "r"}, {"answer": "s"})
    assert Record(question="q", reference="r", response="s") == inputs


def test_a_judge_gives_score_and_feedback() -> None:
    """Its program's output is the score, a bool too; the feedback comes along."""
    judge = Judge(CHECK, reads={"question": "example.question", "response": "outputs.answer"}, score_from="verdict",
                  feedback_from="why")  # fmt: skip
    assert Score(1.0, "because") == judge.score({"verdict": True, "why": "because"})
    assert Score(0.5) == Judge(lf.semantic_f1, reads=READS).score({"score": 0.5})


def test_a_scale_makes_words_scores() -> None:
    """A label is read through the scale; one that it lacks is no score."""
    reads = {"question": "example.question", "a": "outputs.answer", "b": "example.answer"}
    judge = Judge(lf.pairwise, reads=reads, score_from="winner", scale={"a": 1, "tie": 0.5, "b": 0})
    assert [1.0, 0.5, 0.0] == [judge.score({"winner": name}).value for name in ("a", "tie", "b")]
    with pytest.raises(BadScore, match=r"it said 'c'. Its scale has a, tie, b"):
        judge.score({"winner": "c"})


def test_what_a_judge_is_keyed_by() -> None:
    """Program, parameters and ways are the key; a version that says the same has the same."""
    judge = Judge(lf.semantic_f1, reads=READS)
    tuned = lf.init(lf.semantic_f1).put({"compare_ideas.instruction": "Compare."})
    others = [
        Judge(lf.semantic_f1, tuned, reads=READS),
        Judge(lf.semantic_f1, reads=READS, scale={"1": 1}),
    ]
    assert judge.key == Judge(lf.semantic_f1, lf.init(lf.semantic_f1), reads=READS).key
    assert 3 == len({judge.key, *(other.key for other in others)})
    assert (tuned, lf.init(lf.semantic_f1)) == (others[0].under, judge.under)
    assert judge == pickle.loads(pickle.dumps(judge))  # noqa: S301


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (
            {"reads": {"question": "example.question", "reference": "example.answer"}},
            "needs the input 'response'",
        ),
        (
            {"reads": READS | {"response": "output.answer"}},
            r"reads 'response' from 'output.answer'. Write \"example.FIELD\"",
        ),
        ({"reads": READS | {"response": "outputs"}}, "reads 'response' from 'outputs'"),
        ({"reads": READS, "score_from": "scor"}, "has no output 'scor'. Did you mean 'score'"),
        ({"reads": READS, "score_from": "verdict"}, "It has score, feedback: score_from="),
    ],
)
def test_a_judge_that_cannot_work(how: dict[str, Any], words: str) -> None:
    """A mistake is named where the judge is made, before anything is asked."""
    with pytest.raises((MissingInput, BadScore), match=words):
        Judge(lf.semantic_f1, **how)


def test_a_judge_names_the_field_that_is_missing() -> None:
    """A row that lacks what the judge reads is a mistake with a hint."""
    with pytest.raises(
        MissingInput,
        match=r"judge semantic_f1 needs the input 'outputs.answer'; given: `outputs.anwser`",
    ):
        Judge(lf.semantic_f1, reads=READS).inputs({"question": "q", "answer": "r"}, {"anwser": "s"})


EXAMPLES = Dataset("dev", [{"id": name, "question": f"{name}?", "answer": "yes"} for name in "abc"])
RUN = run({"a": "yes", "b": "no", "c": Failed("ModelFailed", "down")})
RIGHT = Judge(CHECK, reads={"question": "example.question", "response": "outputs.answer"}, score_from="verdict",
              feedback_from="why")  # fmt: skip


async def verdicts(script: Any) -> dict[str, lf.Trace]:
    """The judge's traces of the rows that have outputs, by label."""
    rows = dict(
        zip([label for label, _ in RUN.items], zip(EXAMPLES, RUN.traces, strict=True), strict=True)
    )
    asked = {
        label: RIGHT.inputs(row, found.outputs)
        for label, (row, found) in rows.items()
        if found.outputs is not None
    }
    async with lf.Executor(lf.scripted(script)) as ex:
        done = await ex.map(RIGHT.program, [*asked.values()])
    return dict(zip(asked, done.traces, strict=True))


async def test_a_judged_run_is_an_evaluation() -> None:
    """The verdicts are the scores, the program's failures stay failures, and the judge's key is the
    metric's.
    """
    found = evaluation_by_judge(
        RUN,
        EXAMPLES,
        RIGHT,
        await verdicts(
            {"a?": sections(verdict="yes", why="so"), "b?": sections(verdict="no", why="not")}
        ),
    )
    assert [Score(1.0, "so"), Score(0.0, "not"), None] == [row.score for row in found.rows]
    assert (RIGHT.key, "check", {"ModelFailed": 1}) == (
        found.metric,
        found.metric_name,
        found.failures,
    )


async def test_a_judge_that_fails_on_a_row_fails_that_row() -> None:
    """A verdict that can't be read is no zero, a row that wasn't judged neither."""
    asked = await verdicts(
        {"a?": sections(verdict="yes", why="so"), "b?": "?", "That could not be read": "?"}
    )
    found = evaluation_by_judge(RUN, EXAMPLES, RIGHT, asked)
    assert {"ParseFailure": 1, "ModelFailed": 1} == found.failures
    assert {"Unjudged": 1, "ModelFailed": 1} == evaluation_by_judge(
        RUN, EXAMPLES, RIGHT, {"ex[a]": asked["ex[a]"]}
    ).failures


async def test_a_judge_that_always_fails_is_an_error() -> None:
    """As with any metric, failing on everything is a mistake."""
    with pytest.raises(
        MetricFailed, match="metric check failed on every example; the first time with ParseFailure"
    ):
        evaluation_by_judge(RUN, EXAMPLES, RIGHT, await verdicts({"": "?"}))
