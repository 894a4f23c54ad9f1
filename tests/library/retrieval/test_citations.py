"""The laws of passages: each once, in order, cited by numbers that are read however they are
written.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.library.retrieval.citations import (
    cited_numbers,
    closest_texts,
    content_words,
    merge_passages,
    renumber_citations,
    round_brackets,
    strip_citations,
    word_overlap,
)
from lmflow.library.retrieval.multi_hop import cited_sources, merge_facts, trace_facts
from lmflow.library.retrieval.rerank import complete_order
from lmflow.library.writing.report import clean_lines

IDS = st.lists(st.sampled_from("abcd"), max_size=6)


@given(old=IDS, new=IDS)
def test_passages_are_gathered_once_in_order(old: list[str], new: list[str]) -> None:
    """Each id where it was found first; gathering again changes nothing."""
    first = merge_passages((), old, old)
    both = merge_passages(first, new, new)
    assert both[: len(first)] == first
    assert len({id_ for id_, _ in both}) == len(both) == len(set(old + new))
    assert both == merge_passages(both, new, new)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a [1].", (1,)),
        ("a [ 2 ] b [1] [2]", (2, 1)),
        ("a [1, 3; 2]", (1, 3, 2)),
        ("[12345678901]", ()),
        ("[x] [-1] [1.5] [] 1", ()),
        ("[[7]]", (7,)),
    ],
)
def test_numbers_are_read_however_they_are_written(text: str, expected: tuple[int, ...]) -> None:
    """In order, each once; what is no list of numbers in square brackets isn't one."""
    assert expected == cited_numbers(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("a [1].", "a."), ("a [1] b", "a b"), ("[1] a", "a"), ("[sic]", "[sic]")]
)
def test_bare_texts_lose_their_marks(text: str, expected: str) -> None:
    """With the blank before each."""
    assert expected == strip_citations(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a[1]b", "a [5]b"),
        ("a [1][2].", "a [5][6]."),
        ("a [9].", "a."),
        ("line\n[1] more", "line\n[5] more"),
        ("[1]", "[5]"),
        ("[9]", ""),
        ("[[9]1]", "(1)"),
    ],
)
def test_citations_are_rewritten(text: str, expected: str) -> None:
    """One blank before each; those without a place are taken out, and nothing else looks like one."""
    assert expected == renumber_citations(text, {1: 5, 2: 6})


def test_plain_texts_cite_nothing() -> None:
    """Their square brackets are round."""
    assert ("(1) x", ()) == (round_brackets("[1] x"), cited_numbers(round_brackets("[1] x")))


@given(
    query=st.text(max_size=20),
    texts=st.lists(st.text(max_size=20), max_size=6),
    k=st.integers(0, 7),
)
def test_the_closest_are_some_of_the_texts(query: str, texts: list[str], k: int) -> None:
    """Positions, each once, with the most of the query's words first, the earlier where they tie."""
    found = closest_texts(query, texts, k)
    shares = [word_overlap(query, texts[at]) for at in found]
    assert len(set(found)) == len(found) == min(k, len(texts))
    assert [(-share, at) for share, at in zip(shares, found, strict=True)] == sorted(
        (-share, at) for share, at in zip(shares, found, strict=True)
    )


def test_small_words_say_nothing() -> None:
    """What a text is about is in its other words."""
    assert frozenset({"tower", "paris"}) == content_words("The Tower of PARIS, the")


def test_facts_are_traced() -> None:
    """By the number that is cited where there is such a passage, else by the words, else not at
    all.
    """
    context, sources = ("the red fox runs", "a blue whale swims"), ("fox", "whale")
    said = ["It runs [2]", "A blue whale [9]", "red fox", "green frog sings", "[1]"]
    assert [("It runs", "whale"), ("A blue whale", "whale"), ("red fox", "fox")] == trace_facts(
        said, context, sources
    )


def test_facts_are_kept_up_to_a_bound() -> None:
    """Those that were found first, each text once, whatever its case."""
    assert (("a", "1"), ("b", "2")) == merge_facts(
        [("a", "1")], [("A", "9"), ("b", "2"), ("c", "3")], 2
    )


def test_answers_cite_facts() -> None:
    """Their passages, each once; numbers that are no fact's are nothing."""
    assert ("p", "q") == cited_sources("x [1][3] [2] [9] [0]", [("f", "p"), ("g", "p"), ("h", "q")])


@given(said=st.lists(st.integers(-2, 8), max_size=8), count=st.integers(0, 6))
def test_an_order_is_a_permutation(said: list[int], count: int) -> None:
    """Whatever numbers a model gives, each position is there once, and those it names come first,
    as it names them.
    """
    found = complete_order(said, count)
    named = list(dict.fromkeys(number - 1 for number in said if 0 < number <= count))
    assert sorted(found) == list(range(count))
    assert named == list(found[: len(named)])


def test_headings_are_lines_that_say_something() -> None:
    """Without marks of lists and headings, without citations, each once, up to a bound."""
    assert ("History", "The tower") == clean_lines(
        ("# History [1]", "* history", "- ", "[2]", "The\ttower", "More"), 2
    )
