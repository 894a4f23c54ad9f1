"""The laws of evaluations as rows: every row has all columns, JSON values alone, and its score."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored import evaluation

import lmflow as lf
from lmflow.errors import ForeignFile, ModelFailed
from lmflow.evaluation.rows import Row
from lmflow.metrics import Score

ANSWER = lf.predict("answer", "question, picture: Image -> answer, tags: list[str]")
ROWS = [
    {"id": f"e{n}", "question": f"{n}?", "picture": lf.Image(b"GIF89a..."), "answer": "fine"}
    for n in range(3)
]


async def scored(*metrics: Any) -> lf.Evaluation:
    """An evaluation with a picture, a list, and a row whose model fails."""

    def reply(request: Any) -> str:
        if "1?" in request.messages[-1].content:
            raise ModelFailed("request", "no", 400)
        return "[[answer]]\nfine\n\n[[tags]]\n- a\n- b"

    async with lf.Executor(lf.scripted(reply), prices=lambda *_: 7) as ex:
        return await ex.evaluate(ANSWER, ROWS, metrics[0] if len(metrics) == 1 else list(metrics))


async def test_rows_have_all_columns() -> None:
    """Id, label, example, outputs, score, feedback, failure, cost, tokens, seconds, trace; in this
    order, and what a row lacks is None.
    """
    rows = (await scored(lf.exact_match("answer"))).to_dicts()
    assert [
        "id", "label", "example.id", "example.question", "example.picture", "example.answer",
        "outputs.answer", "outputs.tags", "score", "feedback", "failure", "cost", "tokens",
        "seconds", "trace",
    ] == list(rows[0])  # fmt: skip
    assert {tuple(rows[0])} == {tuple(row) for row in rows}
    first, failed, _ = rows
    assert ("e0", "ex[e0]", "0?", "fine", ["a", "b"], 1.0, None, 7) == tuple(
        first[name]
        for name in ("id", "label", "example.question", "outputs.answer", "outputs.tags", "score", "failure", "cost")
    )  # fmt: skip
    assert "image/gif" == first["example.picture"]["media_type"]
    assert first["seconds"] > 0
    assert (None, None) == (failed["outputs.answer"], failed["score"])
    assert failed["failure"].startswith("ModelFailed: ")
    assert rows == json.loads(json.dumps(rows))


def test_a_field_that_the_first_example_lacks_has_its_place() -> None:
    """The order of the columns does not depend on which row has a value."""
    rows = (
        Row("ex[a]", lf.Record(id="a")),
        Row("ex[b]", lf.Record(id="b", hint="h"), lf.Record(answer="4"), Score(1.0)),
    )
    names = list(lf.Evaluation("demo", rows).to_dicts()[0])
    assert ["id", "label", "example.id", "example.hint", "outputs.answer", "score"] == names[:6]


def test_columns_of_numbers_without_a_value_have_a_mean() -> None:
    """In a table of pandas, unknown numbers are NaN, not objects, in every row too."""
    pandas = pytest.importorskip("pandas")
    table = lf.Evaluation("demo", (Row("ex[a]", lf.Record(id="a")),)).to_pandas()
    assert all(pandas.isna(table[name].mean()) for name in ("score", "cost", "tokens", "seconds"))


async def test_each_metric_has_its_columns() -> None:
    """The primary metric's columns have no suffix, the others' their names."""
    evaluation = await scored(lf.exact_match("answer"), lf.f1("answer"))
    other = evaluation.metrics[1]
    (row, *_) = evaluation.to_dicts()
    assert (1.0, 1.0) == (row["score"], row[f"score.{other}"])
    assert {"score", "feedback", "failure", f"score.{other}", f"feedback.{other}", f"failure.{other}"} <= set(row)  # fmt: skip


@given(st.lists(st.none() | st.floats(0, 1), max_size=5))
def test_scores_are_those_of_the_rows(scores: list[float | None]) -> None:
    """In order, one row each."""
    rows = evaluation({str(n): score for n, score in enumerate(scores)}).to_dicts()
    assert scores == [row["score"] for row in rows]


async def test_an_evaluation_comes_back() -> None:
    """It equals that of its JSON values, which name its mean and root; a changed one is refused."""
    made = await scored(lf.exact_match("answer"), lf.f1("answer"))
    data = json.loads(json.dumps(made.to_dict()))
    again = lf.Evaluation.from_dict(data)
    assert (made, made.root) == (again, again.root)
    assert made.mean is not None
    assert (made.mean.value, made.root) == (data["mean"]["value"], data["root"])
    data["rows"][0]["score"]["value"] = 0.5
    with pytest.raises(ForeignFile, match="its root is"):
        lf.Evaluation.from_dict(data)


async def test_a_cluster_that_no_example_has_is_refused() -> None:
    """The cluster is not part of the root, so it is looked for in the examples."""
    whole = (await scored(lf.exact_match("answer"))).to_dict()
    with pytest.raises(ForeignFile, match="every example has the cluster's field 'doc'"):
        lf.Evaluation.from_dict({**whole, "cluster": "doc"})


async def test_a_comparison_becomes_json() -> None:
    """Verdict, difference, pairs and what was left out."""
    made = await scored(lf.exact_match("answer"))
    comparison = lf.compare(made, made)
    data = json.loads(json.dumps(comparison.to_dict()))
    assert comparison.verdict == data["verdict"]
    assert [["e0", 1.0, 1.0], ["e2", 1.0, 1.0]] == [
        [pair["id"], pair["a"], pair["b"]] for pair in data["pairs"]
    ]
    with pytest.raises(TypeError, match="can't be made of JSON values"):
        lf.Comparison.from_dict(data)


async def test_fastapi_encodes_an_evaluation() -> None:
    """``jsonable_encoder`` writes it as ``to_dict`` does."""
    encoders = pytest.importorskip("fastapi.encoders", reason="fastapi is not installed")
    made = await scored(lf.exact_match("answer"))
    assert made.to_dict() == encoders.jsonable_encoder(made)


async def test_a_table_of_pandas_has_the_same_rows() -> None:
    """Its columns are those of ``to_dicts``, and scores are numbers."""
    pytest.importorskip("pandas", reason="pandas is not installed")
    made = await scored(lf.exact_match("answer"))
    table = made.to_pandas()
    assert list(made.to_dicts()[0]) == list(table.columns)
    assert (3, 1.0, 1) == (len(table), table["score"].mean(), table["score"].isna().sum())
    assert ["a", "b"] == table["outputs.tags"][0]
    assert 0 == len(lf.Evaluation("none", ()).to_pandas())


def test_without_pandas_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ImportError says what to install, and what works without."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    row = Row("ex[a]", lf.Record(id="a"), lf.Record(answer="4"), Score(1.0))
    with pytest.raises(ImportError, match=r"pip install pandas\. evaluation\.to_dicts\(\)"):
        lf.Evaluation("answer", (row,)).to_pandas()
