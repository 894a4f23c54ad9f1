"""The laws of evaluations: what is counted, what is left out and named, what is unknown, and how it
reads.
"""

from __future__ import annotations

import json
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored import call, evaluation, grouped, trace

from lmflow.errors import BadData
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.rows import Row, row_of
from lmflow.evaluation.stats import mean, wilson
from lmflow.messages.replies import ChatReply, Failure, ToolReply, Usage
from lmflow.messages.requests import ToolRequest
from lmflow.metrics import Counts, Score
from lmflow.traces.trace import CallAttempt, Failed
from lmflow.values.record import Record, canonical

MIXED = evaluation(
    {"a": 1.0, "b": 0.0, "c": None, "d": 1.0}, version="v1:b2:" + "f" * 64, dataset="d"
)
TOOL = CallAttempt(
    "search[0]/call[0]", ToolRequest("search", "id", Record()), "k", 0, ToolReply(("x",)), 0, 1
)
values = st.none() | st.floats(-2, 2)


def of(*rows: Row) -> Evaluation:
    """An evaluation of rows."""
    return Evaluation("answer", rows)


def test_failures_are_no_zeros() -> None:
    """A row without a score is left out of the mean, and counted apart."""
    assert (wilson(2, 3), 3, 1, {"ParseFailure": 1}) == (
        MIXED.mean,
        len(MIXED.scored),
        len(MIXED.failed),
        MIXED.failures,
    )


def test_failures_count_only_where_that_is_asked_for() -> None:
    """What a failure is worth is said at the call."""
    assert (wilson(2, 4), wilson(3, 4)) == (
        MIXED.mean_with_failures_as(0.0),
        MIXED.mean_with_failures_as(1.0),
    )


def test_nothing_scored_has_no_mean() -> None:
    """All rows failed, or none were run: there is no mean, and the words say so."""
    failed = evaluation({"a": None, "b": None})
    assert (None, None) == (failed.mean, of().mean)
    assert "exact_match nothing was scored; 0 scored, 2 failed (ParseFailure 2)" in str(failed)
    assert wilson(0, 2) == failed.mean_with_failures_as(0.0)


def test_samples_of_one_example_are_one_unit() -> None:
    """Two runs of each example are clusters, so repeating adds no certainty."""
    found = of(*evaluation({"a": 1.0, "b": 0.0}).rows, *evaluation({"a": 1.0, "b": 0.0}).rows).mean
    assert found is not None
    assert (2, "clustered t") == (found.n, found.method)


def test_a_field_may_make_clusters() -> None:
    """Questions on one document go together where that is said."""
    rows = grouped([("a", "x", 1.0), ("b", "x", 1.0), ("c", "y", 0.0), ("d", "z", 1.0)])
    assert wilson(3, 4) == rows.mean
    assert mean([1, 1, 0, 1], ["x", "x", "y", "z"]) == rows.clustered("document").mean


def test_clusters_need_their_field() -> None:
    """A field that an example lacks is named with the near one."""
    with pytest.raises(BadData, match=r"no field 'documnt'.*Did you mean 'document'"):
        grouped([("a", "x", 1.0)]).clustered("documnt")


def test_counts_give_the_micro_f1() -> None:
    """The counts of all rows added up: 2 * 3 / (4 + 4), whatever the mean of the rows is."""
    rows = [
        attrs.evolve(row, score=Score(0.5, counts=counts))
        for row, counts in zip(MIXED.rows, [Counts(3, 3, 4), Counts(0, 1, 0)], strict=False)
    ]
    found = of(*rows).micro
    assert found is not None
    assert (0.75, "micro F1", None) == (found.value, found.method, found.low)
    assert "micro F1 0.750" in str(of(*rows))


@pytest.mark.parametrize(("counts", "value"), [((0, 0, 0), 1.0), ((0, 0, 1), 0.0)])
def test_micro_of_nothing(counts: tuple[int, int, int], value: float) -> None:
    """Nothing to find and nothing found is right; without counts there is no micro F1."""
    found = of(attrs.evolve(MIXED.rows[0], score=Score(1.0, counts=Counts(*counts)))).micro
    assert found is not None
    assert value == found.value
    assert MIXED.micro is None


