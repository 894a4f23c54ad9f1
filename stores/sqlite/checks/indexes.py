"""Checks the indexes of a store: SQLite's own, and the full-text index against the calls."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator

from lmflow.stores.sqlite.full_text import BIGRAMS, CREATE_INDEX, INSERT_WORDS, indexed_calls

_FTS_PAGES = "SELECT id FROM search_docsize ORDER BY id"
_VOCABULARY = "CREATE VIRTUAL TABLE temp.words USING fts5vocab({schema}, search, row)"
SHOWN = 3
"""Calls that a problem names."""


def index_problems(db: sqlite3.Connection, most: int) -> Iterator[str]:
    """Yield what SQLite finds wrong with the file, its tables and its indexes, and what of the
    full-text index does not agree with the calls.

    Args:
        db: The store.
        most: The number of problems that SQLite reports.
    """
    for (found,) in _rows(db, f"PRAGMA integrity_check({most})"):
        if found != "ok":
            yield from (f"SQLite: {line}" for line in str(found).splitlines() if line.strip())
    try:
        with _one_moment(db):
            problems = list(_full_text_problems(db))
    except sqlite3.DatabaseError as error:
        problems = [f"the full-text index can't be read ({error})"]
    yield from problems


@contextlib.contextmanager
def _one_moment(db: sqlite3.Connection) -> Iterator[None]:
    """Let queries see the store as it is now, whatever other processes write meanwhile."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def _rows(db: sqlite3.Connection, query: str) -> list[tuple[object, ...]]:
    try:
        return [tuple(row) for row in db.execute(query)]
    except sqlite3.DatabaseError as error:
        return [(str(error),)]


def _full_text_problems(db: sqlite3.Connection) -> Iterator[str]:
    """Index all calls anew in memory, and compare the words and the calls that have some."""
    (schema,) = db.execute("PRAGMA user_version").fetchone()
    if schema < BIGRAMS:
        return
    present = {row[0] for row in db.execute(_FTS_PAGES)}
    calls: set[int] = set()
    words: Counter[tuple[str, str]] = Counter()
    for entries in indexed_calls(db):
        calls |= {call for call, *_ in entries}
        words += _words_of(entries)
    if missing := sorted(calls - present):
        yield f"the full-text index lacks {_named(missing)}"
    if extra := sorted(present - calls):
        yield f"the full-text index has {_named(extra)}: no readable chat has that number"
    if not (missing or extra) and _counted(_vocabulary(db, "main")) != words:
        yield "the full-text index does not hold the words of the calls"


def _words_of(entries: list[tuple[int, str, str]]) -> Counter[tuple[str, str]]:
    """Return how many calls have each word, and how often it occurs."""
    memory = sqlite3.connect(":memory:")
    try:
        memory.execute(CREATE_INDEX)
        memory.executemany(f"{INSERT_WORDS} VALUES (?, ?, ?)", entries)
        return _counted(_vocabulary(memory, "main"))
    finally:
        memory.close()


def _vocabulary(db: sqlite3.Connection, schema: str) -> Iterator[tuple[str, int, int]]:
    db.execute(_VOCABULARY.format(schema=schema))
    try:
        yield from db.execute("SELECT term, doc, cnt FROM temp.words")
    finally:
        db.execute("DROP TABLE temp.words")


def _counted(vocabulary: Iterator[tuple[str, int, int]]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for term, calls, count in vocabulary:
        counts[term, "calls"] += calls
        counts[term, "count"] += count
    return counts


def _named(calls: list[int]) -> str:
    shown = ", ".join(map(str, calls[:SHOWN]))
    more = f" and {len(calls) - SHOWN} more" if len(calls) > SHOWN else ""
    return f"{'call' if len(calls) == 1 else 'calls'} {shown}{more}"
