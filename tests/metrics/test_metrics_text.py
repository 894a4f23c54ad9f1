"""Metrics over short answers, against values worked by hand from the official definitions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.metrics import FunctionMetric
from lmflow.metrics.text import holds, normalized, token_f1, words

close: Any = pytest.approx
texts = st.text(st.sampled_from("aA the.cat, 'éß\u0301\u2028İ7-"), max_size=12)


def value(metric: FunctionMetric, answer: Any, gold: Any) -> float:
    """The score of an answer against a reference."""
    return metric({"answer": gold, "answers": gold}, {"answer": answer, "context": answer}).value


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The  Cat.", "cat"),
        ("a.b", "ab"),
        ("U.S.A.", "usa"),
        ("an apple a day, the end", "apple day end"),
        ("Theatre", "theatre"),
        ("the-end", "theend"),
        ("don't", "dont"),
        ("«Ça va»", "«ça va»"),
        ("“x”", "“x”"),
        ("\tnew\nline\u00a0", "new line"),
        ("the", ""),
        ("?!", ""),
        ("", ""),
    ],
)
def test_normalization_is_squads(text: str, wanted: str) -> None:
    """Lower case, then ASCII punctuation away (nothing in its place), then a, an, the as words,
    then white space.
    """
    assert wanted == normalized(text)


@given(texts)
def test_normalization_is_settled(text: str) -> None:
    """But for articles that it brings together, normalizing twice is normalizing once."""
    once = normalized(text)
    assert once.split() == once.split(" ") or once == ""
    assert normalized(normalized(once)) == normalized(once) or "a" in text.lower()


@pytest.mark.parametrize(
    ("answer", "gold", "wanted"),
    [
        ("The Cat!", "cat", 1.0),
        ("cats", "cat", 0.0),
        ("cat", ["dog", "Cat"], 1.0),
        ("cat", [], 0.0),
        ("", "", 1.0),
        ("the", "", 1.0),
        (42, "42", 1.0),
        (True, True, 1.0),
        (True, "true", 1.0),
        (None, "", 1.0),
        ("x", None, 0.0),
    ],
)
def test_exact_match(answer: Any, gold: Any, wanted: float) -> None:
    """1 where the normalized texts are equal, for one of several accepted answers."""
    assert wanted == value(lf.exact_match(), answer, gold)


@pytest.mark.parametrize(
    ("answer", "gold", "wanted"),
    [
        ("Cat", "cat", 0.0),
        ("cat", "cat", 1.0),
        (1, True, 0.0),
        (1, 1.0, 0.0),
        (("a",), ("a",), 1.0),
        ("a", ("b", "a"), 1.0),
    ],
)
def test_exact_match_of_the_values_themselves(answer: Any, gold: Any, wanted: float) -> None:
    """Without normalization values are compared as they are, by their canonical form."""
    assert wanted == value(lf.exact_match(normalize=False), answer, gold)


def test_exact_match_reads_the_fields_it_is_told() -> None:
    """The output and the reference may have different names."""
    assert 1.0 == lf.exact_match("label", "gold")({"gold": "a b"}, {"label": "B"}).value


def test_a_wrong_answer_is_told_what_was_expected() -> None:
    """The feedback names the accepted answers; a right one has none."""
    made = lf.exact_match()
    answers = {"answer": ["cat", "dog"]}
    assert ("expected cat or dog", "") == (
        made(answers, {"answer": "x"}).feedback,
        made(answers, {"answer": "dog"}).feedback,
    )


@pytest.mark.parametrize(
    ("answer", "gold", "wanted"),
    [
        ("the cat sat", "a cat sat down", 0.8),  # 2 shared of 2 and 3
        ("cat cat", "cat", 2 / 3),  # 1 shared of 2 and 1
        ("cat cat", "cat cat dog", 0.8),  # 2 of 2 and 3
        ("dog", "cat", 0.0),
        ("", "", 0.0),
        ("the", "the", 0.0),
        ("cat", ["dog", "big cat", "cat"], 1.0),
        ("Barack Obama", "Obama", 2 / 3),
    ],
)
def test_f1_is_squads(answer: str, gold: Any, wanted: float) -> None:
    """The F1 of token multisets, the best of the accepted answers, 0 where none is shared
    (evaluate-v1.1.py).
    """
    assert wanted == close(value(lf.f1(), answer, gold))


@given(texts, texts)
def test_f1_is_symmetric_and_bounded(one: str, other: str) -> None:
    """F1 lies between 0 and 1 whichever side is the reference, and is 1 only for equal multisets."""
    found = token_f1(one, other)
    assert found == token_f1(other, one)
    assert 0 <= found <= 1
    assert (found == 1) == (
        sorted(normalized(one).split()) == sorted(normalized(other).split()) != []
    )


@pytest.mark.parametrize(
    ("answer", "gold", "em", "f1"),
    [
        ("", [], 1.0, 1.0),  # unanswerable, and not answered
        ("the", [], 1.0, 1.0),  # nothing is left of it
        ("x", [], 0.0, 0.0),
        ("", ["x"], 0.0, 0.0),
        ("", ["", "x"], 0.0, 0.0),  # empty answers among others don't count
        ("x", ["...", "x"], 1.0, 1.0),
        ("x", ["..."], 0.0, 0.0),
        ("big cat", ["cat", "dog"], 0.0, 2 / 3),
    ],
)
def test_squad_2(answer: str, gold: list[str], em: float, f1: float) -> None:
    """Where no accepted answer is left the question has none, and only an empty output is right
    (evaluate-v2.0.py).
    """
    assert (em, close(f1)) == (
        value(lf.squad_em(), answer, gold),
        value(lf.squad_f1(), answer, gold),
    )


def test_squad_2_says_that_there_is_no_answer() -> None:
    """The feedback for an unanswerable question says so."""
    assert "expected no answer" == lf.squad_f1()({"answers": []}, {"answer": "x"}).feedback
    assert "expected no answer" == lf.squad_em()({"answers": []}, {"answer": "x"}).feedback


@pytest.mark.parametrize(
    ("answer", "gold", "em", "f1"),
    [
        ("Yes.", "yes", 1.0, 1.0),
        ("yes", "no", 0.0, 0.0),
        ("yes it is", "yes", 0.0, 0.0),  # SQuAD's F1 would be 0.5
        ("no", "no way", 0.0, 0.0),
        ("noanswer", "none", 0.0, 0.0),
        ("yes it is", "yes it was", 0.0, 2 / 3),  # neither is just yes
        ("Kim Sung-su", "Kim Sung su", 0.0, 0.4),  # kim sungsu, kim sung su
    ],
)
def test_hotpot(answer: str, gold: str, em: float, f1: float) -> None:
    """A yes, no or noanswer that isn't the same on both sides scores 0 (hotpot_evaluate_v1.py)."""
    assert (em, close(f1)) == (
        value(lf.hotpot_em(), answer, gold),
        value(lf.hotpot_f1(), answer, gold),
    )