def test_totals() -> None:
    """Cost and tokens add up over all rows, failed ones too."""
    assert (28, 48, 0) == (MIXED.cost, MIXED.tokens, MIXED.unpriced)


@pytest.mark.parametrize(
    ("cost", "text"), [(0, "$0"), (12_345_678, "$0.012"), (1_234_567_890_123, "$1,234.57")]
)
def test_money_in_words(cost: int, text: str) -> None:
    """Dollars and cents, or two digits of what is less than a dollar."""
    assert f"cost {text};" in str(of(attrs.evolve(MIXED.rows[0], cost=cost)))


def test_an_unknown_cost_is_unknown() -> None:
    """One call without a price makes the sum unknown; the words say of how many rows."""
    rows = [attrs.evolve(row, cost=None) if row.id in {"a", "b"} else row for row in MIXED.rows]
    assert (None, 2) == (of(*rows).cost, of(*rows).unpriced)
    assert "cost unknown (2 of 4 rows without a price)" in str(of(*rows))


@pytest.mark.parametrize(
    ("latencies", "wanted"),
    [
        ([3.0], (3.0, 3.0)),
        ([None, 2.0, 1.0], (1.0, 2.0)),
        ([None], None),
        ([*map(float, range(1, 101))], (50.0, 95.0)),
    ],
)
def test_latency_is_the_median_and_the_95th_percentile(latencies: list[Any], wanted: Any) -> None:
    """Of n known latencies, the values that half and 95 % of them don't exceed."""
    rows = [attrs.evolve(MIXED.rows[0], latency=latency) for latency in latencies]
    assert wanted == of(*rows).latency


@pytest.mark.parametrize(
    ("calls", "cost", "tokens"),
    [
        ((), 0, 0),
        ((call(), call(6)), 11, 24),
        ((call(None), call()), None, 24),
        ((TOOL, call()), 5, 12),  # a tool costs nothing and has no tokens
        ((call(usage=Usage()),), 5, None),
        ((call(usage=Usage(prompt=3)),), 5, 3),
        (
            (
                attrs.evolve(
                    call(), outcome=Failure("ModelFailed", Record(kind="server", text="x"))
                ),
            ),
            5,
            0,
        ),
        (
            (attrs.evolve(call(None), outcome=None),),
            None,
            None,
        ),  # started, never ended: maybe billed
    ],
)
def test_what_a_row_took(
    calls: tuple[CallAttempt, ...], cost: int | None, tokens: int | None
) -> None:
    """Every attempt counts; what isn't known of one isn't known of the row."""
    found = row_of("ex[a]", Record(id="a"), trace("t", "x", *calls))
    assert (cost, tokens, 0.5, "t") == (found.cost, found.tokens, found.latency, found.trace)


def test_a_reused_call_was_not_paid() -> None:
    """What came from the store cost nothing now, and says nothing of the time."""
    found = row_of("ex[a]", Record(id="a"), trace("t", "x", call(None, source="old"), call()))
    assert (5, 24, None) == (found.cost, found.tokens, found.latency)


def test_the_programs_failure_comes_first() -> None:
    """A trace without outputs has its own failure and no score; else the metric's failure is the
    row's.
    """
    own, metrics = Failed("ParseFailure", "x"), Failed("KeyError", "y")
    assert own == row_of("l", Record(), trace("t", own), metrics).failure
    assert metrics == row_of("l", Record(), trace("t", "x"), metrics).failure
    assert row_of("l", Record(), trace("t", own), Score(1.0)).score is None


@given(st.lists(values, max_size=5), st.sampled_from(["", "id"]))
def test_an_evaluation_round_trips_by_json(scores: list[float | None], cluster: str) -> None:
    """An evaluation that is stored as JSON is read back with its root."""
    made = evaluation(
        {str(at): score for at, score in enumerate(scores)}, run_root="r", cluster=cluster
    )
    again = Evaluation.from_dict(json.loads(canonical(made.to_dict())))
    assert (made, made.root) == (again, again.root)


def test_counts_and_feedback_round_trip() -> None:
    """Whatever a score holds is kept."""
    row = attrs.evolve(
        MIXED.rows[0], score=Score(0.5, "why", Counts(1, 2, 3)), outputs=Record(answer=("a", 1))
    )
    assert of(row) == Evaluation.from_dict(json.loads(json.dumps(of(row).to_dict())))


