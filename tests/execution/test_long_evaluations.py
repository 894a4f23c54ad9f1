"""The laws of long evaluations: they are what a held one is, and hold numbers of what is done."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import BadData, MetricFailed, MissingInput
from lmflow.evaluation.rows import Row
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.traces.paged import HELD, Paged
from lmflow.traces.trace import Trace

pytestmark = pytest.mark.usefixtures("unseen")

ANSWER = lf.predict("answer", "question -> answer", "Answer in a word.")
GRADE = lf.predict("grade", "question, response -> verdict: Literal['yes', 'no']")
JUDGE = lf.Judge(
    GRADE,
    reads={"question": "example.question", "response": "outputs.answer"},
    score_from="verdict",
    scale={"yes": 1, "no": 0},
)
COUNT = HELD + 30


def _rows(count: int = COUNT) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {"question": f"q{n}.", "answer": f"A{n % 3}", "document": n // 4}


def _reply(request: ChatRequest) -> Any:
    text = request.messages[-1].content
    if "[[response]]" in text and "q13." not in text:
        return ChatReply("yes" if "A1" in text else "no", model="m", usage=Usage(9, 1))
    number = int(re.findall(r"q(\d+)\.", text)[0])
    if number == 7 or "[[response]]" in text:
        return lf.errors.ModelFailed("refusal", "no")
    return ChatReply(f"A{number % 2}", model="m", usage=Usage(10, 2))


def overlap(example: Any, outputs: Any) -> lf.metrics.Score:
    """Score with feedback and counts, so that all that a score has is compared; it fails once."""
    if example["question"] == "q11.":
        raise ValueError("eleven")
    right = int(example["answer"] == outputs["answer"])
    counts = lf.metrics.Counts(right, 1, 1)
    return lf.metrics.Score(0.25 + right / 2, f"said {outputs['answer']}", counts)


METRICS = [overlap, lf.exact_match("answer"), JUDGE]


async def _evaluated(
    store: Any, rows: Any, metrics: Any = METRICS, **options: Any
) -> lf.Evaluation:
    async with lf.Executor(lf.scripted(_reply), store, prices=lambda *_: 5) as ex:
        return await ex.evaluate(ANSWER, rows, metrics, progress=lf.silent, **options)


@pytest.fixture(scope="module")
def held() -> lf.Evaluation:
    """An evaluation that is held as a whole, since no store can give its rows back."""
    return asyncio.run(_evaluated(None, list(_rows()), cluster="document"))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the evaluation ``read``."""
    return tmp_path_factory.mktemp("long") / "s.db"


@pytest.fixture(scope="module")
def read(path: Path) -> lf.Evaluation:
    """The same evaluation of an iterator, whose rows are read back."""
    with lf.SqliteStore(path) as store:
        return asyncio.run(_evaluated(store, _rows(), cluster="document"))


def _row_facts(row: Row) -> list[Any]:
    """What a row is but for ids and times."""
    result = [row.score, row.failure, row.scores, row.failures]
    return [row.label, row.example, row.outputs, *result, row.cost, row.tokens]


def _facts(evaluation: lf.Evaluation) -> dict[str, Any]:
    """What an evaluation says but for ids and times."""
    return {
        "root": evaluation.root,
        "means": evaluation.means,
        "failures as 0": evaluation.mean_with_failures_as(0.0),
        "micro": evaluation.micro,
        "failures": dict(evaluation.failures),
        "spent": (evaluation.cost, evaluation.unpriced, evaluation.tokens, evaluation.judging),
        "data": (evaluation.dataset, evaluation.run_root, evaluation.version, evaluation.program),
        "metrics": (evaluation.metric, evaluation.metrics, evaluation.others),
        "roots": [evaluation.by(name).root for name in evaluation.metrics],
        "histogram": evaluation.histogram(),
        "headline": evaluation.headline,
        "worst": str(evaluation).split("\n\n")[-1],
        "failed": [row.label for row in evaluation.failed],
        "scored": len(evaluation.scored),
    }


def test_an_evaluation_that_is_read_is_the_one_that_is_held(
    held: lf.Evaluation, read: lf.Evaluation
) -> None:
    """Roots, means with their intervals, failures, costs and what is printed are the same."""
    assert isinstance(read.rows, Paged)
    assert not isinstance(held.rows, Paged)
    assert _facts(held) == _facts(read)


def test_its_rows_are_read(held: lf.Evaluation, read: lf.Evaluation) -> None:
    """Each row has the example, the outputs, and the scores and failures by each metric."""
    assert list(map(_row_facts, held.rows)) == list(map(_row_facts, read.rows))
    for name in held.metrics:
        one, other = held.by(name), read.by(name)
        assert list(map(_row_facts, one.rows)) == list(map(_row_facts, other.rows))
        assert one.mean == other.mean


