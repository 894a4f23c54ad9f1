"""Reads content-addressed blobs back and checks each against its hash."""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import attrs

from lmflow.errors import Tampered
from lmflow.messages.messages import Message, message_of
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
from lmflow.stores.damage import damaged
from lmflow.stores.dialect import dialect_of
from lmflow.stores.sqlite.blobs.format import (
    DIGEST,
    digest_bytes,
    digest_text,
    hash_form,
    parts_of,
    read_form,
    unpack,
    unpack_bytes,
)
from lmflow.stores.sqlite.blobs.media import MEDIA, check_content, content_loader
from lmflow.stores.sqlite.bulk import select_in
from lmflow.values.attributes import lean
from lmflow.values.canonical_text import Form
from lmflow.values.media import MARK, attach_media
from lmflow.values.record import Record, canonical, digest

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
        self._openings: dict[tuple[int, int], _Opening] = {}

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

    def request(self, call: sqlite3.Row) -> Request:
        """Return the request of a row of the table ``call``.

        Raises:
            Tampered: If a part does not match its hash, or the parts do not give the key.
        """
        if not is_in_parts(call):
            whole = self.get(call["request"])
            if not isinstance(whole, (ChatRequest, EmbedRequest, ToolRequest)):
                raise self._misplaced(call, "request")
            return whole
        head = self._opening(call)
        last = self.get(call["last"])
        if not isinstance(last, (Turn, NoneType)):
            raise self._misplaced(call, "last")
        key, request = head.request(last)
        if len(call["key"]) == DIGEST and key != call["key"]:
            problem = f"the key of call {call['id']} doesn't match its request"
            raise Tampered(self._store, problem, "It was changed outside lmflow.")
        return request

    def request_of(self, call: int) -> Request:
        """Return the request of the call with a number; ``Tampered``."""
        cursor = self._db.cursor()
        cursor.row_factory = sqlite3.Row
        row = cursor.execute("SELECT * FROM call WHERE id = ?", (call,)).fetchone()
        if row is None:
            raise damaged(self._store, f"row {call} of the table call")
        return self.request(row)

    def _opening(self, call: sqlite3.Row) -> _Opening:
        """Return what requests of one shape with the same messages before the last share."""
        place = call["request"], call["prefix"]
        if (opening := self._openings.get(place)) is None:
            shape, turns = map(self.get, place)
            if not isinstance(shape, ChatRequest) or shape.messages:
                raise self._misplaced(call, "request")
            if not isinstance(turns, list) or not all(isinstance(turn, Turn) for turn in turns):
                raise self._misplaced(call, "prefix")
            if len(self._openings) >= REMEMBERED:
                self._openings.clear()
            opening = self._openings[place] = _Opening.of(shape, turns)
        return opening

    def _misplaced(self, call: sqlite3.Row, part: str) -> Tampered:
        problem = f"the {part} of call {call['id']} is blob {call[part]}, which is something else"
        return Tampered(self._store, problem, "It was changed outside lmflow.")

    def _checked(self, blob: int, hashed: bytes, kind: str, enc: int, data: bytes) -> Any:
        """Return the value of a row if it matches its hash."""
        try:
            derived, value = self._derive(kind, unpack_bytes(enc, data))
        except Tampered:
            raise
        except Exception as error:
            problem = f"can't be read ({type(error).__name__})"
            raise self._tampered(blob, kind, hashed, problem) from error
        if derived != hashed:
            raise self._tampered(blob, kind, hashed, f"hashes to {digest_text(derived)[:18]}")
        return value

    def _derive(self, kind: str, form: bytes) -> tuple[bytes, Any]:
        """Return the hash that a blob should have, and its value.

        The hash of a prefix or a request is that of what it is composed of, not of the ids, which
        differ from store to store.
        """
        value = read_form(form)
        if _MARK in form:
            value = attach_media(value, self._content)
        match kind:
            case "prefix":
                turns = [self.get(blob) for blob in value]
                digests = [digest_text(hash_form("message", turn.form)) for turn in turns]
                return digest_bytes(digest("prefix", digests)), turns
            case "request":
                request = _request(value, self)
                return digest_bytes(request.key), request
            case "shape":
                return hash_form(kind, form), _shape(value)
            case "message":
                return hash_form(kind, form), Turn(message_of(value), form)
        return hash_form(kind, form), value

    def _content(self, name: str) -> Callable[[], bytes] | None:
        dialect = dialect_of(self._db)
        return content_loader(self._home, name) if dialect is None else dialect.content(name)

    def _tampered(self, blob: int, kind: str, hashed: bytes, problem: str) -> Tampered:
        shown = digest_text(hashed)[:18]
        fix = "It was changed outside lmflow."
        return Tampered(self._store, f"{kind} blob {blob} ({shown}) {problem}", fix)


