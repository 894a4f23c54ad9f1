"""The screen Search: calls by the words of their messages and answers."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import attrs

from lmflow.ui.pages import FIRST, Asked, BadQuery, Screen, Shown, command_line

_LATEST = 2**63 - 1  # a number that is greater than that of every call


def load_search(asked: Asked) -> Shown:
    """Find the latest calls that hold all words, newest first."""
    text, limit = asked.text("q"), asked.number("limit", FIRST)
    conditions, where = asked.conditions(), asked.texts("where")
    before = asked.number("before", 0, most=2**62)
    words = _words(text)
    hits: list[Any] = []
    if words:
        hits = asked.reader.search(words, limit + 1, before or _LATEST, conditions)
    shown = hits[:limit]
    data = {
        "q": text,
        "where": "; ".join(where),
        "rows": [{**attrs.asdict(hit), "pieces": list(_pieces(hit))} for hit in shown],
        "limit": limit,
        "before": before,
        "next": shown[-1].call if len(hits) > limit else 0,
    }
    command = command_line("runs", "search", *(words or ("WORDS",)), where=where, limit=limit)
    return Shown("Search", command, data)


SEARCH = Screen("/search", "search.html", load_search, "Search")


def _words(text: str) -> list[str]:
    """Part a text as a shell does, so that the command finds the same."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadQuery("q", text, f'words, a "phrase in quotes" or wor* ({error})') from None


def _pieces(hit: Any) -> Iterator[list[Any]]:
    """Yield the snippet in parts, each with whether it is one of the words."""
    at = 0
    for start, end in hit.marks:
        yield [False, hit.snippet[at:start]]
        yield [True, hit.snippet[start:end]]
        at = end
    yield [False, hit.snippet[at:]]