@pytest.mark.parametrize(
    ("answer", "gold", "wanted"),
    [
        ("It is the Eiffel Tower, in Paris.", "Eiffel Tower", 1.0),
        ("concatenate", "cat", 0.0),
        ("tower Eiffel", "Eiffel tower", 0.0),
        ("a dog", ["cat", "dog"], 1.0),
        ("cat", "", 0.0),
        ("", "cat", 0.0),
    ],
)
def test_contains(answer: str, gold: Any, wanted: float) -> None:
    """A run of whole words; an empty reference is held by nothing."""
    assert wanted == value(lf.contains(), answer, gold)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't stop!", ["don", "'", "t", "stop", "!"]),
        ("3.5 kg", ["3", ".", "5", "kg"]),
        ("Café", ["cafe\u0301"]),
        ("a_b", ["a", "_", "b"]),
        ("x\u200by\u00a0z", ["x", "y", "z"]),
        ("--", ["-", "-"]),
        ("", []),
    ],
)
def test_words_are_dprs(text: str, tokens: list[str]) -> None:
    """Runs of letters, digits and marks, and each other visible character alone; decomposed, lower
    case.
    """
    assert tokens == words(text)


@pytest.mark.parametrize(
    ("passages", "gold", "wanted"),
    [
        (["nothing", "the capital is Paris."], "paris", 1.0),
        (["Parisian"], "Paris", 0.0),
        (["caf\u00e9"], "cafe\u0301", 1.0),
        (["a", "b"], "a b", 0.0),  # not across passages
        (["the end"], "end", 1.0),
        (["an end"], "the end", 0.0),  # articles count here
        ([], "x", 0.0),
        ("one passage", ["x", "passage"], 1.0),
    ],
)
def test_passage_match(passages: Any, gold: Any, wanted: float) -> None:
    """1 where one passage holds an accepted answer's tokens in a row (DPR's has_answer)."""
    assert wanted == value(lf.passage_match(), passages, gold)


@given(
    st.lists(st.sampled_from("ab")),
    st.lists(st.sampled_from("ab")),
    st.lists(st.sampled_from("ab"), min_size=1),
)
def test_a_run_is_held_where_it_was_put(
    before: list[str], after: list[str], run: list[str]
) -> None:
    """What stands between other tokens is found."""
    assert holds([*before, *run, *after], run)
    assert not holds([*before, *after], [*run, "c"])
