"""Passages with their ids as a system gathers them, and the marks ``[n]`` by which a model cites
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import toolz

CITED = re.compile(r"\[\s*+([0-9]++(?:\s*+[,;]\s*+[0-9]++)*+)\s*+\]")
"""``[1]``, ``[ 2 ]`` or ``[1, 3]``."""

_PLAIN = str.maketrans("[]", "()")
_LONGEST = 6
ENOUGH = 0.5
"""The share of a claim's words for which a text is taken as its source where none is cited."""
_WORD = re.compile(r"\w+")
_COMMON = frozenset(
    """
    a an and are as at be been but by for from had has have he her his in into is it its of on or she that the their
    there they this to was were which who will with
    """.split()  # noqa: SIM905 - words read better as words
)

Passage = tuple[str, str]


def gathered(
    old: Iterable[Passage], sources: Iterable[str], context: Iterable[str]
) -> tuple[Passage, ...]:
    """Passages (id, text) in the order in which they were found first, each once."""
    return tuple(toolz.unique([*old, *zip(sources, context, strict=False)], key=toolz.first))


def numbers(text: str) -> tuple[int, ...]:
    """The numbers that a text cites, in order, each once."""
    return tuple(
        toolz.unique(number for group in CITED.findall(text) for number in _numbers(group))
    )


def bare(text: str) -> str:
    """The text without its citations."""
    return "".join(word.rstrip(" ") for word in CITED.split(text)[::2]).strip()


def recited(text: str, places: Mapping[int, int]) -> str:
    """The text with the numbers that it cites replaced, ``[n]`` each; those without a place are
    taken out.

    Other square brackets become round ones, so that every ``[n]`` of the result is one of
    ``places``.
    """
    parts = CITED.split(text)
    whole = parts[0].translate(_PLAIN)
    for group, word in zip(parts[1::2], parts[2::2], strict=True):
        found = toolz.unique(places[number] for number in _numbers(group) if number in places)
        marks = "".join(f"[{number}]" for number in found)
        apart = " " if marks and whole.strip() and not whole.endswith(("\n", "]")) else ""
        whole = f"{whole.rstrip(' ')}{apart}{marks}{word.translate(_PLAIN)}"
    return whole


def plain(text: str) -> str:
    """The text with round brackets for square ones: it cites nothing."""
    return text.translate(_PLAIN)


def words(text: str) -> frozenset[str]:
    """The words of a text that say what it is about, in small letters."""
    return frozenset(_WORD.findall(text.casefold())) - _COMMON


def overlap(claim: str, text: str) -> float:
    """The share of a claim's words that a text has; 0 for a claim without words."""
    wanted = words(claim)
    return len(wanted & words(text)) / len(wanted) if wanted else 0.0


def closest(query: str, texts: Sequence[str], k: int) -> list[int]:
    """The positions of the ``k`` texts that have most of a query's words, the earlier first where
    they tie.
    """
    shares = [overlap(query, text) for text in texts]
    return sorted(range(len(texts)), key=lambda at: -shares[at])[:k]


def behind(claim: str, texts: Sequence[str]) -> list[int]:
    """The position of the text that has most of a claim's words, the first of several; none where
    that is less than ``ENOUGH`` of them.
    """
    shares = [overlap(claim, text) for text in texts]
    most = max(shares, default=0.0)
    return [shares.index(most)] if most >= ENOUGH else []


def _numbers(group: str) -> list[int]:
    return [int(digits) for digits in re.findall("[0-9]+", group) if len(digits) <= _LONGEST]