def test_its_json_is_read_back(read: lf.Evaluation) -> None:
    """What is written holds all rows, and is the same evaluation again."""
    again = lf.Evaluation.from_dict(json.loads(json.dumps(read.to_dict())))
    assert COUNT == len(again.rows)
    assert (read.root, read.mean) == (again.root, again.mean)


def test_it_is_compared_exactly(held: lf.Evaluation, read: lf.Evaluation) -> None:
    """Pairs, interval and p are those of held evaluations."""
    one, other = held.by("overlap"), read.by("overlap")
    assert _compared(one, one) == _compared(one, other)


def _compared(one: lf.Evaluation, other: lf.Evaluation) -> list[Any]:
    comparison = lf.compare(one, other)
    return [comparison.test, len(comparison.pairs), comparison.failed_a, comparison.failed_b]


def test_other_clusters_are_told_apart(held: lf.Evaluation, read: lf.Evaluation) -> None:
    """Another cluster gives another interval, the same as for held rows."""
    assert held.clustered("answer").mean == read.clustered("answer").mean


async def test_samples_of_an_example_are_one_unit(tmp_path: Path) -> None:
    """Each example is run several times, and counts once in the interval."""
    metric = lf.exact_match("answer")
    held = await _evaluated(None, list(_rows()), metric, samples=2)
    with lf.SqliteStore(tmp_path / "s.db") as store:
        read = await _evaluated(store, _rows(), metric, samples=2)
    assert (held.root, held.mean, 2 * COUNT) == (read.root, read.mean, len(read))
    assert read.mean is not None
    assert "clustered t" == read.mean.method
    assert list(map(_row_facts, held.rows[-3:])) == list(map(_row_facts, read.rows[-3:]))


async def _later(count: int) -> AsyncIterator[dict[str, Any]]:
    for row in _rows(count):
        yield row


async def test_few_examples_may_come_later() -> None:
    """Examples of an asynchronous generator are evaluated as those of a list are."""
    metric = lf.exact_match("answer")
    held, read = (
        await _evaluated(None, list(_rows(3)), metric),
        await _evaluated(None, _later(3), metric),
    )
    assert _facts(held) == _facts(read)


async def test_what_is_done_is_let_go(tmp_path: Path) -> None:
    """While 2,000 examples are evaluated, few examples, traces and rows are alive, and none after."""
    alive: list[Counter[str]] = []
    asked = 0

    def reply(_: ChatRequest) -> str:
        nonlocal asked
        asked += 1
        if asked % 400 == 0:
            alive.append(_alive())
        return "A1"

    before = _alive()
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(lf.scripted(reply), store) as ex:
            metric = lf.exact_match("answer")
            evaluation = await ex.evaluate(ANSWER, _rows(2000), metric, progress=lf.silent)
        alive.append(_alive())
    assert 2000 == len(evaluation)
    for counts in alive:
        assert {name for name, count in (counts - before).items() if count > HELD / 2} == set()


def _alive() -> Counter[str]:
    gc.collect()
    kinds = (Trace, Row, lf.Record)
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds))


async def test_a_second_evaluation_refers_to_the_first(tmp_path: Path) -> None:
    """Nothing is sent again, and root, scores and the rows' executions are the same, also if the
    examples come later. They are a data set of the store.
    """
    metric = lf.exact_match("answer")
    with lf.SqliteStore(tmp_path / "s.db") as store:
        first, second = [await _evaluated(store, rows, metric) for rows in (_rows(), _later(COUNT))]
        assert first.root == second.root == store.run(second.run).result
        assert (1, 0, 0) == (first.unpriced, second.unpriced, second.cost)
        assert first.rows[-1].trace == second.rows[-1].trace
        kept = store.dataset(second.dataset)
        assert second.dataset == store.run(second.run).config["data"] == kept.digest
        assert lf.Dataset("rows", list(_rows())).examples == kept.examples


async def test_bad_examples_send_nothing(tmp_path: Path) -> None:
    """Each example is checked before anything is sent, and no run is left."""
    bad = {
        BadData: {"question": "q3.", "answer": "A0", "document": 0},
        MissingInput: {"answer": "x"},
        TypeError: "x",
    }
    with lf.SqliteStore(tmp_path / "s.db") as store:
        for error, row in bad.items():
            with pytest.raises(error):
                await _evaluated(store, iter([*_rows(), row]), lf.exact_match("answer"))
        assert [] == list(store.runs())
        with store.reading() as reader:
            assert () == reader.check().problems


async def test_a_metric_that_always_fails_is_an_error(tmp_path: Path) -> None:
    """The run is stopped, and the error names the first failure."""

    def never(_: Any, __: Any) -> float:
        raise ValueError("no")

    with lf.SqliteStore(tmp_path / "s.db") as store:
        with pytest.raises(MetricFailed, match="no"):
            await _evaluated(store, _rows(), never)
        assert ["stopped"] == [run.status for run in store.runs()]
