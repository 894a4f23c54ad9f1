"""The words of calls as PostgreSQL's full-text search takes them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from lmflow.stores.postgres.words import LAST_POSITION, matched, vector
from lmflow.stores.sqlite.full_text import fold

_ENTRY = re.compile(r"[^\W_]+:[0-9]+")


def test_words_have_no_case_and_no_accents() -> None:
    """A word is found however it is written."""
    assert "gruner:1 tee:2 2:4 min:5" == vector("Grüner TEE!", "2 min")
    assert "(gruner <-> tee) & (min:*)" == matched(["grüner Tee", "min*"])


def test_no_phrase_crosses_from_prompt_to_answer() -> None:
    """There is a gap between the last word of the prompt and the first of the answer."""
    positions = [int(entry.partition(":")[2]) for entry in vector("a b", "c").split()]
    assert [1, 2, 4] == positions


def test_signs_are_no_words() -> None:
    """A query of signs alone looks for nothing; so does none."""
    assert ("", "") == (matched(["?!", "'"]), matched([]))


@given(st.text(), st.text())
def test_each_word_of_a_text_is_in_its_vector(asked: str, answered: str) -> None:
    """A vector has words of letters and digits with positions that PostgreSQL keeps."""
    entries = vector(asked, answered).split(" ") if vector(asked, answered) else []
    assert all(_ENTRY.fullmatch(entry) for entry in entries)
    assert all(1 <= int(entry.rpartition(":")[2]) <= LAST_POSITION for entry in entries)
    words = {entry.rpartition(":")[0] for entry in entries}
    assert {fold(word)[:500] for word in re.findall("[a-zA-Z0-9]{3,}", asked)} <= words or (
        not asked.isascii()
    )


@given(st.lists(st.text(max_size=20), max_size=3))
def test_a_query_has_no_signs_of_its_own(words: list[str]) -> None:
    """Whatever is looked for, no sign of it is one of the query language."""
    lexemes = re.sub(r" <-> | & |:\*|[()]", " ", matched(words)).split()
    assert all(re.fullmatch(r"[^\W_]+", lexeme) for lexeme in lexemes)
