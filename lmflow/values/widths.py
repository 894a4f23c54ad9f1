"""The columns that texts take on a terminal, where a Chinese character or an emoji takes two."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

ELLIPSIS = "…"
_JOINER = "\N{ZERO WIDTH JOINER}"
_EMOJI_FORM = "\N{VARIATION SELECTOR-16}"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_JOINED_JAMO = range(0x1160, 0x1200)  # vowels and finals, drawn into the syllable before them
_ZERO_WIDTH = frozenset({"Mn", "Me", "Cf"})


def columns(text: str) -> int:
    r"""Return the number of columns that a text on one line takes.

    Example:
        >>> columns("tea"), columns("お茶"), columns("e\u0301")
        (3, 4, 1)
    """
    return len(text) if text.isascii() else sum(width for _, width in _clusters(text))


def cut(text: str, width: int) -> str:
    """Return a text of at most ``width`` columns, which ends in an ellipsis if it was cut.

    Example:
        >>> cut("お茶を淹れる", 6)
        'お茶…'
    """
    if columns(text) <= width:
        return text
    room, shown = width - 1, ""
    for cluster, taken in _clusters(text):
        if taken > room:
            break
        room -= taken
        shown += cluster
    # A joiner whose second half was cut joins nothing.
    return f"{shown.rstrip(_JOINER)}{ELLIPSIS}" if width > 0 else ""


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return a text filled with spaces to ``width`` columns, on its left side if ``right``."""
    spaces = " " * (width - columns(text))
    return f"{spaces}{text}" if right else f"{text}{spaces}"


def _clusters(text: str) -> Iterator[tuple[str, int]]:
    """Yield each character with the marks that are drawn on it, and the columns that they take."""
    cluster, width = "", 0
    for char in text:
        own = _own_width(char, width)
        if own == 0 and cluster:
            cluster += char
            if char == _EMOJI_FORM:
                width = 2
            continue
        if cluster:
            yield cluster, width
        cluster, width = char, own
    if cluster:
        yield cluster, width


def _own_width(char: str, before: int) -> int:
    """Return the columns of a character behind one that takes ``before`` columns."""
    code = ord(char)
    joined = code in _JOINED_JAMO or (code in _SKIN_TONES and before == 2)  # noqa: PLR2004 - wide
    if joined or unicodedata.category(char) in _ZERO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
