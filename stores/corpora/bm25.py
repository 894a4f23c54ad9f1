"""Questions as expressions of SQLite's FTS5, whatever signs they contain."""

from __future__ import annotations

import re
import unicodedata

import toolz

from lmflow.stores.bigrams import phrase, runs, without_unspaced

TOKENIZER, TITLE_WEIGHT = "porter unicode61", 2.0
WORDS, BIGRAMS = 1, 2
"""The rules for terms: words as they are, or words and the bigrams of unspaced scripts."""

RULES = {"terms": WORDS, "title": TITLE_WEIGHT, "tokenizer": TOKENIZER}
"""The rules of searching, part of a corpus's digest; other rules for terms get another number."""

_MOST_SIGNS, _MOST_TERMS, _MOST_PARTS, _LONGEST_TERM = 4000, 64, 8, 128
_STOP_TEXT = """
a about above after again against all also am an and any are as at be because been before being
below between both but by can could did do does doing down during each few for from further had has
have having he her here hers him his how i if in into is it its itself just me more most my no nor
not of off on once only or other our out over own same she should so some such than that the their
them then there these they this those through to too under until up very was we were what when where
which while who whom whose why with would you your
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())


def bm25_expression(query: str, *, bigrams: bool = False) -> str:
    """Return a question as an FTS5 expression: its words, quoted and OR-ed.

    Stop words are left out unless there are no others. A name of several words, such as ``a.b``,
    is also a phrase.

    Args:
        query: The question.
        bigrams: Whether the index has unspaced scripts as bigrams.
    """
    text = query[:_MOST_SIGNS]
    spaced_terms = _quoted(without_unspaced(text) if bigrams else text)
    unspaced_terms = _quoted_bigrams(text) if bigrams else []
    terms = list(toolz.interleave([unspaced_terms, spaced_terms]))
    return " OR ".join(terms[:_MOST_TERMS])


def _quoted(text: str) -> list[str]:
    """Return the words of a text that is written with spaces, quoted."""
    bare = re.sub(r"n['’]t\b|['’](?:s|d|ll|m|re|ve)\b", "", text.lower())
    all_terms = [term for chunk in bare.split() for term in _terms(chunk)]
    terms = [term for term in dict.fromkeys(all_terms) if len(term) <= _LONGEST_TERM]
    telling = [term for term in terms if term not in _STOP_WORDS]
    return [f'"{term}"' for term in telling or terms]


def _quoted_bigrams(text: str) -> list[str]:
    """Return the pairs of the unspaced runs of a text, quoted; of a single character, its start."""
    terms: dict[str, None] = {}
    for start, end in runs(text):
        tokens, is_beginning = phrase(text[start:end])
        terms |= dict.fromkeys(f'"{token}"' for token in tokens.split())
        if is_beginning:
            last = f'"{tokens.split()[-1]}"'
            terms.pop(last)
            terms[f"{last} *"] = None
    return list(terms)


def _terms(chunk: str) -> list[str]:
    """Return the terms of a chunk between blanks.

    They are its words with underscores (``__and__`` is not a stop word) and without, and the whole.
    """
    letters = "".join(map(_letter_or_blank, chunk))
    words = [word for word in letters.split() if word.strip("_")]
    parts = letters.replace("_", " ").split()
    whole = [" ".join(words)] if 1 < len(parts) <= _MOST_PARTS else []
    return [*(words if len(parts) <= _MOST_PARTS else []), *parts, *whole]


def _letter_or_blank(char: str) -> str:
    return char if char == "_" or unicodedata.category(char)[0] in "LMN" else " "
