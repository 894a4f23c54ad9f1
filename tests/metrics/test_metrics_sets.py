"""Metrics over sets, rankings and numbers, against values worked by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadScore
from lmflow.metrics import Counts
from lmflow.metrics.numbers import last_number
from lmflow.metrics.sets import cited

close: Any = pytest.approx
ids = st.lists(st.sampled_from("abcdef"), max_size=6)


@pytest.mark.parametrize(
    ("found", "wanted", "score"),
    [
        (["a", "b"], ["b", "c", "d"], 0.4),
        (["b", "a", "a"], ["A ", "b"], 1.0),
        ([], [], 1.0),
        (None, [], 1.0),
        ([], ["a"], 0.0),
        (["a"], [], 0.0),
        ("a", ["a"], 1.0),
        ([1, 2], [2, 1], 1.0),
    ],
)
def test_set_f1(found: Any, wanted: Any, score: float) -> None:
    """2 shared / (found + wanted), without order, repeats, case; 1 where both are empty."""
    assert score == close(lf.set_f1("labels")({"labels": wanted}, {"labels": found}).value)


@given(ids, ids)
def test_set_f1_is_symmetric_and_counts(found: list[str], wanted: list[str]) -> None:
    """Turned round the F1 is the same, and its counts are those of the sets."""
    there, back = (
        lf.set_f1("x")({"x": b}, {"x": a}) for a, b in ((found, wanted), (wanted, found))
    )
    assert there.value == back.value
    assert Counts(len({*found} & {*wanted}), len({*found}), len({*wanted})) == there.counts


@pytest.mark.parametrize(
    ("found", "wanted", "score", "counts"),
    [
        ({"person": ["Ilona"]}, {"person": ["ilona"]}, 1.0, Counts(1, 1, 1)),
        ({"person": ["Ilona"]}, {"misc": ["Ilona"]}, 0.0, Counts(0, 1, 1)),  # the type counts
        ({"city": ["Rome", "Rome"]}, {"city": ["Rome"]}, 2 / 3, Counts(1, 2, 1)),  # repeats count
        ({"date": "next month", "to": "Rome"}, {"date": "next month"}, 2 / 3, Counts(1, 2, 1)),
        ({}, {}, 1.0, Counts(0, 0, 0)),
        ({"a": []}, {}, 1.0, Counts(0, 0, 0)),
        (None, {"a": "b"}, 0.0, Counts(0, 0, 1)),
        ({"n": 3}, {"n": "3"}, 1.0, Counts(1, 1, 1)),
    ],
)
def test_slot_f1(found: Any, wanted: Any, score: float, counts: Counts) -> None:
    """Pairs of slot and value, both exact but for case and white space, with repeats."""
    got = lf.slot_f1()({"slots": wanted}, {"slots": found})
    assert (close(score), counts) == (got.value, got.counts)


def test_slots_are_a_mapping() -> None:
    """A text isn't taken for slots."""
    with pytest.raises(BadScore, match=r"'to Rome' maps no slots to values"):
        lf.slot_f1()({"slots": {}}, {"slots": "to Rome"})


def test_the_feedback_names_what_is_missing_and_wrong() -> None:
    """A reader, or an optimizer, is told which slots to mend."""
    got = lf.slot_f1()(
        {"slots": {"to": "Rome", "on": "Monday"}}, {"slots": {"to": "Roma", "on": "Monday"}}
    )
    assert "missing: to=rome; wrong: to=roma" == got.feedback


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("so it is [3], and [a, b;c].", {"3", "a", "b", "c"}),
        ("[[4]] [ ] []", {"4"}),
        ("none", set()),
        (("x", "y"), {"x", "y"}),
        (None, set()),
        ((), set()),
        ((1, 2), {"1", "2"}),
    ],
)
def test_what_is_cited(text: Any, wanted: set[str]) -> None:
    """Ids in brackets of a text, or those of a list."""
    assert wanted == cited(text)


@pytest.mark.parametrize(
    ("found", "wanted", "precision", "recall"),
    [
        (["a", "b"], ["a", "c", "d"], 0.5, 1 / 3),
        (["a", "a"], ["a"], 1.0, 1.0),
        ([], ["a"], 0.0, 0.0),
        ([], [], 1.0, 1.0),
        (["a"], [], 0.0, 1.0),
        ("both [a] and [b]", ["a", "b"], 1.0, 1.0),
    ],
)
def test_citations(found: Any, wanted: list[str], precision: float, recall: float) -> None:
    """The share of what is cited that should be, and of what should be that is."""
    example, outputs = {"sources": wanted}, {"sources": found}
    assert (precision, close(recall)) == (
        lf.citation_precision()(example, outputs).value,
        lf.citation_recall()(example, outputs).value,
    )


