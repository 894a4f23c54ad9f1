"""Content-addressed blobs: JSON values by hash, compressed; requests as messages with shared prefixes."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence
from typing import Any

from lmflow.errors import Tampered
from lmflow.messages import ChatRequest, EmbedRequest, Message, Request, ToolRequest, message_of
from lmflow.values import KEYED, Record, canonical, digest, hash_text, lean

SMALLEST = 120
CACHED = 50_000
DIGEST = 32


def packed(text: str) -> tuple[int, bytes]:
    """The encoding and the bytes of a text: 1 is zlib where that is smaller, 0 plain."""
    raw = text.encode("ascii")
    if len(raw) < SMALLEST:
        return 0, raw
    small = zlib.compress(raw, 3)
    return (1, small) if len(small) < len(raw) else (0, raw)


def unpacked(enc: int, data: bytes) -> Any:
    """The JSON value that was packed."""
    return json.loads(zlib.decompress(data) if enc else data)


def raw(digest_text: str) -> bytes:
    """A digest's 32 bytes; of a keyed one, with a byte in front that says so."""
    if digest_text.startswith(KEYED):
        return b"h" + bytes.fromhex(digest_text.removeprefix(KEYED))
    return bytes.fromhex(digest_text.removeprefix("v1:b2:"))


def text(raw_digest: bytes) -> str:
    """The digest of those bytes."""
    return f"v1:b2:{raw_digest.hex()}" if len(raw_digest) == DIGEST else KEYED + raw_digest[1:].hex()


def hashed(kind: str, value: Any) -> bytes:
    """The hash that a value is kept under."""
    return raw(hash_text(kind, canonical(value)))


def derived(key: str) -> bool:
    """Whether a key is the hash of what was asked, so that it can be derived again; in a redacted run it isn't."""
    return not key.startswith(KEYED)


class BlobWriter:
    """Puts values into the blob table, once each. ``forget`` after a rollback, since its ids are gone."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._ids: dict[bytes, int] = {}
        self._hashes: dict[Message, str] = {}

    def forget(self) -> None:
        """Drop the cached ids."""
        self._ids.clear()

    def put(self, kind: str, value: Any) -> int:
        """The id of a JSON value."""
        body = canonical(value)
        return self._put(raw(hash_text(kind, body)), kind, body)

    def request(self, request: Request, key: str) -> int:
        """The id of a request, addressed by its key. Messages are blobs of their own, all but the last share a prefix
        node.
        """
        hashed = raw(key)
        if hashed in self._ids:
            return self._ids[hashed]
        body = lean(request)
        if isinstance(request, ChatRequest):
            hashes = [self._hash(message) for message in request.messages]
            ids = [self._message(*pair) for pair in zip(request.messages, hashes, strict=True)]
            prefix = self._prefix(tuple(hashes[:-1]), ids[:-1])
            body = {**body, "messages": {"prefix": prefix, "last": ids[-1:]}}
        return self._put(hashed, "request", canonical({"is": type(request).__name__, **body}))

    def _hash(self, message: Message) -> str:
        """The hash of a message, derived once: most are said again and again."""
        if (found := self._hashes.get(message)) is None:
            if len(self._hashes) >= CACHED:
                self._hashes.clear()
            found = self._hashes[message] = digest("message", lean(message))
        return found

    def _message(self, message: Message, hashed: str) -> int:
        found = self._ids.get(raw(hashed))
        return self._put(raw(hashed), "message", canonical(lean(message))) if found is None else found

    def _prefix(self, hashes: tuple[str, ...], ids: list[int]) -> int:
        return self._put(raw(digest("prefix", hashes)), "prefix", canonical(ids))

    def _put(self, hashed: bytes, kind: str, body: str) -> int:
        if (found := self._ids.get(hashed)) is not None:
            return found
        row = self._db.execute("SELECT id FROM blob WHERE hash = ?", (hashed,)).fetchone()
        if row is None:
            enc, data = packed(body)
            insert = "INSERT INTO blob (hash, kind, enc, size, data) VALUES (?, ?, ?, ?, ?) RETURNING id"
            row = self._db.execute(insert, (hashed, kind, enc, len(body), data)).fetchone()
        if len(self._ids) >= CACHED:
            self._ids.clear()
        self._ids[hashed] = row[0]
        return int(row[0])


class BlobReader:
    """Reads values back, each at most once. ``Tampered`` names a blob that doesn't match its hash."""

    def __init__(self, connection: sqlite3.Connection, store: str) -> None:
        self._db = connection
        self._store = store
        self._values: dict[int, Any] = {}

    def get(self, blob: int | None) -> Any:
        """The JSON value of a blob, ``None`` for none."""
        if blob is None:
            return None
        if blob not in self._values:
            row = self._db.execute("SELECT hash, kind, enc, data FROM blob WHERE id = ?", (blob,)).fetchone()
            if row is None:
                raise Tampered(self._store, f"blob {blob} is missing", "Restore the store from a backup.")
            self._values[blob] = self._checked(blob, *row)
        return self._values[blob]

    def request(self, blob: int) -> Request:
        """The request of a blob."""
        value: Request = self.get(blob)
        return value

    def _checked(self, blob: int, hashed: bytes, kind: str, enc: int, data: bytes) -> Any:
        try:
            value = unpacked(enc, data)
            found, value = self._derived(kind, value)
        except Tampered:
            raise
        except Exception as error:
            raise self._tampered(blob, kind, text(hashed), f"can't be read ({type(error).__name__})") from error
        if raw(found) != hashed:
            raise self._tampered(blob, kind, text(hashed), f"hashes to {found[:18]}")
        return value

    def _derived(self, kind: str, value: Any) -> tuple[str, Any]:
        if kind == "prefix":
            turns = [self.get(blob) for blob in value]
            return digest("prefix", [digest("message", turn) for turn in turns]), [message_of(turn) for turn in turns]
        if kind == "request":
            request = _request(value, self)
            return request.key, request
        return digest(kind, value), value

    def _tampered(self, blob: int, kind: str, hashed: str, problem: str) -> Tampered:
        return Tampered(self._store, f"{kind} blob {blob} ({hashed[:18]}) {problem}", "It was changed outside lmflow.")


def _request(value: dict[str, Any], reader: BlobReader) -> Request:
    fields = {name: item for name, item in value.items() if name != "is"}
    match value["is"]:
        case "ToolRequest":
            return ToolRequest(**{**fields, "inputs": Record(fields["inputs"])})
        case "EmbedRequest":
            return EmbedRequest(**{**fields, "texts": tuple(fields["texts"])})
    turns = fields.pop("messages")
    first: Sequence[Message] = reader.get(turns["prefix"])
    last = [message_of(reader.get(blob)) for blob in turns["last"]]
    more = {
        name: tuple(map(Record, item)) if name == "tools" else Record(item)
        for name, item in fields.items()
        if name in {"tools", "schema"}
    }
    return ChatRequest((*first, *last), **{**fields, **more})
