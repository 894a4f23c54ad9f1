"""Full-text search over prompts and answers of models, newest calls first."""

from __future__ import annotations

import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs

from lmflow.errors import StoreError
from lmflow.messages.replies import ChatReply, Failure, Outcome, outcome_of
from lmflow.messages.requests import ChatRequest, Request
from lmflow.stores.bigrams import phrase, runs, spaced, units
from lmflow.stores.damage import DAMAGE
from lmflow.stores.dialect import dialect_of
from lmflow.stores.sqlite.blobs.format import names_parts, parts_of, unpack, unpack_text
from lmflow.values.unicode import well_formed

_WORD = re.compile(r"[^\W_]+")
"""A word, as SQLite's tokenizer unicode61 splits words."""

CREATE_INDEX = """
CREATE VIRTUAL TABLE search USING fts5(
    asked, answered, content='', tokenize='unicode61 remove_diacritics 2'
)
"""
INSERT_WORDS = "INSERT INTO search (rowid, asked, answered)"
DELETE_WORDS = "INSERT INTO search (search, rowid, asked, answered) VALUES ('delete', ?, ?, ?)"

BIGRAMS = 8
"""The schema since which the index has unspaced scripts as bigrams."""

_EARLIER = """
SELECT call.id, {parts}, request.enc, request.data, reply.enc, reply.data FROM call
JOIN blob AS request ON request.id = call.request JOIN blob AS reply ON reply.id = call.reply
WHERE call.kind = 'chat' ORDER BY call.id
"""
_HITS = """
SELECT call.id, call.address, call.attempt, call.model, call.status, trace.uid AS trace,
       call.reply,
       (SELECT run FROM run_item WHERE run_item.trace = trace.id ORDER BY run LIMIT 1) AS run
FROM (
    SELECT search.rowid FROM search {joined} WHERE search MATCH :words
    AND search.rowid < :before AND {where} ORDER BY search.rowid DESC LIMIT :limit
) AS found
JOIN call ON call.id = found.rowid JOIN trace ON trace.id = call.trace ORDER BY call.id DESC
"""
_JOINED = "CROSS JOIN call ON call.id = search.rowid JOIN trace ON trace.id = call.trace"


