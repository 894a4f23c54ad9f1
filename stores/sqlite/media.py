"""Contents of pictures, sounds and files: the bytes as they are, once each, under their own
SHA-256.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lmflow.errors import NoContent, Tampered
from lmflow.values.media import SHA

MEDIA = "media"
RAW = 2
"""The encoding of bytes that are stored as they are."""

_CONTENT = "SELECT data FROM blob WHERE hash = ? AND kind = 'media'"


def content_in(store: str, digest: str) -> Callable[[], bytes] | None:
    """What reads a content from a store when it is asked for; ``None`` for what is named otherwise
    than by content.
    """
    return partial(_read, store, digest) if digest.startswith(SHA) else None


def checked(store: str, hashed: bytes, data: bytes) -> bytes:
    """The content, if it is what its hash says. ``Tampered``."""
    if hashlib.sha256(data).digest() != hashed:
        problem = f"the content {SHA}{hashed.hex()[:12]} doesn't match its hash"
        raise Tampered(store, problem, "It was changed outside lmflow.")
    return data


def _read(store: str, digest: str) -> bytes:
    """A content, through a connection of its own: who asks for it may be in any thread, and long
    after.
    """
    hashed = bytes.fromhex(digest.removeprefix(SHA))
    try:
        db = sqlite3.connect(f"{Path(store).resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)
        try:
            row = db.execute(_CONTENT, (hashed,)).fetchone()
        finally:
            db.close()
    except sqlite3.Error as error:
        raise NoContent(f"{digest[:19]} ({store}: {error})") from error
    if row is None:
        raise NoContent(digest[:19])
    return checked(store, hashed, row[0])
