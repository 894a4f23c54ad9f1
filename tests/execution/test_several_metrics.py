"""The laws of evaluations by several metrics: what holds for one holds for each of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import (
    BadData,
    BadScore,
    BudgetExceeded,
    MetricFailed,
    ModelFailed,
    NotComparable,
)
from lmflow.evaluation.evaluation import Evaluation
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.models.scripted import ScriptedAnswer

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
GRADE = lf.predict("grade", "question, response -> verdict: Literal['yes', 'no'], why", "Grade.")
JUDGE = lf.Judge(
    GRADE,
    reads={"question": "example.question", "response": "outputs.answer"},
    score_from="verdict",
    feedback_from="why",
    scale={"yes": 1, "no": 0},
)
ROWS = [{"id": f"e{n}", "question": f"q{n}", "answer": f"A q{n}"} for n in range(8)]
FAILING = "q7"


def length(_: lf.Record, outputs: lf.Record) -> lf.Score:
    """The share of 10 characters, with a reason; it can't score the second answer."""
    if outputs.answer == "A q1":
        raise ValueError("no length")
    return lf.Score(len(outputs.answer) / 10, "characters")


METRICS: list[Any] = [lf.exact_match(), lf.f1(), JUDGE, length]
NAMES = ("exact_match", "f1", "grade", "length")


def _reply(request: ChatRequest) -> ScriptedAnswer:
    text = request.messages[-1].content
    if "Grade." in request.messages[0].content:
        return ChatReply(
            "[[verdict]]\nyes\n[[why]]\nbrief", model="scripted/model", usage=Usage(10, 2)
        )
    if FAILING in text:
        return ModelFailed("refusal", "no")
    number = next(row["question"] for row in ROWS if row["question"] in text)
    answer = f"A {number}" if number in {"q1", "q2"} else f"It is a {number}"
    return ChatReply(answer, model="scripted/model", usage=Usage(20, 4))


MODEL = lf.scripted(_reply)


def _price(_: str, usage: Usage, __: int) -> int:
    return (usage.prompt or 0) + (usage.completion or 0)


async def _evaluated(metric: Any, store: Any = None, **options: Any) -> lf.Evaluation:
    async with lf.Executor(MODEL, store, prices=_price) as ex:
        return await ex.evaluate(ANSWER, ROWS, metric, **options)


@pytest.fixture(scope="module")
def several() -> lf.Evaluation:
    """An evaluation by three metrics and a judge."""
    return asyncio.run(_evaluated(METRICS))


@pytest.mark.parametrize("at", range(len(METRICS)))
def test_each_metric_is_as_if_it_were_alone(several: lf.Evaluation, at: int) -> None:
    """The same root, mean, interval, failures and rows as the evaluation by that metric."""
    alone = asyncio.run(_evaluated(METRICS[at]))
    one = several.by(NAMES[at])
    assert alone.root == one.root
    assert (alone.mean, alone.failures) == (one.mean, one.failures)
    assert [row.score for row in alone.rows] == [row.score for row in one.rows]
    assert [row.failure for row in alone.rows] == [row.failure for row in one.rows]
    assert several.means[NAMES[at]] == alone.mean


def test_the_first_is_primary(several: lf.Evaluation) -> None:
    """The mean, the headline and the order of rows are the first metric's."""
    assert NAMES == several.metrics
    assert several.by("exact_match").mean == several.mean
    assert several.by("exact_match").headline == several.headline


def test_another_may_be_named_primary(several: lf.Evaluation) -> None:
    """``primary=`` puts a metric first; the others keep their order."""
    named = asyncio.run(_evaluated(METRICS, primary="grade"))
    assert ("grade", "exact_match", "f1", "length") == named.metrics
    assert several.by("grade").root == named.by("grade").root


def test_a_mapping_names_them() -> None:
    """Two metrics of one kind differ in name, in the store too."""
    store = lf.MemoryStore()
    metrics = {"strict": lf.exact_match(normalize=False), "loose": lf.exact_match()}
    found = asyncio.run(_evaluated(metrics, store))
    assert ("strict", "loose") == found.metrics
    scores = store.scores(found.rows[2].trace)
    assert {("strict", 1.0), ("loose", 1.0)} == {(score.name, score.value) for score in scores}


