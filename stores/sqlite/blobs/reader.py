"""Reads content-addressed blobs back and checks each against its hash."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lmflow.errors import Tampered
from lmflow.messages.messages import Message, message_of
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
from lmflow.stores.sqlite.blobs.format import (
    digest_bytes,
    digest_text,
    parts_of,
    unpack,
    unpack_text,
)
from lmflow.stores.sqlite.blobs.media import MEDIA, check_content, content_loader
from lmflow.stores.sqlite.bulk import select_in
from lmflow.values.canonical_text import hash_text
from lmflow.values.media import MARK, attach_media
from lmflow.values.record import Record, digest

REMEMBERED = 5_000
"""Values that are remembered."""

_BLOB = "SELECT hash, kind, enc, data FROM blob WHERE id = ?"
_BLOBS = f"SELECT id, hash, kind, enc, data FROM blob WHERE id IN ({{keys}}) AND kind <> '{MEDIA}'"  # noqa: S608

Row = tuple[bytes, str, int, bytes]
"""Hash, kind, encoding and data of a blob."""


class BlobReader:
    """Reads values back, ``REMEMBERED`` of them from memory.

    Raises ``Tampered``, which names the blob, if a value does not match its hash.
    """

    def __init__(self, connection: sqlite3.Connection, store: str) -> None:
        self._db = connection
        self._store = store
        self._home = str(Path(store).absolute())
        self._values: dict[int, Any] = {}
        self._rows: dict[int, Row] = {}

    def fetch(self, blobs: Iterable[int | None]) -> None:
        """Read the rows of blobs, and of the messages of requests, in few queries.

        Contents of media are left out: they are large, and read one by one when needed.
        """
        self._rows = self._select(blobs)
        requests = [(enc, data) for _, kind, enc, data in self._rows.values() if kind == "request"]
        self._rows |= self._select(part for row in requests for part in _message_blobs(*row))

    def _select(self, blobs: Iterable[int | None]) -> dict[int, Row]:
        ids = [blob for blob in dict.fromkeys(blobs) if blob is not None]
        rows = select_in(self._db, _BLOBS, [blob for blob in ids if blob not in self._values])
        return {blob: (hashed, kind, enc, data) for blob, hashed, kind, enc, data in rows}

    def get(self, blob: int | None) -> Any:
        """Return the JSON value of a blob, ``None`` for no blob."""
        if blob is None:
            return None
        if blob not in self._values:
            row: Any = self._rows.pop(blob, None) or self._db.execute(_BLOB, (blob,)).fetchone()
            if row is None:
                fix = "Restore the store from a backup."
                raise Tampered(self._store, f"blob {blob} is missing", fix)
            if row[1] == MEDIA:  # never remembered: contents are large
                return check_content(self._store, bytes(row[0]), row[3])
            value = self._checked(blob, *row)
            if len(self._values) >= REMEMBERED:
                self._values.clear()
            self._values[blob] = value
        return self._values[blob]

    def request(self, blob: int) -> Request:
        """Return the request of a blob."""
        value: Request = self.get(blob)
        return value

    def _checked(self, blob: int, hashed: bytes, kind: str, enc: int, data: bytes) -> Any:
        """Return the value of a row if it matches its hash."""
        try:
            found_hash, value = self._derive(kind, unpack_text(enc, data))
        except Tampered:
            raise
        except Exception as error:
            problem = f"can't be read ({type(error).__name__})"
            raise self._tampered(blob, kind, hashed, problem) from error
        if digest_bytes(found_hash) != hashed:
            raise self._tampered(blob, kind, hashed, f"hashes to {found_hash[:18]}")
        return value

    def _derive(self, kind: str, form: str) -> tuple[str, Any]:
        """Return the hash that a blob should have, and its value.

        The hash of a prefix or a request is that of what it is composed of, not of the ids, which
        differ from store to store.
        """
        value = json.loads(form)
        if MARK in form:
            value = attach_media(value, lambda digest: content_loader(self._home, digest))
        if kind == "prefix":
            messages = [self.get(blob) for blob in value]
            digests = [digest("message", message) for message in messages]
            return digest("prefix", digests), [message_of(message) for message in messages]
        if kind == "request":
            request = _request(value, self)
            return request.key, request
        return hash_text(kind, form), value

    def _tampered(self, blob: int, kind: str, hashed: bytes, problem: str) -> Tampered:
        shown = digest_text(hashed)[:18]
        fix = "It was changed outside lmflow."
        return Tampered(self._store, f"{kind} blob {blob} ({shown}) {problem}", fix)


def _message_blobs(enc: int, data: bytes) -> list[int]:
    """Return the blob ids of a request's messages.

    Returns:
        The ids; empty if the request has none or can't be decoded (``get`` raises then).
    """
    try:
        return parts_of("request", unpack(enc, data))
    except (LookupError, TypeError, ValueError, zlib.error):
        return []


def _request(value: dict[str, Any], reader: BlobReader) -> Request:
    fields = {name: item for name, item in value.items() if name != "is"}
    match value["is"]:
        case "ToolRequest":
            return ToolRequest(**{**fields, "inputs": Record(fields["inputs"])})
        case "EmbedRequest":
            return EmbedRequest(**{**fields, "texts": tuple(fields["texts"])})
    messages = fields.pop("messages")
    prefix: Sequence[Message] = reader.get(messages["prefix"])
    last = [message_of(reader.get(blob)) for blob in messages["last"]]
    if "tools" in fields:
        fields["tools"] = tuple(map(Record, fields["tools"]))
    if "schema" in fields:
        fields["schema"] = Record(fields["schema"])
    return ChatRequest((*prefix, *last), **fields)
