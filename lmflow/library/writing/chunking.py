"""Long texts cut into parts where it hurts least: between paragraphs, else sentences, else words."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BORDERS = (
    re.compile(r"(?<=\n)[^\S\n]*\n\s*"),
    re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])"),
    re.compile(r"\s+"),
)


def cut(text: str, size: int) -> tuple[str, ...]:
    """The text's parts of at most ``size`` characters, in order, without the blanks at their
    borders: every other character is in one. What fits together stays together. ``ValueError``
    where ``size`` is below 1.
    """
    if size < 1:
        msg = f"size must be a number of characters, at least 1, found {size}"
        raise ValueError(msg)
    return tuple(part for part in (part.strip() for part in _fit(text, size, 0)) if part)


def packed(texts: Iterable[str], size: int) -> tuple[tuple[str, ...], ...]:
    """Texts in groups, in order: as many together as have at most ``size`` characters, yet at least
    two where there are two.
    """
    groups: list[list[str]] = []
    for text in texts:
        if groups and (len(groups[-1]) < 2 or sum(map(len, groups[-1])) + len(text) <= size):  # noqa: PLR2004 - two
            groups[-1].append(text)
        else:
            groups.append([text])
    return tuple(map(tuple, groups))


def _fit(text: str, size: int, level: int) -> list[str]:
    if len(text.strip()) <= size:
        return [text]
    if level == len(_BORDERS):
        return [text[at : at + size] for at in range(0, len(text), size)]
    return [
        fit for part in _joined(_pieces(text, level), size) for fit in _fit(part, size, level + 1)
    ]


def _pieces(text: str, level: int) -> list[str]:
    """The text cut at all borders of a level; each piece keeps the blanks that follow it."""
    ends = [match.end() for match in _BORDERS[level].finditer(text)]
    return [
        text[start:end]
        for start, end in zip([0, *ends], [*ends, len(text)], strict=True)
        if start < end
    ]


def _joined(pieces: list[str], size: int) -> list[str]:
    whole = [""]
    for piece in pieces:
        if len((whole[-1] + piece).strip()) <= size:
            whole[-1] += piece
        else:
            whole.append(piece)
    return [part for part in whole if part]
