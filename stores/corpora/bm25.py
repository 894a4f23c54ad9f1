"""How a question is put to BM25: its words as an expression of SQLite's FTS5, whatever signs are in
it.
"""

from __future__ import annotations

import re
import unicodedata

TOKENIZER, TITLE_WEIGHT = "porter unicode61", 2.0
RULES = {"terms": 1, "title": TITLE_WEIGHT, "tokenizer": TOKENIZER}
"""What answers depend on beside the passages; another rule for terms is another number."""

_MOST_SIGNS, _MOST_TERMS, _MOST_PARTS, _LONGEST_TERM = 4000, 64, 8, 128
_STOP_WORDS = (
    "a about above after again against all also am an and any are as at be because been before being below between "
    "both but by can could did do does doing down during each few for from further had has have having he her here "
    "hers him his how i if in into is it its itself just me more most my no nor not of off on once only or other our "
    "out over own same she should so some such than that the their them then there these they this those through to "
    "too under until up very was we were what when where which while who whom whose why with would you your"
)
_STOP = frozenset(_STOP_WORDS.split())


def expression(query: str) -> str:
    """``query`` for FTS5: each word quoted, OR-ed with the others; what is one name (``a.b``) also
    as a phrase.
    """
    bare = re.sub(r"n['’]t\b|['’](?:s|d|ll|m|re|ve)\b", "", query[:_MOST_SIGNS].lower())
    terms = [term for chunk in bare.split() for term in _terms(chunk) if len(term) <= _LONGEST_TERM]
    kept = dict.fromkeys(term for term in terms if term not in _STOP) or dict.fromkeys(terms)
    return " OR ".join(f'"{term}"' for term in list(kept)[:_MOST_TERMS])


def _terms(chunk: str) -> list[str]:
    """The words between two blanks, with underscores (``__and__`` is no stop word) and without, and
    the whole name.
    """
    letters = "".join(
        it if it == "_" or unicodedata.category(it)[0] in "LMN" else " " for it in chunk
    )
    words = [word for word in letters.split() if word.strip("_")]
    parts = letters.replace("_", " ").split()
    whole = [" ".join(words)] if 1 < len(parts) <= _MOST_PARTS else []
    return [*(words if len(parts) <= _MOST_PARTS else []), *parts, *whole]
