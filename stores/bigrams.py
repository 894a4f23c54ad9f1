"""Bigrams for scripts that are written without spaces between words.

SQLite's tokenizer takes a run of Chinese, Japanese, Thai, Lao, Khmer, Burmese or Tibetan for one
word, so that only the whole run would be found. Each run is indexed as its overlapping pairs of
characters instead (bigrams, as Lucene's CJK analyzer does), and a word of a query is the phrase of
its pairs: it is found wherever it stands in a run. The last character of a run is indexed alone
too, so that each character begins a token, and a single one is found by that beginning.

Korean is split the same way. It has spaces, but particles and endings are attached to words:
``서울`` is found in ``서울에서`` by its pair, at the price of a few more hits.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator

_RANGES = (
    ("\u0e00", "\u0eff"),  # Thai, Lao
    ("\u0f00", "\u0fff"),  # Tibetan
    ("\u1000", "\u109f"),  # Myanmar
    ("\u1100", "\u11ff"),  # Hangul letters
    ("\u1780", "\u17ff"),  # Khmer
    ("\u1950", "\u19ff"),  # Tai Le, New Tai Lue, Khmer symbols
    ("\u1a20", "\u1aaf"),  # Tai Tham
    ("\u1b00", "\u1b7f"),  # Balinese
    ("\u2e80", "\u2fdf"),  # radicals of Han
    ("\u3005", "\u3007"),  # repetition mark, closing mark, zero
    ("\u3021", "\u3029"),  # numerals
    ("\u302a", "\u302f"),  # tone marks
    ("\u3031", "\u303c"),  # repetition marks, more numerals
    ("\u3041", "\u30ff"),  # Hiragana, Katakana
    ("\u3100", "\u318f"),  # Bopomofo, more Hangul letters
    ("\u31a0", "\u31bf"),  # more Bopomofo
    ("\u31f0", "\u31ff"),  # more Katakana
    ("\u3400", "\u4dbf"),  # Han
    ("\u4e00", "\u9fff"),  # Han
    ("\ua000", "\ua4cf"),  # Yi
    ("\ua960", "\ua97f"),  # more Hangul letters
    ("\ua980", "\ua9df"),  # Javanese
    ("\ua9e0", "\ua9ff"),  # more Myanmar
    ("\uaa00", "\uaa5f"),  # Cham
    ("\uaa60", "\uaadf"),  # more Myanmar, Tai Viet
    ("\uac00", "\ud7ff"),  # Hangul
    ("\uf900", "\ufaff"),  # compatibility Han
    ("\uff66", "\uffdc"),  # halfwidth Katakana, Hangul
    ("\U0001b000", "\U0001b16f"),  # historic and small Kana
    ("\U00020000", "\U0003ffff"),  # rare Han
)
_RUN = re.compile("[" + "".join(f"{first}-{last}" for first, last in _RANGES) + "]+")

_DIGITS = 7
"""Digits of a code point in a token, as many as the largest one has."""

_AFTER = "q"
"""Ends a character in a token. No suffix ends so, thus the Porter stemmer leaves tokens alone."""


def has_unspaced(text: str) -> bool:
    """Say whether a text has characters of a script that is written without spaces."""
    return not text.isascii() and _RUN.search(text) is not None


def spaced(text: str) -> str:
    """Return a text whose unspaced runs are replaced by their tokens, for an index."""
    if text.isascii():
        return text
    return _RUN.sub(lambda run: f" {' '.join(_tokens(run[0]))} ", text)


def without_unspaced(text: str) -> str:
    """Return a text with blanks instead of its unspaced runs."""
    return text if text.isascii() else _RUN.sub(" ", text)


def phrase(text: str) -> tuple[str, bool]:
    """Return a word of a query as it stands in an index.

    Args:
        text: The word; letters of all scripts may be mixed.

    Returns:
        The tokens, separated by blanks, and whether the last one is only the beginning of a token,
        as it is for a run that ends in a single character.
    """
    end = len(text.rstrip())
    last = next((run for run in _RUN.finditer(text) if run.end() == end), None)
    tokens = [] if last is None else list(_tokens(last[0]))
    if last is None or not tokens:
        return spaced(text), False
    is_beginning = len(tokens) == 1 or tokens[-2].count(_AFTER) == 1
    # The last character of a longer run is in its pair already; in the text it may go on.
    shown = tokens if is_beginning else tokens[:-1]
    return f"{spaced(text[: last.start()])} {' '.join(shown)}", is_beginning


def units(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of the characters of a run, each with the marks that belong to it.

    Signs are left out, as a tokenizer does.
    """
    start = -1
    for at, char in enumerate(text):
        kind = unicodedata.category(char)[0]
        if kind == "M" and start >= 0:
            continue
        if start >= 0:
            yield start, at
        start = at if kind in "LMN" else -1
    if start >= 0:
        yield start, len(text)


def runs(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of the unspaced runs of a text."""
    return (run.span() for run in _RUN.finditer(text))


def _tokens(run: str) -> Iterator[str]:
    """Yield the pairs of a run, and after each sign and at the end its last character."""
    for part in _parts(unicodedata.normalize("NFKC", run)):
        for first, second in itertools.pairwise(part):
            yield f"x{first}{second}"
        yield f"x{part[-1]}"


def _parts(run: str) -> Iterator[list[str]]:
    """Yield the characters of a run between its signs, spelled in digits."""
    part: list[str] = []
    end = 0
    for start, stop in units(run):
        if part and start != end:
            yield part
            part = []
        part.append("".join(f"{ord(char):0{_DIGITS}}" for char in run[start:stop]) + _AFTER)
        end = stop
    if part:
        yield part
