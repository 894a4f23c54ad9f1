"""Reads the log of the command line tool ``llm``, an SQLite file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmflow.errors import ForeignFile

_EARLIER = 50
"""The earlier responses of a conversation that are read as its turns."""

_ROWS = """
SELECT responses.*, conversations.name AS conversation_name FROM responses
LEFT JOIN conversations ON conversations.id = responses.conversation_id ORDER BY responses.id
"""
_BEFORE = """
SELECT prompt, response FROM responses WHERE conversation_id = ? AND id < ?
ORDER BY id DESC LIMIT ?
"""


def logged_responses(path: Path) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield each response of a log with the earlier ones of its conversation.

    Raises:
        ForeignFile: The file isn't such a log.
    """
    uri = f"{path.resolve().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
            db.row_factory = sqlite3.Row
            for row in db.execute(_ROWS):
                earlier: list[Any] = []
                if row["conversation_id"]:
                    place = (row["conversation_id"], row["id"], _EARLIER)
                    earlier = db.execute(_BEFORE, place).fetchall()
                yield dict(row), [dict(before) for before in reversed(earlier)]
    except sqlite3.DatabaseError as error:
        fix = "Name the file that `llm logs path` prints."
        raise ForeignFile(str(path), f"it isn't a log of llm ({error})", fix) from None
