"""The words of calls as PostgreSQL's full-text search takes them: vectors and queries as texts.

The words are split and folded here, not by a configuration of the server, so that a search finds
the same calls in each store, whatever the language of the database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lmflow.stores.bigrams import phrase
from lmflow.stores.sqlite.full_text import fold, is_prefix

LAST_POSITION = 16_383
"""The last position that PostgreSQL keeps; later words are found, but not in phrases."""

LONGEST_WORD = 500
"""Characters of a word that are indexed, of at most four bytes each: PostgreSQL takes 2 kB."""

MOST_WORDS = 60_000
"""Words of a text that are indexed: a vector may have 1 MB."""

_PLAIN = re.compile(r"[a-z0-9]+")
_WORD = re.compile(r"[^\W_]+")


def vector(asked: str, answered: str) -> str:
    """Return the words of two texts with their positions; no phrase crosses from one into the
    other.
    """
    first, second = _words(asked), _words(answered)
    start = len(first) + 2
    entries = [*_entries(first, 1), *_entries(second, start)]
    return " ".join(entries)


def matched(words: Iterable[str]) -> str:
    """Return the query for texts with all words, empty if there is no word in them."""
    return " & ".join(filter(None, map(_phrase, words)))


def _phrase(word: str) -> str:
    spelled, is_beginning = phrase(word)
    folded = _words(spelled)
    if not folded:
        return ""
    if is_beginning or is_prefix(word):
        folded[-1] += ":*"
    return f"({' <-> '.join(folded)})"


def _words(text: str) -> list[str]:
    """Return the words of a text without case and accents."""
    if text.isascii():
        words = _PLAIN.findall(text.lower())
    else:
        words = [part for word in _WORD.findall(text) for part in _WORD.findall(fold(word))]
    return [word[:LONGEST_WORD] for word in words[:MOST_WORDS]]


def _entries(words: Sequence[str], start: int) -> list[str]:
    return [f"{word}:{min(at, LAST_POSITION)}" for at, word in enumerate(words, start)]
