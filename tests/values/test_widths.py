"""The laws of widths: what a terminal shows, cut and padded by columns, not by characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.values.widths import ELLIPSIS, columns, cut, padded

lines = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=40)


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("", 0),
        ("tea", 3),
        ("お茶", 4),
        ("한글", 4),
        ("ｔｅａ", 6),
        ("e\u0301", 1),
        ("🍵", 2),
        ("❤\ufe0f", 2),
        ("👍\U0001f3fd", 2),
        ("\u1112\u1161\u11ab", 2),
        ("é…", 2),
    ],
)
def test_wide_and_combining_characters(text: str, width: int) -> None:
    """Chinese, Korean and emoji take two columns, marks none."""
    assert width == columns(text)


@given(lines, st.integers(1, 30))
def test_a_cut_text_fits(text: str, width: int) -> None:
    """A cut text is at most so wide, is a beginning of the text, and ends in an ellipsis if it was
    cut.
    """
    short = cut(text, width)
    assert columns(short) <= width
    if short != text:
        assert short.endswith(ELLIPSIS)
        assert text.startswith(short.removesuffix(ELLIPSIS))


@given(text=lines, width=st.integers(0, 60), right=st.booleans())
def test_a_padded_text_has_its_width(text: str, width: int, *, right: bool) -> None:
    """Padding fills to the width, and leaves a wider text as it is."""
    filled = padded(text, width, right=right)
    assert max(width, columns(text)) == columns(filled) or text.strip() != text
    assert text in filled


def test_no_mark_is_cut_from_its_letter() -> None:
    """A cut never falls between a letter and the marks on it."""
    assert "e\u0301…" == cut("e\u0301e\u0301e\u0301", 2)
