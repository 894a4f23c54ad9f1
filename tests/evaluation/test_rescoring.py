"""The laws of scoring recorded runs: pure, at no cost, by the examples' labels."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from scored import STEP, run, trace

import lmflow as lf
from lmflow.data.dataset import Dataset
from lmflow.errors import BadData, MetricFailed
from lmflow.evaluation.rescoring import examples_of, scores_from
from lmflow.metrics import metric_key
from lmflow.traces.addresses import segment
from lmflow.traces.trace import Failed, Run
from lmflow.values.record import Record

EXAMPLES = Dataset("dev", [{"id": name, "question": "?", "answer": "yes"} for name in "abc"])
RUN = run({"a": "yes", "b": "no", "c": Failed("ModelFailed", "down")})


def labelled(*labels: str) -> Run:
    """A run with these labels."""
    return Run("r1", "map", "answer", tuple((label, trace(label, "yes")) for label in labels))


def picky(example: Any, outputs: Any) -> float:
    """A metric that fails on one answer."""
    if outputs.answer == "no":
        raise ZeroDivisionError("it can't divide")
    return float(example.answer == outputs.answer)


def broken(_example: Any, _outputs: Any) -> float:
    """A metric with a mistake in it."""
    raise KeyError("anwser")


def spent(_example: Any, _outputs: Any, trace: Any) -> float:
    """A metric of the trace."""
    return float(sum(call.cost for call in trace.calls))


def test_a_recorded_run_is_scored() -> None:
    """A row a trace, in order, with outputs, score or failure, and the keys of what was scored."""
    found = scores_from(RUN, EXAMPLES, lf.exact_match())
    assert [1.0, 0.0, None] == [row.score.value if row.score else None for row in found.rows]
    assert [None, None, "ModelFailed"] == [
        row.failure.kind if row.failure else None for row in found.rows
    ]
    assert (STEP.key, lf.init(STEP).id, EXAMPLES.digest) == (
        found.program,
        found.version,
        found.dataset,
    )
    assert (lf.exact_match().key, "exact_match") == (found.metric, found.metric_name)
    assert ("r1", RUN.root, "answer") == (found.run, found.run_root, found.name)


def test_scoring_again_gives_the_same() -> None:
    """Scores are a pure function of run, examples and metric."""
    first, again = (scores_from(RUN, EXAMPLES, lf.f1()) for _ in range(2))
    assert (first, first.root) == (again, again.root)


def test_another_metric_is_another_evaluation() -> None:
    """The same run under another metric has another key and root, and the same run root."""
    one, other = (scores_from(RUN, EXAMPLES, metric) for metric in (lf.f1(), lf.contains()))
    assert (one.run_root, True, True) == (
        other.run_root,
        one.metric != other.metric,
        one.root != other.root,
    )


def test_a_bare_function_is_a_metric() -> None:
    """Its key is that of its source."""
    assert metric_key(picky) == scores_from(RUN, EXAMPLES, picky).metric


def test_the_metric_sees_the_trace() -> None:
    """A metric that declares it is given the trace of the row."""
    assert [5.0, 5.0] == [
        row.score.value for row in scores_from(RUN, EXAMPLES, spent).scored if row.score
    ]


def test_a_metric_that_fails_on_a_row_fails_that_row() -> None:
    """The row keeps its outputs and says how the metric failed; it is no zero."""
    found = scores_from(RUN, EXAMPLES, picky)
    row = found.rows[1]
    assert (None, Failed("ZeroDivisionError", "it can't divide"), Record(answer="no")) == (
        row.score,
        row.failure,
        row.outputs,
    )
    assert 1.0 == float(found.mean or 0)


def test_a_metric_that_always_fails_is_an_error() -> None:
    """Failing on every output is a mistake in the metric; the words name the first cause."""
    with pytest.raises(
        MetricFailed,
        match=r"metric broken failed on every example; the first time with KeyError: 'anwser'",
    ):
        scores_from(RUN, EXAMPLES, broken)


def test_a_metrics_words_are_one_line() -> None:
    """An exception of several lines makes an error of one."""
    assert "first time with ValueError: a b" in str(MetricFailed("m", "ValueError", "a\n\n b"))
    assert "\n" not in str(MetricFailed("m", "ValueError", "a\n\n b"))


def test_a_program_that_always_fails_is_no_mistake_of_the_metric() -> None:
    """Without any outputs nothing is scored, and nothing is blamed on the metric."""
    found = scores_from(run({"a": Failed("ModelFailed", "down")}), EXAMPLES, broken)
    assert (None, {"ModelFailed": 1}) == (found.mean, found.failures)


@pytest.mark.parametrize(
    "label", ["ex[b]", "ex[b]/n[2]", "round[3]/cand[1]/ex[b]", "round[3]/cand[1]/ex[b]/n[0]"]
)
def test_an_example_is_found_by_its_label(label: str) -> None:
    """The id stands in ex[...], wherever in the run's tree."""
    assert [EXAMPLES[1]] == examples_of(labelled(label), EXAMPLES)