def test_citations_tell_what_to_mend() -> None:
    """The feedback names the ids that are wrong, missing, or that there are none."""
    example = {"sources": ["a", "b"]}
    assert "not a source: x" == lf.citation_precision()(example, {"sources": ["x", "a"]}).feedback
    assert "nothing is cited" == lf.citation_precision()(example, {"sources": []}).feedback
    assert "not cited: b" == lf.citation_recall()(example, {"sources": ["x", "a"]}).feedback


@pytest.mark.parametrize(
    ("k", "ranked", "recall", "rank"),
    [
        (3, ["x", "a", "y", "b"], 0.5, 0.5),
        (4, ["x", "a", "y", "b"], 1.0, 0.5),
        (1, ["x", "a"], 0.0, 0.0),
        (2, ["a", "a", "b"], 0.5, 1.0),  # a repeat takes a place
        (5, [], 0.0, 0.0),
    ],
)
def test_rankings(k: int, ranked: list[str], recall: float, rank: float) -> None:
    """Recall at k is the share of the relevant ids among the first k; the reciprocal rank is of the
    first relevant.
    """
    example, outputs = {"gold_ids": ["a", "b"]}, {"ids": ranked}
    assert (recall, rank) == (
        lf.recall_at_k(k)(example, outputs).value,
        lf.mrr(k=k)(example, outputs).value,
    )


def test_the_reciprocal_rank_looks_everywhere() -> None:
    """Without k all ranks count."""
    assert 0.25 == lf.mrr()({"gold_ids": "b"}, {"ids": ["x", "y", "z", "b"]}).value


@pytest.mark.parametrize("made", [lf.recall_at_k(3), lf.mrr()])
def test_nothing_relevant_is_no_zero(made: Any) -> None:
    """An example without relevant ids has no recall."""
    with pytest.raises(BadScore, match="'gold_ids' is empty"):
        made({"gold_ids": []}, {"ids": ["a"]})


@given(ids.filter(bool), ids, st.integers(1, 6))
def test_recall_grows_with_k(wanted: list[str], ranked: list[str], k: int) -> None:
    """Looking further finds no less."""
    at_k, further = (
        lf.recall_at_k(n)({"gold_ids": wanted}, {"ids": ranked}).value for n in (k, k + 1)
    )
    assert at_k <= further


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 42.", 42),
        ("first 3, then 4", 4),
        ("$1,234.50.", 1234.5),
        ("1,234,567", 1234567),
        ("-7", -7),
        ("-$5 and more", -5),
        ("5-3", 3),
        ("x=-3", -3),
        ("\u22124 °C", -4),
        ("50%", 50),
        (".5", 0.5),
        ("2e3", 2000),
        ("2 eggs", 2),
        ("12:30", 30),
        ("1/2", 2),
        ("#### 18", 18),
        ("1,2", 2),
        ("two", None),
        ("", None),
    ],
)
def test_the_last_number(text: str, number: float | None) -> None:
    """The last number of a text, with sign, thousands and decimals."""
    assert number == last_number(text)


@pytest.mark.parametrize(
    ("answer", "gold", "how", "wanted"),
    [
        ("so 20 days", "20", {}, 1.0),
        ("20.0", 20, {}, 1.0),
        ("20.1", "20", {}, 0.0),
        ("20.1", "20", {"tolerance": 0.2}, 1.0),
        ("101", "100", {"relative": 0.01}, 1.0),
        ("102", "100", {"relative": 0.01}, 0.0),
        ("none", "0", {}, 0.0),
        (3, "it is 3", {}, 1.0),
        ("1e999", "1", {}, 0.0),
    ],
)
def test_numeric(answer: Any, gold: Any, how: dict[str, Any], wanted: float) -> None:
    """1 where the last number is the reference's, exactly or within what is allowed."""
    assert wanted == lf.numeric(**how)({"answer": gold}, {"answer": answer}).value


def test_a_reference_without_number_is_a_mistake() -> None:
    """The example is to be mended; the answer isn't wrong."""
    with pytest.raises(BadScore, match=r"the example's 'answer' has no number \('twenty'\)"):
        lf.numeric()({"answer": "twenty"}, {"answer": "20"})


def test_numeric_tells_both_numbers() -> None:
    """The feedback says what was expected and what was found."""
    made = lf.numeric()
    assert "expected 20, found 21" == made({"answer": "20"}, {"answer": "21"}).feedback
    assert "there is no number in it" == made({"answer": "20"}, {"answer": "many"}).feedback
