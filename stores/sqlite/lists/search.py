"""Finds calls by the words of their messages and answers, and by conditions."""

from __future__ import annotations

import sqlite3

import attrs

from lmflow.data.conditions import Condition
from lmflow.messages.replies import outcome_of
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.sqlite import full_text
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.full_text import CallHit
from lmflow.stores.sqlite.lists.listing import Listing

LATEST = 2**63 - 1
"""A number that is greater than that of every call."""


@attrs.frozen
class SearchPage:
    """What is searched for: words, conditions, how many calls, and before which number."""

    words: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    limit: int = 20
    before: int = LATEST


def search_calls(
    db: sqlite3.Connection, listing: Listing, blobs: BlobReader, page: SearchPage
) -> list[CallHit]:
    """Return the latest calls that have all words and fulfil all conditions, newest first."""
    chosen = listing.filter(page.conditions, "call")
    query, parameters = full_text.matching(db, listing.store, page.words, chosen.sql)
    bounds = {**parameters, "limit": page.limit, "before": page.before}
    return [_hit(row, listing.store, blobs, page) for row in listing.rows(query, chosen, bounds)]


def _hit(row: sqlite3.Row, store: str, blobs: BlobReader, page: SearchPage) -> CallHit:
    try:
        outcome = outcome_of(blobs.get(row["reply"]))
        texts = full_text.indexed_texts(blobs.request_of(row["id"]), outcome) or ("", "")
    except DAMAGE as error:
        raise damaged(store, f"call {row['id']}", error) from error
    prompt, answer = (full_text.snippet(text, page.words) for text in texts)
    in_answer = len(answer.marks) >= len(prompt.marks)
    shown = answer if in_answer else prompt
    return CallHit(
        call=row["id"],
        run=row["run"],
        trace=row["trace"],
        address=row["address"],
        attempt=row["attempt"],
        model=row["model"],
        status=row["status"],
        where="answered" if in_answer else "asked",
        snippet=shown.text,
        marks=shown.marks,
    )