@pytest.mark.parametrize("name", ["a/b", "a]b", "ex[1]", "ex[1]/n[0]", "ü ?", "50%", "a%2Fb", ""])
def test_any_id_is_found(name: str) -> None:
    """Ids may hold what labels are made of, escaped or not."""
    examples = Dataset("dev", [{"id": "other"}, {"id": name}])
    assert [examples[1]] == examples_of(labelled(f"ex[{name}]"), examples)
    assert [examples[1]] == examples_of(labelled(segment("", "ex", name)), examples)


def test_examples_without_ids_are_found_by_position_or_content() -> None:
    """A map labels them by position, an evaluation by digest."""
    examples = Dataset("dev", [{"q": 1}, {"q": 2}])
    assert [*examples] == examples_of(labelled("ex[0]", f"ex[{examples.ids[1]}]"), examples)


def test_a_position_is_no_id() -> None:
    """Where examples have ids, a label that isn't one finds nothing."""
    with pytest.raises(BadData, match=r"the example of 'ex\[0\]' isn't among those given"):
        examples_of(labelled("ex[0]"), EXAMPLES)


@pytest.mark.parametrize("label", ["ex[d]", "", "round[1]"])
def test_an_unknown_example_is_refused(label: str) -> None:
    """Scores against the wrong data are no scores."""
    with pytest.raises(BadData, match=r"run r1: the example of .* Give the data set that was run"):
        scores_from(labelled(label), EXAMPLES, lf.f1())


def test_a_run_of_several_versions_has_no_one_score() -> None:
    """An optimization's run holds many versions: their mean would mean nothing."""
    other = attrs.evolve(
        trace("t", "yes"), version=lf.init(STEP).put({"answer.instruction": "Think."})
    )
    mixed = attrs.evolve(RUN, items=(*RUN.items[:1], ("ex[b]", other)))
    with pytest.raises(BadData, match="it holds 2 programs or versions"):
        scores_from(mixed, EXAMPLES, lf.f1())


def test_rows_may_be_given_as_mappings() -> None:
    """Examples needn't be a data set yet."""
    rows = [dict(row) for row in EXAMPLES]
    assert scores_from(RUN, EXAMPLES, lf.f1()).rows == scores_from(RUN, rows, lf.f1()).rows


async def test_a_live_run_is_scored_from_what_it_recorded() -> None:
    """What an executor ran is scored without asking again."""
    script = lf.scripted({"1+1": "2", "2+2": "five"})
    rows = [
        {"id": "a", "question": "1+1", "answer": "2"},
        {"id": "b", "question": "2+2", "answer": "4"},
    ]
    async with lf.Executor(script) as ex:
        done = await ex.map(STEP, rows)
    found = scores_from(done, rows, lf.exact_match())
    assert [1.0, 0.0] == [float(row.score or 9) for row in found.rows]
    assert (0, 0) == (found.cost, found.unpriced)
    assert found.root == scores_from(lf.replay(done), rows, lf.exact_match()).root
