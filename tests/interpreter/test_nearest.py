"""The laws of what is nearest: by shared words, in one order everywhere, never the very same
inputs.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmflow.interpreter.nearest import nearest_by_words
from lmflow.values.record import Record

TEXTS = st.text(alphabet="ab cd.\n", max_size=12)


def pool(*questions: str) -> tuple[Record, ...]:
    """Demonstrations that ask these questions."""
    return tuple(Record(question=question, answer=f"of {question}") for question in questions)


def asked(found: tuple[Record, ...]) -> list[str]:
    """The questions of demonstrations, in order."""
    return [demo.question for demo in found]


def test_the_nearest_is_last() -> None:
    """What shares most words stands next to the question, then what shares fewer."""
    held = pool("my card was lost", "where is my card", "transfer money", "card lost abroad")
    found = nearest_by_words(held, {"question": "I lost my card abroad"}, ("question",), 2)
    assert ["my card was lost", "card lost abroad"] == asked(found)


def test_rare_words_count_more() -> None:
    """A word that few demonstrations have tells more than one that all have."""
    held = pool("the card the card", "the visa", "the card here", "the card there")
    assert ["the visa"] == asked(
        nearest_by_words(held, {"question": "the visa card"}, ("question",), 1)
    )


def test_ties_go_by_the_order_of_the_pool() -> None:
    """Where nothing tells demonstrations apart, the earlier of the pool are taken."""
    assert ["b", "a"] == asked(
        nearest_by_words(pool("a", "b", "c"), {"question": "z"}, ("question",), 2)
    )


def test_nothing_is_shown_its_own_answer() -> None:
    """A demonstration of the very inputs that are asked is left out, also where it is the only one."""
    assert ["b a"] == asked(nearest_by_words(pool("a", "b a"), {"question": "a"}, ("question",), 2))
    assert [] == asked(nearest_by_words(pool("a"), {"question": "a"}, ("question",), 2))


def test_an_empty_pool_gives_nothing() -> None:
    """Without demonstrations, and with ones that have no words, there is still an answer."""
    assert () == nearest_by_words((), {"question": "a"}, ("question",), 3)
    assert ["..."] == asked(nearest_by_words(pool("..."), {"question": "a"}, ("question",), 3))


def test_only_inputs_are_compared() -> None:
    """Words of a demonstration's answer make it no nearer: at run time there is no answer to
    compare with.
    """
    held = (Record(question="x", answer="lost card"), Record(question="card", answer="y"))
    assert ["card"] == asked(nearest_by_words(held, {"question": "lost card"}, ("question",), 1))


def test_what_is_no_text_is_compared_as_it_is_written() -> None:
    """Lists and numbers count by the words of their JSON; fields that a demonstration lacks count
    nothing.
    """
    held = (
        Record(items=("tea", "milk"), answer="1"),
        Record(items=("car",), answer="2"),
        Record(answer="3"),
    )
    (found,) = nearest_by_words(held, {"items": ("black", "tea")}, ("items",), 1)
    assert "1" == found.answer


@given(st.lists(TEXTS, max_size=8, unique=True), TEXTS, st.integers(1, 5))
def test_it_takes_of_the_pool_as_many_as_there_are(
    questions: list[str], question: str, k: int
) -> None:
    """It gives ``k`` of the pool, or all but the very same inputs, each once; asked again it gives
    the same.
    """
    held = pool(*questions)
    found = nearest_by_words(held, {"question": question}, ("question",), k)
    others = [demo for demo in held if demo.question != question]
    assert min(k, len(others)) == len(found)
    assert set(found) <= set(others)
    assert len(found) == len(set(found))
    assert found == nearest_by_words(list(held), Record(question=question), ("question",), k)


@given(st.lists(TEXTS, min_size=1, max_size=8, unique=True), TEXTS)
def test_more_neighbours_keep_the_nearer_ones(questions: list[str], question: str) -> None:
    """The k nearest are the last k of the k + 1 nearest."""
    held = pool(*questions)
    fewer, more = (nearest_by_words(held, {"question": question}, ("question",), k) for k in (2, 3))
    assert fewer == more[-len(fewer) :] if fewer else not more