def test_one_under_a_name_is_one() -> None:
    """A mapping of one metric gives it a name, and no other root."""
    named = asyncio.run(_evaluated({"quality": lf.f1()}))
    assert ("quality",) == named.metrics
    assert asyncio.run(_evaluated(lf.f1())).root == named.root
    assert asyncio.run(_evaluated([lf.f1()])).root == named.root


def test_the_table_has_a_column_for_each(several: lf.Evaluation) -> None:
    """The primary score is ``score``; the others are ``score.NAME``, with feedback and failure."""
    cells = {row["id"]: row for row in several.table()}
    assert (1.0, 1.0, 1.0) == tuple(
        cells["e2"][name] for name in ("score", "score.f1", "score.grade")
    )
    assert ("characters", "brief") == (
        cells["e2"]["feedback.length"],
        cells["e2"]["feedback.grade"],
    )
    assert "ValueError: no length" == cells["e1"]["failure.length"]
    assert None is cells["e1"]["score.length"]


def test_every_page_shows_each(several: lf.Evaluation) -> None:
    """Text, Markdown and HTML have a line and a column for each metric."""
    for page in (str(several), several._repr_html_(), several._repr_markdown_()):
        for name in ("f1", "grade", "length"):
            assert name in page.replace("\\", "")
            assert f"score.{name}" in page.replace("\\", "")


def test_json_comes_back(several: lf.Evaluation) -> None:
    """Scores and failures by name survive JSON."""
    back = Evaluation.from_dict(json.loads(json.dumps(several.to_dict())))
    assert (several.root, several.rows, several.metrics) == (back.root, back.rows, back.metrics)
    assert several.cost == back.cost


async def test_more_metrics_pay_for_nothing_again() -> None:
    """An evaluation by further metrics reuses the calls; a further judge pays for its own."""
    store = lf.MemoryStore()
    async with lf.Executor(MODEL, store) as ex:
        await ex.evaluate(ANSWER, ROWS, lf.exact_match())
        before = ex.spent.calls
        await ex.evaluate(ANSWER, ROWS, [lf.exact_match(), lf.f1(), length])
        assert before == ex.spent.calls
        await ex.evaluate(ANSWER, ROWS, [lf.f1(), JUDGE])
        assert before + 7 == ex.spent.calls


async def test_what_judges_cost_is_counted() -> None:
    """``cost`` and ``tokens`` have the judges' part, which ``judging`` tells."""
    async with lf.Executor(MODEL, prices=_price) as ex:
        found = await ex.evaluate(ANSWER, ROWS[:7], METRICS)
    assert (7 * 12, 7 * 12) == (found.judging.cost, found.judging.tokens)
    assert (7 * 24 + 7 * 12, 7 * 24 + 7 * 12) == (found.cost, found.tokens)
    assert ", of which $8.4e-08 on judging; 252 tokens" in str(found)


async def test_judges_count_in_the_budget() -> None:
    """A budget that the program alone fits into stops the judging, and resumes for the rest."""
    store = lf.MemoryStore()
    async with lf.Executor(MODEL, store, concurrency=1) as ex:
        with pytest.raises(BudgetExceeded):
            await ex.evaluate(ANSWER, ROWS, METRICS, budget=lf.Budget(calls=10))
        run = store.runs()[0]
        assert ("stopped", 10) == (run.status, ex.spent.calls)
        again = await ex.evaluate(ANSWER, ROWS, METRICS, of=run.id)
    assert (await _evaluated(METRICS)).root == again.root
    assert 8 + 7 == ex.spent.calls


async def test_two_judges_judge_side_by_side() -> None:
    """Each has traces of its own in the run, under its name."""
    store = lf.MemoryStore()
    strict = lf.Judge(
        GRADE,
        lf.init(GRADE).put({"grade.instruction": "Grade. Be strict."}),
        reads=JUDGE.reads,
        score_from="verdict",
        scale={"yes": 0.5, "no": 0},
    )
    async with lf.Executor(MODEL, store) as ex:
        found = await ex.evaluate(ANSWER, ROWS, {"kind": JUDGE, "strict]/x": strict})
    assert (1.0, 0.5) == tuple(mean.value for mean in found.means.values() if mean)
    labels = [label for label, _ in store.run(found.run).items]
    assert "ex[e0]/judge[kind]" in labels
    assert "ex[e0]/judge[strict%5D%2Fx]" in labels


