"""Citations: the marks ``[n]`` by which models cite passages, and the words that support them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import toolz

CITED = re.compile(r"\[\s*+([0-9]++(?:\s*+[,;]\s*+[0-9]++)*+)\s*+\]")
"""Matches ``[1]``, ``[ 2 ]`` or ``[1, 3]``."""

ENOUGH = 0.5
"""The share of a claim's words for which a text is taken as its source if it cites none."""

_ROUND = str.maketrans("[]", "()")
_DIGITS = 6
_WORD = re.compile(r"\w+")
_STOP_WORDS = frozenset(
    """
    a an and are as at be been but by for from had has have he her his in into is it its of on or
    she that the their there they this to was were which who will with
    """.split()  # noqa: SIM905 - words read better as words
)

Passage = tuple[str, str]
"""The id and the text of a passage."""


def merge_passages(
    old: Iterable[Passage], sources: Iterable[str], context: Iterable[str]
) -> tuple[Passage, ...]:
    """Return old and new passages in the order in which they were found, each id once."""
    return tuple(toolz.unique([*old, *zip(sources, context, strict=False)], key=toolz.first))


def cited_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers that a text cites, in order, each once."""
    numbers = (number for group in CITED.findall(text) for number in _numbers_in(group))
    return tuple(toolz.unique(numbers))


def strip_citations(text: str) -> str:
    """Return the text without its citations."""
    return "".join(word.rstrip(" ") for word in CITED.split(text)[::2]).strip()


def renumber_citations(text: str, places: Mapping[int, int]) -> str:
    """Replace the numbers that a text cites by their places, each written ``[n]``.

    Numbers without a place are removed. Other square brackets become round ones, so every ``[n]``
    of the result is one of ``places``.
    """
    parts = CITED.split(text)
    result = round_brackets(parts[0])
    for group, word in zip(parts[1::2], parts[2::2], strict=True):
        numbers = toolz.unique(places[n] for n in _numbers_in(group) if n in places)
        marks = "".join(f"[{number}]" for number in numbers)
        starts_line = not result.strip() or result.endswith(("\n", "]"))
        space = " " if marks and not starts_line else ""
        result = f"{result.rstrip(' ')}{space}{marks}{round_brackets(word)}"
    return result


def round_brackets(text: str) -> str:
    """Return the text with round brackets instead of square ones, so that it cites nothing."""
    return text.translate(_ROUND)


def content_words(text: str) -> frozenset[str]:
    """Return the words of a text in lower case, without the most common ones."""
    return frozenset(_WORD.findall(text.casefold())) - _STOP_WORDS


def word_overlap(claim: str, text: str) -> float:
    """Return the share of a claim's words that a text has; 0 for a claim without words."""
    words = content_words(claim)
    return len(words & content_words(text)) / len(words) if words else 0.0


def closest_texts(query: str, texts: Sequence[str], k: int) -> list[int]:
    """Return the positions of the ``k`` texts with most of a query's words, earlier ones first."""
    shares = [word_overlap(query, text) for text in texts]
    return sorted(range(len(texts)), key=lambda place: -shares[place])[:k]


def likely_source(claim: str, texts: Sequence[str]) -> int | None:
    """Return the position of the first text with most of a claim's words.

    ``None`` if no text has the share ``ENOUGH`` of them.
    """
    shares = [word_overlap(claim, text) for text in texts]
    most = max(shares, default=0.0)
    return shares.index(most) if most >= ENOUGH else None


def _numbers_in(group: str) -> list[int]:
    return [int(digits) for digits in re.findall("[0-9]+", group) if len(digits) <= _DIGITS]
