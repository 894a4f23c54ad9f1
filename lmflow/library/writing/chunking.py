"""Splits long texts into parts: between paragraphs, else between sentences, else between words."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BORDERS = (
    re.compile(r"(?<=\n)[^\S\n]*\n\s*"),
    re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])"),
    re.compile(r"\s+"),
)
_LEAST_IN_GROUP = 2


def split_text(text: str, size: int) -> tuple[str, ...]:
    """Split a text into parts of at most ``size`` characters, in order; what fits stays together.

    The parts are without the blanks at their borders; every other character is in one of them.
    Raises ``ValueError`` if ``size`` is below 1.
    """
    if size < 1:
        msg = f"size must be a number of characters, at least 1, found {size}"
        raise ValueError(msg)
    parts = (part.strip() for part in _split(text, size, 0))
    return tuple(part for part in parts if part)


def group_texts(texts: Iterable[str], size: int) -> tuple[tuple[str, ...], ...]:
    """Group texts in order, as many together as have at most ``size`` characters, at least two.

    The last group may have one.
    """
    groups: list[list[str]] = []
    for text in texts:
        if groups and _has_room(groups[-1], text, size):
            groups[-1].append(text)
        else:
            groups.append([text])
    return tuple(map(tuple, groups))


def _has_room(group: list[str], text: str, size: int) -> bool:
    return len(group) < _LEAST_IN_GROUP or sum(map(len, group)) + len(text) <= size


def _split(text: str, size: int, level: int) -> list[str]:
    """Split a text at the borders of a level, and each part that is still too long at the next."""
    if len(text.strip()) <= size:
        return [text]
    if level == len(_BORDERS):
        return [text[start : start + size] for start in range(0, len(text), size)]
    parts: list[str] = []
    for part in _join(_pieces(text, level), size):
        parts += _split(part, size, level + 1)
    return parts


def _pieces(text: str, level: int) -> list[str]:
    """Return the text cut at all borders of a level; each piece keeps the blanks that follow it."""
    ends = [match.end() for match in _BORDERS[level].finditer(text)]
    starts = [0, *ends]
    pieces = (text[start:end] for start, end in zip(starts, [*ends, len(text)], strict=True))
    return [piece for piece in pieces if piece]


def _join(pieces: list[str], size: int) -> list[str]:
    """Join neighbouring pieces as long as they fit together."""
    parts = [""]
    for piece in pieces:
        if len((parts[-1] + piece).strip()) <= size:
            parts[-1] += piece
        else:
            parts.append(piece)
    return [part for part in parts if part]
