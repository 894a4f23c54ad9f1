"""Full-text search over what models were asked and what they answered, newest calls first."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence

import attrs

from lmflow.errors import StoreError
from lmflow.messages.replies import ChatReply, Failure, Outcome, outcome_of
from lmflow.messages.requests import ChatRequest, Request
from lmflow.stores.sqlite.blobs import unpacked

_WORD = re.compile(r"[^\W_]+")  # what the tokenizer unicode61 takes for a word

MADE = """
CREATE VIRTUAL TABLE search USING fts5(
    asked, answered, content='', tokenize='unicode61 remove_diacritics 2'
)
"""
KEPT = "INSERT INTO search (rowid, asked, answered)"

_EARLIER = """
SELECT call.id, request.enc, request.data, reply.enc, reply.data FROM call
JOIN blob AS request ON request.id = call.request JOIN blob AS reply ON reply.id = call.reply
WHERE call.kind = 'chat' ORDER BY call.id
"""
_HITS = """
SELECT call.id, call.address, call.attempt, call.model, call.status, trace.uid AS trace, call.request, call.reply,
       (SELECT run FROM run_item WHERE run_item.trace = trace.id ORDER BY run LIMIT 1) AS run
FROM (SELECT rowid FROM search WHERE search MATCH :words AND rowid < :before ORDER BY rowid DESC LIMIT :limit) AS found
JOIN call ON call.id = found.rowid JOIN trace ON trace.id = call.trace ORDER BY call.id DESC
"""


@attrs.frozen
class Hit:
    """A call that holds the words: ``where`` says asked or answered, ``marks`` where in the snippet
    they stand.
    """

    call: int
    run: str
    trace: str
    address: str
    attempt: int
    model: str
    status: str
    where: str
    snippet: str
    marks: tuple[tuple[int, int], ...]


def texts(request: Request, outcome: Outcome) -> tuple[str, str] | None:
    """What is indexed of a call: its last message and its answer, or how it failed; ``None`` where
    no model was asked in words.
    """
    if not isinstance(request, ChatRequest):
        return None
    return request.messages[-1].content if request.messages else "", answer(outcome)


def answer(outcome: Outcome | None) -> str:
    """The words of an outcome."""
    match outcome:
        case ChatReply() as reply:
            return reply.readable
        case Failure():
            return str(outcome.error())
    return ""


def expression(words: Iterable[str]) -> str:
    """The words as SQLite asks for them: all must occur, one of several words as a phrase,
    ``word*`` its beginnings.
    """
    phrases = [(" ".join(_WORD.findall(word)), _prefix(word)) for word in words]
    return " AND ".join(
        f'"{phrase}"{" *" if begins else ""}' for phrase, begins in phrases if phrase
    )


def fill(db: sqlite3.Connection) -> None:
    """Index the calls that were recorded before there was an index. A blob that can't be read is
    left out: it is ``verify`` that names it.
    """
    earlier = db.execute(_EARLIER)
    while batch := earlier.fetchmany(1000):
        db.executemany(
            f"{KEPT} VALUES (?, ?, ?)", [found for row in batch if (found := _stored(db, row))]
        )


def rows(
    db: sqlite3.Connection, store: str, words: Sequence[str], limit: int, before: int
) -> list[sqlite3.Row]:
    """The calls that hold all words, newest first, older than the call ``before``. ``StoreError``
    for no word.
    """
    if not (wanted := expression(words)):
        raise StoreError(
            store,
            f"there is no word in {' '.join(words)!r}",
            "Name some: lmflow runs search green tea.",
        )
    return db.execute(_HITS, {"words": wanted, "before": before, "limit": limit}).fetchall()


def snippet(
    text: str, words: Iterable[str], width: int = 120
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """About ``width`` characters of a text on one line, around the first of the words, and where
    the words stand in it; no place where none does.
    """
    line = " ".join(text.split())
    places = list(_places(line, words))
    first = places[0][0] if places else 0
    start = max(0, min(first - width // 3, len(line) - width))
    end = start + width
    head, tail = "…" if start else "", "…" if end < len(line) else ""
    shift = len(head) - start
    marks = tuple((a + shift, b + shift) for a, b in places if start <= a and b <= end)
    return f"{head}{line[start:end]}{tail}", marks


def _stored(
    db: sqlite3.Connection, row: tuple[int, int, bytes, int, bytes]
) -> tuple[int, str, str] | None:
    call, enc, request, reply_enc, reply = row
    try:
        (last,) = unpacked(enc, request)["messages"]["last"]
        found = db.execute("SELECT enc, data FROM blob WHERE id = ?", (last,)).fetchone()
        return call, unpacked(*found)["content"], answer(outcome_of(unpacked(reply_enc, reply)))
    except (ValueError, KeyError, TypeError, zlib.error):
        return None


def _places(line: str, words: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Where the words of the search stand, phrases whole, as the tokenizer compares: without case
    or accents.
    """
    found = [(match.span(), _folded(match.group())) for match in _WORD.finditer(line)]
    asked = [(_parts(word), _prefix(word)) for word in words if _parts(word)]
    at = 0
    while at < len(found):
        sizes = [
            len(parts)
            for parts, begins in asked
            if _stands([word for _, word in found[at : at + len(parts)]], parts, begins)
        ]
        for span, _ in found[at : at + max(sizes, default=0)]:
            yield span
        at += max(sizes, default=1)


def _stands(words: list[str], parts: list[str], begins: bool) -> bool:  # noqa: FBT001 - one of two ways
    """Whether the words are the parts, the last part being a beginning where ``begins``."""
    if len(words) < len(parts) or words[:-1] != parts[:-1]:
        return False
    return words[-1].startswith(parts[-1]) if begins else words[-1] == parts[-1]


def _parts(word: str) -> list[str]:
    return [_folded(part) for part in _WORD.findall(word)]


def _prefix(word: str) -> bool:
    return word.rstrip('"').endswith("*")


def _folded(word: str) -> str:
    parts = unicodedata.normalize("NFKD", word)
    return "".join(char for char in parts if not unicodedata.combining(char)).lower()