def is_in_parts(call: sqlite3.Row) -> bool:
    """Tell whether a row of the table ``call`` names the parts of its request.

    Before schema 11 the table had no such columns, and each request was a blob.
    """
    return "prefix" in call.keys() and call["prefix"] is not None  # noqa: SIM118 - a row's values


@attrs.frozen
class Turn:
    """A message, and its canonical form."""

    message: Message
    form: bytes


@attrs.frozen
class _Opening:
    """What requests share: all but the last message.

    ``hash`` has taken in the form so far, so that a key costs as much as its last message is long.
    It is ``None`` if the form must be written as a whole: a shape that holds media has another one.
    """

    shape: ChatRequest
    messages: tuple[Message, ...]
    hash: Any
    end: bytes

    @classmethod
    def of(cls, shape: ChatRequest, turns: Sequence[Turn]) -> _Opening:
        # The key is that of the request as one value: its form is written as far as it is known,
        # around a mark for the last message, which no form can hold.
        forms = [Form(turn.form.decode("ascii")) for turn in turns]
        fields = lean(shape) | {"messages": [*forms, Form(_LAST)]}
        start, mark, end = canonical(fields).encode("ascii").partition(_LAST.encode())
        hashing = hashlib.blake2b(b"chat\0" + start, digest_size=DIGEST) if mark else None
        return cls(shape, tuple(turn.message for turn in turns), hashing, end)

    def request(self, last: Turn | None) -> tuple[bytes, ChatRequest]:
        """Return the request with this last message, and its key."""
        shape = self.shape
        if last is None:
            return digest_bytes(shape.key), shape
        request = ChatRequest(
            (*self.messages, last.message),
            shape.model,
            shape.endpoint,
            shape.options,
            shape.tools,
            shape.schema,
            shape.sample,
        )
        if self.hash is None:
            return digest_bytes(request.key), request
        hashing = self.hash.copy()
        hashing.update(last.form + self.end)
        return hashing.digest(), request


_LAST = "\0"
_MARK = MARK.encode()


def _message_blobs(enc: int, data: bytes) -> list[int]:
    """Return the blob ids of a request's messages.

    Returns:
        The ids; empty if the request has none or can't be decoded (``get`` raises then).
    """
    try:
        return parts_of("request", unpack(enc, data))
    except (LookupError, TypeError, ValueError, zlib.error):
        return []


def _shape(value: dict[str, Any]) -> ChatRequest:
    """Return a chat request without messages."""
    fields = {name: item for name, item in value.items() if name != "is"}
    if "tools" in fields:
        fields["tools"] = tuple(map(Record, fields["tools"]))
    if "schema" in fields:
        fields["schema"] = Record(fields["schema"])
    return ChatRequest((), **fields)


def _request(value: dict[str, Any], reader: BlobReader) -> Request:
    fields = {name: item for name, item in value.items() if name != "is"}
    match value["is"]:
        case "ToolRequest":
            return ToolRequest(**{**fields, "inputs": Record(fields["inputs"])})
        case "EmbedRequest":
            return EmbedRequest(**{**fields, "texts": tuple(fields["texts"])})
    messages = fields.pop("messages")
    turns: list[Turn] = [*reader.get(messages["prefix"]), *map(reader.get, messages["last"])]
    return attrs.evolve(_shape(fields), messages=tuple(turn.message for turn in turns))
