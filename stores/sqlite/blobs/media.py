"""Contents of pictures, sounds and files: bytes under their own SHA-256, each stored once."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lmflow.errors import NoContent, Tampered
from lmflow.stores.sqlite.opening import opened_as_is
from lmflow.values.media import SHA

MEDIA = "media"
"""The kind of the blobs of contents."""

RAW = 2
"""The encoding of contents: the bytes as they are."""

_CONTENT = "SELECT data FROM blob WHERE hash = ? AND kind = 'media'"


def content_loader(store: str, digest: str) -> Callable[[], bytes] | None:
    """Return a function that reads a content from a store, ``None`` if ``digest`` is no SHA-256."""
    return partial(_read, store, digest) if digest.startswith(SHA) else None


def check_content(store: str, hashed: bytes, data: bytes) -> bytes:
    """Return the content if it matches its hash; ``Tampered``."""
    if hashlib.sha256(data).digest() != hashed:
        problem = f"the content {SHA}{hashed.hex()[:12]} doesn't match its hash"
        raise Tampered(store, problem, "It was changed outside lmflow.")
    return data


def _read(store: str, digest: str) -> bytes:
    """Read a content through a connection of its own: the caller may be any thread, much later."""
    hashed = bytes.fromhex(digest.removeprefix(SHA))
    try:
        with opened_as_is(Path(store)) as db:
            row = db.execute(_CONTENT, (hashed,)).fetchone()
    except sqlite3.Error as error:
        raise NoContent(f"{digest[:19]} ({store}: {error})") from error
    if row is None:
        raise NoContent(digest[:19])
    return check_content(store, hashed, row[0])