def test_comparisons_take_each_shared_metric(several: lf.Evaluation) -> None:
    """The primary metric decides, the others have a line each; another may be named."""
    other = asyncio.run(_evaluated([lf.f1(), length, lf.exact_match()]))
    found = lf.compare(several, other)
    assert ("exact_match", ["f1", "length"]) == (found.metric, [o.metric for o in found.others])
    assert "\nf1: can't tell" in str(found)
    assert "length" == lf.compare(several, other, metric="length").metric
    alone = asyncio.run(_evaluated(lf.f1()))
    assert ["f1", "f1"] == [lf.compare(several, alone).metric, lf.compare(alone, several).metric]
    with pytest.raises(NotComparable, match="two metrics"):
        lf.compare(several, other, metric="grade")
    with pytest.raises(BadData, match=r"it has no metric 'lenght'\. Did you mean 'length'"):
        lf.compare(several, other, metric="lenght")


async def test_recorded_runs_are_scored_by_several() -> None:
    """``scores_from`` takes several metrics too, and comes to the same."""
    async with lf.Executor(MODEL, lf.MemoryStore()) as ex:
        run = await ex.map(ANSWER, ROWS)
        evaluation = await ex.evaluate(ANSWER, ROWS, [lf.f1(), length])
    again = lf.scores_from(run, ROWS, [lf.f1(), length])
    assert [row.scores for row in evaluation.rows] == [row.scores for row in again.rows]
    assert ("length", "f1") == lf.scores_from(
        run, ROWS, [lf.f1(), length], primary="length"
    ).metrics


def fails(example: lf.Record, _: lf.Record) -> float:
    """A metric that is wrong."""
    return float(example["gone"])


@pytest.mark.parametrize(
    ("metrics", "error", "words"),
    [
        ([], ValueError, r"found no metric\. Give one, lf\.exact_match"),
        ({}, ValueError, "found no metric"),
        (
            [lf.exact_match(), lf.exact_match(normalize=False)],
            ValueError,
            r'2 metrics are called exact_match\. Name them: \{"exact_match": exact_match\(',
        ),
        ({"a": lf.f1(), "b": lf.f1()}, ValueError, "metrics a and b are the same. Leave one out"),
        ({lf.f1(), length}, TypeError, r"a set of metrics has no first .*Give a list: \[a, b\]"),
        (
            [lf.f1(), "answer"],
            TypeError,
            r"found the text 'answer'\. .*lf\.exact_match\('answer'\)",
        ),
        (
            [lf.f1(), lf.exact_match("label")],
            BadScore,
            r"exact_match: it reads the output 'label', which answer does not give\. There are answer",
        ),
        (
            [lf.f1(), lf.exact_match(gold="label")],
            BadScore,
            r"it reads the field 'label', which no example has.*lf\.exact_match\(gold=",
        ),
    ],
)
async def test_a_mistake_is_named_before_anything_is_sent(
    metrics: Any, error: type[Exception], words: str
) -> None:
    """With what was found and the line that mends it."""
    async with lf.Executor(MODEL) as ex:
        with pytest.raises(error, match=words):
            await ex.evaluate(ANSWER, ROWS, metrics)
        assert 0 == ex.spent.calls


async def test_a_metric_that_fails_on_all_is_refused() -> None:
    """Also if it isn't the primary one; its name is told."""
    with pytest.raises(MetricFailed, match="metric fails failed on every example"):
        await _evaluated([lf.f1(), fails])


async def test_a_primary_that_is_none_of_them_is_named() -> None:
    """With the nearest name."""
    with pytest.raises(ValueError, match=r"primary='lenght' is none of .*Did you mean 'length'"):
        await _evaluated([lf.f1(), length], primary="lenght")


async def test_an_optimizer_maximizes_one() -> None:
    """Several metrics are refused before anything is sent."""
    data, several_metrics = lf.Data(ROWS[:2], ROWS[2:4], ROWS[4:]), METRICS[:2]
    async with lf.Executor(MODEL) as ex:
        with pytest.raises(TypeError, match=r"an optimizer maximizes one metric, found list of 2"):
            await ex.optimize(lf.random_search(), ANSWER, data, several_metrics)  # type: ignore[arg-type]
        assert 0 == ex.spent.calls


def test_one_metric_keeps_its_settings(tmp_path: Path) -> None:
    """The run of an evaluation by one metric has the settings that it always had."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        one = asyncio.run(_evaluated(lf.f1(), store))
        settings = store.run(one.run).config
    assert {"data", "metric", "version", "samples", "python"} == set(settings)
    assert {"program", "metric", "script", "fields", "ref", "budget"} == set(settings["python"])
