"""Takes copied calls into the full-text index."""

from __future__ import annotations

import sqlite3
from typing import Any

from lmflow.messages.replies import outcome_of
from lmflow.stores.bigrams import spaced
from lmflow.stores.damage import DAMAGE
from lmflow.stores.sqlite.blobs.format import parts_of, read_form, unpack, unpack_bytes
from lmflow.stores.sqlite.full_text import INSERT_WORDS, outcome_text

_INDEX = f"""
{INSERT_WORDS} SELECT call.id, asked_words(last.enc, last.data), reply_words(reply.enc, reply.data)
FROM temp.ended CROSS JOIN main.call ON call.id = ended.id
CROSS JOIN main.blob AS reply ON reply.id = call.reply
LEFT JOIN main.blob AS last ON last.id = call.last
WHERE call.kind = 'chat' AND call.prefix IS NOT NULL
"""
_INDEX_ONE = f"""
{INSERT_WORDS} SELECT call.id, asked_words(last.enc, last.data), reply_words(reply.enc, reply.data)
FROM main.call CROSS JOIN main.blob AS reply ON reply.id = call.reply
LEFT JOIN main.blob AS last ON last.id = ? WHERE call.id = ?
"""
# Before schema 11 a call named its whole request, which names its last message.
_OLDER = """
SELECT call.id, request.enc, request.data FROM temp.ended
CROSS JOIN main.call ON call.id = ended.id
CROSS JOIN main.blob AS request ON request.id = call.request
WHERE call.kind = 'chat' AND call.prefix IS NULL AND call.reply IS NOT NULL
"""


class WordIndexer:
    """Indexes the calls in ``temp.ended``, by the words that recording them would have indexed."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.create_function("asked_words", 2, _asked_words)
        db.create_function("reply_words", 2, _reply_words)

    def index(self) -> None:
        """Add the calls to the index; those without a reply are left out."""
        self._db.execute(_INDEX)
        for call, enc, data in self._db.execute(_OLDER).fetchall():
            parts = parts_of("request", unpack(enc, data))
            self._db.execute(_INDEX_ONE, (parts[-1] if parts else None, call))


def _asked_words(enc: int | None, data: bytes | None) -> str:
    if enc is None or data is None:
        return ""  # a request without messages
    try:
        return spaced(read_form(unpack_bytes(enc, data))["content"])
    except DAMAGE:
        return ""


def _reply_words(enc: int, data: bytes) -> str:
    try:
        return spaced(_reply_text(read_form(unpack_bytes(enc, data))))
    except DAMAGE:
        return ""


def _reply_text(value: dict[str, Any]) -> str:
    # Most replies are a text alone: making the whole reply takes longer than all the rest.
    if value["is"] == "ChatReply" and not value.get("calls"):
        return str(value.get("text", ""))
    return outcome_text(outcome_of(value))