@attrs.frozen
class CallHit:
    """A call that contains the words.

    Args:
        call: The call's number.
        run: The id of its run.
        trace: The id of its trace.
        address: Its address.
        attempt: The number of the attempt.
        model: The model.
        status: The state of the call.
        where: The side that the snippet is from, ``asked`` or ``answered``.
        snippet: The text around the words.
        marks: The places of the words in the snippet, as (start, end).
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


@attrs.frozen
class Snippet:
    """A part of a text on one line, and the places of the words in it, as (start, end)."""

    text: str
    marks: tuple[tuple[int, int], ...] = ()


def indexed_texts(request: Request, outcome: Outcome) -> tuple[str, str] | None:
    """Return the texts of a call that are indexed, ``None`` if it is not a chat call.

    They are the last message and the answer, or the text of the failure.
    """
    if not isinstance(request, ChatRequest):
        return None
    return request.messages[-1].content if request.messages else "", outcome_text(outcome)


def index_entry(request: Request, outcome: Outcome) -> tuple[str, str] | None:
    """Return the texts of a call as the index takes them, with bigrams for unspaced scripts."""
    texts = indexed_texts(request, outcome)
    return None if texts is None else (spaced(texts[0]), spaced(texts[1]))


def outcome_text(outcome: Outcome | None) -> str:
    """Return the text of a reply or failure; empty for embeddings and tool results."""
    match outcome:
        case ChatReply() as reply:
            return reply.readable
        case Failure():
            return str(outcome.error())
    return ""


def match_expression(words: Iterable[str], *, bigrams: bool = True) -> str:
    """Return words as an FTS5 expression that matches texts with all of them.

    Several words in one are a phrase; ``word*`` matches what begins so.

    Args:
        words: The words.
        bigrams: Whether the index has unspaced scripts as bigrams, as it does since schema 8.
    """
    phrases = [_phrase(word, bigrams=bigrams) for word in words]
    return " AND ".join(filter(None, phrases))


def _phrase(word: str, *, bigrams: bool) -> str:
    """Return a word, or a phrase, as FTS5 writes it; empty if there are only signs."""
    spelled, is_beginning = phrase(word) if bigrams else (word, False)
    words = " ".join(_WORD.findall(spelled))
    if not words:
        return ""
    return f'"{words}" *' if is_beginning or is_prefix(word) else f'"{words}"'


def index_earlier_calls(db: sqlite3.Connection) -> None:
    """Index the calls that were recorded before the index existed.

    Calls whose blobs can't be read are left out; ``verify`` names such blobs.
    """
    for entries in _earlier_texts(db):
        db.executemany(f"{INSERT_WORDS} VALUES (?, ?, ?)", entries)


def index_bigrams(db: sqlite3.Connection) -> None:
    """Index the calls with unspaced scripts anew, by bigrams; earlier they were indexed as runs."""
    for entries in _earlier_texts(db, escaped_only=True):
        for call, *texts in entries:
            bigrams = list(map(spaced, texts))
            if bigrams != texts:
                db.execute(DELETE_WORDS, (call, *texts))
                db.execute(f"{INSERT_WORDS} VALUES (?, ?, ?)", (call, *bigrams))


def indexed_calls(db: sqlite3.Connection) -> Iterator[list[tuple[int, str, str]]]:
    """Yield the numbers of all calls with the texts that the index should hold, in batches.

    Calls whose blobs can't be read are left out.
    """
    for entries in _earlier_texts(db):
        yield [
            (call, spaced(well_formed(asked)), spaced(well_formed(answered)))
            for call, asked, answered in entries
        ]


def _earlier_texts(
    db: sqlite3.Connection, *, escaped_only: bool = False
) -> Iterator[list[tuple[int, str, str]]]:
    """Yield the numbers and indexed texts of all calls, in batches.

    Args:
        db: The store.
        escaped_only: Whether calls without any escape are left out: they have ASCII only.
    """
    parts = "call.prefix, call.last" if names_parts(db) else "NULL, NULL"
    earlier = db.execute(_EARLIER.format(parts=parts))
    while batch := earlier.fetchmany(1000):
        entries = [_stored_texts(db, row, escaped_only=escaped_only) for row in batch]
        yield [entry for entry in entries if entry is not None]


def matching(
    db: sqlite3.Connection, store: str, words: Sequence[str], where: str = "TRUE"
) -> tuple[str, dict[str, Any]]:
    """Return the query of the calls with all words, newest first, and its parameters; it takes
    ``limit`` and ``before`` too. ``where`` is SQL over the tables call and trace.

    Raises:
        StoreError: If the words contain no letter or digit.
    """
    if (dialect := dialect_of(db)) is not None:
        found = dialect.matching(words, where)
        if found is None:
            raise _no_word(store, words)
        return found
    (schema,) = db.execute("PRAGMA user_version").fetchone()
    expression = match_expression(words, bigrams=schema >= BIGRAMS)
    if not expression:
        raise _no_word(store, words)
    joined = "" if where == "TRUE" else _JOINED
    return _HITS.format(joined=joined, where=where), {"words": expression}


def _no_word(store: str, words: Sequence[str]) -> StoreError:
    problem = f"there is no word in {' '.join(words)!r}"
    return StoreError(store, problem, "Name some: lmflow runs search green tea.")


def snippet(text: str, words: Iterable[str], width: int = 120) -> Snippet:
    """Return about ``width`` characters of a text, around the first of the words."""
    line = " ".join(text.split())
    places = list(_places(line, words))
    first = places[0][0] if places else 0
    start = max(0, min(first - width // 3, len(line) - width))
    end = start + width
    head, tail = "…" if start else "", "…" if end < len(line) else ""
    shift = len(head) - start
    marks = tuple((a + shift, b + shift) for a, b in places if start <= a and b <= end)
    return Snippet(f"{head}{line[start:end]}{tail}", marks)


def _stored_texts(
    db: sqlite3.Connection, row: Sequence[Any], *, escaped_only: bool
) -> tuple[int, str, str] | None:
    """Return a call's number and its indexed texts, ``None`` if they can't be read."""
    call, prefix, last, enc, request, reply_enc, reply = row
    try:
        if prefix is None:
            *_, last = parts_of("request", unpack(enc, request))
        message, answer = _message(db, last), unpack_text(reply_enc, reply)
        if escaped_only and "\\u" not in message and "\\u" not in answer:
            return None
        return call, json.loads(message)["content"], outcome_text(outcome_of(json.loads(answer)))
    except DAMAGE:
        return None


def _message(db: sqlite3.Connection, blob: int | None) -> str:
    """Return the form of the last message of a request, of an empty one if it has none."""
    if blob is None:
        return '{"content":""}'
    row = db.execute("SELECT enc, data FROM blob WHERE id = ?", (blob,)).fetchone()
    return unpack_text(*row)


def _places(line: str, words: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield the places of words, phrases whole, compared as the tokenizer does: without case or
    accents.
    """
    spans = _word_spans(line)
    line_words = [fold(line[start:end]) for start, end in spans]
    phrases = [_Phrase.of(word) for word in words]
    at = 0
    while at < len(spans):
        size = max((phrase.size_at(line_words, at) for phrase in phrases), default=0)
        yield from _joined(spans[at : at + size])
        at += max(size, 1)


def _word_spans(text: str) -> list[tuple[int, int]]:
    """Return the places of words; in an unspaced script each character is a word."""
    spans: list[tuple[int, int]] = []
    at = 0
    for start, end in runs(text):
        spans += [match.span() for match in _WORD.finditer(text, at, start)]
        spans += [(start + first, start + last) for first, last in units(text[start:end])]
        at = end
    return spans + [match.span() for match in _WORD.finditer(text, at)]


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join places that touch."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


@attrs.frozen
class _Phrase:
    """Words in a row; the last one is only the beginning of a word if ``is_prefix``."""

    words: list[str]
    is_prefix: bool

    @staticmethod
    def of(text: str) -> _Phrase:
        words = [fold(text[start:end]) for start, end in _word_spans(text)]
        return _Phrase(words, is_prefix(text))

    def size_at(self, line_words: list[str], at: int) -> int:
        """Return the number of words if the phrase begins at that word of a line, otherwise 0."""
        words = line_words[at : at + len(self.words)]
        if not self.words or len(words) < len(self.words) or words[:-1] != self.words[:-1]:
            return 0
        is_match = words[-1] == self.words[-1]
        if self.is_prefix:
            is_match = words[-1].startswith(self.words[-1])
        return len(words) if is_match else 0


def is_prefix(word: str) -> bool:
    """Tell whether a word of a query, ``word*``, is only the beginning of one."""
    return word.rstrip('"').endswith("*")


def fold(word: str) -> str:
    """Return a word without case and accents; the marks of unspaced scripts are kept."""
    if next(runs(word), None) is not None:
        return unicodedata.normalize("NFKC", word)
    parts = unicodedata.normalize("NFKD", word)
    return "".join(char for char in parts if not unicodedata.combining(char)).lower()
