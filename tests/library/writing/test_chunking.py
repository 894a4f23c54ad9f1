"""The laws of cutting: nothing is lost, nothing is too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.library.writing.chunking import group_texts, split_text

TEXT = st.text(alphabet=st.sampled_from("ab. \n!?é。\t"), max_size=200)


@given(text=TEXT, size=st.integers(1, 40))
def test_no_part_is_too_long_and_no_letter_lost(text: str, size: int) -> None:
    """Parts have at most ``size`` characters, no blank ends, and all characters but blanks, in
    order.
    """
    parts = split_text(text, size)
    assert all(0 < len(part) <= size and part == part.strip() for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_paragraphs_stay_whole() -> None:
    """Cut is between paragraphs where they fit, else between sentences, else words."""
    assert ("one two.\n\nthree", "four five six") == split_text(
        "one two.\n\nthree\n\nfour five six", 16
    )
    assert ("One two.", "Three four.") == split_text("One two. Three four.", 12)
    assert ("aaaa", "aa bb") == split_text("aaaaaa bb", 5) or ("aaaaa", "a", "bb") == split_text(
        "aaaaaa bb", 5
    )


def test_a_size_is_at_least_one() -> None:
    """No characters are no part."""
    with pytest.raises(ValueError, match="at least 1"):
        split_text("text", 0)


@given(texts=st.lists(st.text(max_size=30), max_size=12), size=st.integers(1, 60))
def test_packing_keeps_order_and_pairs(texts: list[str], size: int) -> None:
    """All texts in order; every group but the last has at least two, so packing ends in one."""
    groups = group_texts(texts, size)
    assert texts == [text for group in groups for text in group]
    assert all(len(group) >= 2 for group in groups[:-1])
    assert all(
        len(group) == 2 or sum(map(len, group)) <= size for group in groups if len(group) > 1
    )