def test_an_evaluation_pickles() -> None:
    """A pickled evaluation is equal, and has its root and mean."""
    _ = MIXED.mean
    again = pickle.loads(pickle.dumps(MIXED))  # noqa: S301
    assert (MIXED, MIXED.root, MIXED.mean) == (again, again.root, again.mean)


@pytest.mark.parametrize(
    "change", [{"run_root": "other"}, {"metric": "other"}, {"rows": MIXED.rows[:2]}]
)
def test_the_root_is_run_metric_and_scores(change: dict[str, Any]) -> None:
    """Another run, metric or score is another root; names and costs are not in it."""
    assert MIXED.root != attrs.evolve(MIXED, **change).root
    paid = tuple(attrs.evolve(row, cost=99, latency=9.0) for row in MIXED.rows)
    assert MIXED.root == attrs.evolve(MIXED, name="other", rows=paid).root


def test_an_evaluation_in_words() -> None:
    """What was run, the mean with its interval and method, failures by kind, and what it took."""
    assert [
        "answer, version ffffffffffff, data d",
        "exact_match 0.667 [0.208, 0.939] (Wilson, n 3); 3 scored, 1 failed (ParseFailure 1)",
        "cost $2.8e-08; 48 tokens; latency p50 250 ms, p95 250 ms",
    ] == str(MIXED).splitlines()[:3]
    assert "<Evaluation answer: exact_match 0.667 [0.208, 0.939] (Wilson, n 3); 3 scored" in repr(
        MIXED
    )


def test_the_table_shows_the_worst_first() -> None:
    """Failures, then scores from the least; outputs stand in columns of their own."""
    rows = MIXED.table()
    assert ["c", "b", "a", "d"] == [row["id"] for row in rows]
    assert {
        "id": "c",
        "score": None,
        "feedback": "",
        "failure": "ParseFailure: no answer in it",
    } == rows[0]
    assert ("of b", 0.0) == (rows[1]["answer"], rows[1]["score"])


def test_the_histogram_shows_the_scores() -> None:
    """Only scored rows are in it."""
    assert "0  █ 1\n1  ██ 2" == MIXED.histogram(width=2)


@pytest.mark.parametrize("show", ["_repr_html_", "_repr_markdown_"])
def test_a_notebook_shows_hostile_text_as_text(show: str) -> None:
    """What a model wrote can't be markup on a page."""
    hostile = "<img src=x onerror=alert(1)> | **x** \x1b[31m"
    row = attrs.evolve(MIXED.rows[0], outputs=Record(answer=hostile), score=Score(0.0, hostile))
    page = getattr(attrs.evolve(MIXED, rows=(row,), name=hostile), show)()
    assert not {"<img", "\x1b"} & {part for part in ("<img", "\x1b") if part in page}
    assert "&lt;img" in page


def test_printed_it_shows_bars_and_the_worst_rows() -> None:
    """Below the words stand the histogram and at most twenty rows, the worst first."""
    text = str(evaluation({f"e{at:02}": float(at > 2) for at in range(30)}))
    assert "1  ████████████████████████████████████████ 27" in text.splitlines()
    assert text.index("e00") < text.index("e03")
    assert "… 10 more rows, the better ones" == text.splitlines()[-1]


def test_a_notebook_shows_the_first_rows() -> None:
    """A page holds the words, and at most twenty rows, the worst, and says how many more."""
    page = evaluation({f"e{at:02}": float(at > 2) for at in range(30)})._repr_markdown_()
    rows = [line for line in page.splitlines() if line.startswith("| e")]
    assert (20, True) == (len(rows), rows[0].startswith("| e00 "))
    assert "e29" not in page
    assert "… 10 more rows" == page.splitlines()[-1]


def test_an_empty_evaluation_can_be_shown() -> None:
    """No rows are no error."""
    assert "0 scored, 0 failed" in of()._repr_html_()
    assert "no scores" == of().histogram()


def test_failed_calls_have_replies() -> None:
    """A reply's tokens count also where the row failed afterwards."""
    failed = trace(
        "t",
        Failed("ParseFailure", "x"),
        call(),
        attrs.evolve(call(), outcome=ChatReply("y", usage=Usage(1, 1))),
    )
    assert 14 == row_of("l", Record(), failed).tokens
