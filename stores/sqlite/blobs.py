"""Content-addressed blobs: JSON values by hash, compressed; requests as messages with shared
prefixes.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from lmflow.errors import NoContent, Tampered
from lmflow.messages.messages import Message, message_of
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
from lmflow.stores.sqlite.media import MEDIA, RAW, checked, content_in
from lmflow.stores.sqlite.statements import among, many
from lmflow.values.attributes import lean
from lmflow.values.canonical_text import KEYED, hash_bytes, hash_text
from lmflow.values.media import MARK, SHA, Media, attached, media_in
from lmflow.values.record import Record, canonical, digest, formed

SMALLEST = 120
CACHED = 50_000
REMEMBERED = 5_000
DIGEST = 32
HELD = 20_000_000
"""Characters of messages whose hashes are remembered."""


def packed(text: str) -> tuple[int, bytes]:
    """The encoding and the bytes of a text: 1 is zlib where that is smaller, 0 plain."""
    raw = text.encode("ascii")
    if len(raw) < SMALLEST:
        return 0, raw
    small = zlib.compress(raw, 3)
    return (1, small) if len(small) < len(raw) else (0, raw)


def form_of(enc: int, data: bytes) -> str:
    """The text that was packed."""
    return (zlib.decompress(data) if enc else data).decode("ascii")


def unpacked(enc: int, data: bytes) -> Any:
    """The JSON value that was packed."""
    return json.loads(form_of(enc, data))


def raw(digest_text: str) -> bytes:
    """A digest's 32 bytes; of a keyed one, with a byte in front that says so."""
    if digest_text.startswith(KEYED):
        return b"h" + bytes.fromhex(digest_text.removeprefix(KEYED))
    return bytes.fromhex(digest_text.removeprefix("v1:b2:"))


def text(raw_digest: bytes) -> str:
    """The digest of those bytes."""
    return (
        f"v1:b2:{raw_digest.hex()}" if len(raw_digest) == DIGEST else KEYED + raw_digest[1:].hex()
    )


def hashed(kind: str, value: Any) -> bytes:
    """The hash that a value is kept under."""
    return raw(hash_text(kind, canonical(value)))


def derived(key: str) -> bool:
    """Whether a key is the hash of what was asked, so that it can be derived again; in a redacted
    run it isn't.
    """
    return not key.startswith(KEYED)


@attrs.frozen
class Body:
    """A value as it is stored: its hash, its kind and its canonical form; ``media`` are pictures,
    sounds and files in it, whose content is stored apart.
    """

    hashed: bytes
    kind: str
    text: str
    media: tuple[Media, ...] = ()

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """All that it puts."""
        return (self.hashed, *_hashes(self.media)) if self.media else (self.hashed,)


def body_of(kind: str, value: Any) -> Body:
    """A JSON value, or one with media in it, as it is stored."""
    form, plain = formed(value)
    return Body(hash_bytes(kind, form), kind, form, () if plain else _stored(value))


class BlobWriter:
    """Puts values into the blob table, once each, when ``flush`` is called. ``forget`` after a
    rollback, since its ids are gone.

    ``find`` looks up in one query what will be put: a value that is put without is looked up alone.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._ids: dict[bytes, int] = {}
        self._turns: dict[Message, tuple[bytes, str]] = {}
        self._prefixes: dict[tuple[bytes, ...], bytes] = {}
        self._parts: dict[bytes, tuple[list[tuple[bytes, str]], bytes]] = {}
        self._held = 0
        self.forget()

    def forget(self, *, sweeping: bool = False) -> None:
        """Drop the cached ids and what waits to be written. While garbage is swept, what is used is
        noted.
        """
        self._sweeping = sweeping
        self._ids.clear()
        self._absent: set[bytes] = set()
        self._rows: list[tuple[int, bytes, str, int, int, bytes]] = []
        self._next = 0

    def begin(self) -> None:
        """Number new blobs after those that are there: in each transaction anew, since others write
        too.
        """
        (last,) = self._db.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'blob'"
        ).fetchone()
        self._next = last + 1
        self._parts.clear()
        if self._held > HELD:
            self._turns.clear()
            self._prefixes.clear()
            self._held = 0

    def find(self, hashes: Iterable[bytes]) -> None:
        """Look up which of the hashes are there."""
        unknown = [hashed for hashed in dict.fromkeys(hashes) if hashed not in self._ids]
        if len(self._ids) + len(unknown) >= CACHED:
            self._ids.clear()
        rows = among(self._db, "SELECT hash, id FROM blob WHERE hash IN ({keys})", unknown)
        self._ids.update((bytes(hashed), found) for hashed, found in rows)
        self._touch(found for _, found in rows)
        self._absent = {hashed for hashed in unknown if hashed not in self._ids}

    def flush(self) -> None:
        """Write what waits."""
        if self._rows:
            many(
                self._db,
                "INSERT INTO blob (id, hash, kind, enc, size, data) VALUES {rows}",
                self._rows,
            )
            self._rows = []

    def _touch(self, ids: Iterable[int]) -> None:
        if self._sweeping:
            touch = "INSERT OR IGNORE INTO touched (kind, id) VALUES ('blob', ?)"
            self._db.executemany(touch, [(found,) for found in ids])

    def put(self, body: Body) -> int:
        """The id of a value."""
        self._contents(body.media)
        return self._put(body.hashed, body.kind, body.text)

    def gather(self, request: Request, hashed: bytes, put: list[bytes]) -> None:
        """Add the hashes that ``request``, of that hash, will put."""
        if hashed in self._ids or hashed in self._parts:
            return
        put.append(hashed)
        put += _hashes(_attached(request))
        if isinstance(request, ChatRequest):
            turns, before = self._parts[hashed] = self._parted(request)
            put += [turn for turn, _ in turns]
            put.append(before)

    def request(self, request: Request, hashed: bytes) -> int:
        """The id of a request, addressed by the hash of its key. Messages are blobs of their own,
        all but the last share a prefix node.
        """
        if (found := self._ids.get(hashed)) is not None:
            return found
        body = lean(request)
        self._contents(_attached(request))
        if isinstance(request, ChatRequest):
            turns, before = (
                self._parts.pop(hashed) if hashed in self._parts else self._parted(request)
            )
            ids = [self._put(hashed_turn, "message", turn) for hashed_turn, turn in turns]
            prefix = self._put(before, "prefix", canonical(ids[:-1]))
            body = {**body, "messages": {"prefix": prefix, "last": ids[-1:]}}
        return self._put(hashed, "request", canonical({"is": type(request).__name__, **body}))

    def _parted(self, request: ChatRequest) -> tuple[list[tuple[bytes, str]], bytes]:
        """The hashes and forms of a request's messages, and the hash of those before the last."""
        turns = [self._turn(message) for message in request.messages[:-1]]
        before = self._prefix(tuple([turn for turn, _ in turns]))
        for message in request.messages[-1:]:  # met once, most often, so it isn't remembered
            form = message.form
            turns.append((hash_bytes("message", form), form))
        return turns, before

    def _turn(self, message: Message) -> tuple[bytes, str]:
        """The hash and the canonical form of a message."""
        if message.attached:  # nor remembered: it would hold the content
            return hash_bytes("message", message.form), message.form
        if (found := self._turns.get(message)) is None:
            form = message.form
            self._held += len(form)
            found = self._turns[message] = hash_bytes("message", form), form
        return found

    def _prefix(self, turns: tuple[bytes, ...]) -> bytes:
        """The hash of messages before the last, by theirs."""
        if (found := self._prefixes.get(turns)) is None:
            self._held += DIGEST * len(turns)
            found = self._prefixes[turns] = raw(digest("prefix", [text(turn) for turn in turns]))
        return found

    def _contents(self, media: Iterable[Media]) -> None:
        """Put contents, each once, as the bytes that they are, addressed by their own SHA-256."""
        for held in media:
            hashed = bytes.fromhex(held.digest.removeprefix(SHA))
            if self._known(hashed) is None and (data := _content(held)) is not None:
                self._add(hashed, MEDIA, RAW, held.size, data)

    def _put(self, hashed: bytes, kind: str, body: str) -> int:
        if (found := self._known(hashed)) is not None:
            return found
        enc, data = packed(body)
        return self._add(hashed, kind, enc, len(body), data)

    def _known(self, hashed: bytes) -> int | None:
        """The id of what is there, or waits to be written."""
        if (found := self._ids.get(hashed)) is not None:
            return found
        if hashed not in self._absent:
            row = self._db.execute("SELECT id FROM blob WHERE hash = ?", (hashed,)).fetchone()
            if row is not None:
                self._ids[hashed] = row[0]
                self._touch(row)
                return int(row[0])
        return None

    def _add(self, hashed: bytes, kind: str, enc: int, size: int, data: bytes) -> int:
        made = self._next
        self._next += 1
        self._rows.append((made, hashed, kind, enc, size, data))
        self._ids[hashed] = made
        return made


_BLOB = "SELECT hash, kind, enc, data FROM blob WHERE id = ?"
_FETCHED = (
    f"SELECT id, hash, kind, enc, data FROM blob WHERE id IN ({{keys}}) AND kind <> '{MEDIA}'"  # noqa: S608
)


class BlobReader:
    """Reads values back, ``REMEMBERED`` of them from memory. ``Tampered`` names a blob that doesn't
    match its hash.
    """

    def __init__(self, connection: sqlite3.Connection, store: str) -> None:
        self._db = connection
        self._store = store
        self._home = str(Path(store).absolute())
        self._values: dict[int, Any] = {}
        self._rows: dict[int, tuple[bytes, str, int, bytes]] = {}

    def fetch(self, blobs: Iterable[int | None]) -> None:
        """Read in few queries what will be asked for next, requests with their messages. Contents,
        which are large, are left out.
        """
        self._rows = self._found(blobs)
        requests = [(enc, data) for _, kind, enc, data in self._rows.values() if kind == "request"]
        self._rows |= self._found(turn for enc, data in requests for turn in _turns(enc, data))

    def _found(self, blobs: Iterable[int | None]) -> dict[int, tuple[bytes, str, int, bytes]]:
        wanted = [
            blob for blob in dict.fromkeys(blobs) if blob is not None and blob not in self._values
        ]
        rows = among(self._db, _FETCHED, wanted)
        return {blob: (hashed, kind, enc, data) for blob, hashed, kind, enc, data in rows}

    def get(self, blob: int | None) -> Any:
        """The JSON value of a blob, ``None`` for none."""
        if blob is None:
            return None
        if blob not in self._values:
            row: Any = self._rows.pop(blob, None) or self._db.execute(_BLOB, (blob,)).fetchone()
            if row is None:
                raise Tampered(
                    self._store, f"blob {blob} is missing", "Restore the store from a backup."
                )
            if row[1] == MEDIA:  # never remembered: contents are large
                return checked(self._store, bytes(row[0]), row[3])
            value = self._checked(blob, *row)
            if len(self._values) >= REMEMBERED:
                self._values.clear()
            self._values[blob] = value
        return self._values[blob]

    def request(self, blob: int) -> Request:
        """The request of a blob."""
        value: Request = self.get(blob)
        return value

    def _checked(self, blob: int, hashed: bytes, kind: str, enc: int, data: bytes) -> Any:
        try:
            found, value = self._derived(kind, form_of(enc, data))
        except Tampered:
            raise
        except Exception as error:
            raise self._tampered(
                blob, kind, text(hashed), f"can't be read ({type(error).__name__})"
            ) from error
        if raw(found) != hashed:
            raise self._tampered(blob, kind, text(hashed), f"hashes to {found[:18]}")
        return value

    def _derived(self, kind: str, form: str) -> tuple[str, Any]:
        value = json.loads(form)
        if MARK in form:
            value = attached(value, lambda named: content_in(self._home, named))
        if kind == "prefix":
            turns = [self.get(blob) for blob in value]
            return digest("prefix", [digest("message", turn) for turn in turns]), [
                message_of(turn) for turn in turns
            ]
        if kind == "request":
            request = _request(value, self)
            return request.key, request
        return hash_text(kind, form), value

    def _tampered(self, blob: int, kind: str, hashed: str, problem: str) -> Tampered:
        return Tampered(
            self._store,
            f"{kind} blob {blob} ({hashed[:18]}) {problem}",
            "It was changed outside lmflow.",
        )


def _attached(request: Request) -> list[Media]:
    """The media in a request whose content is stored."""
    if isinstance(request, ToolRequest):
        return list(_stored(request.inputs))
    turns = request.messages if isinstance(request, ChatRequest) else ()
    return [held.media for turn in turns for held in turn.attached if held.media.known]


def _stored(value: Any) -> tuple[Media, ...]:
    return tuple(held for held in media_in(value) if held.known)


def _content(media: Media) -> bytes | None:
    """The content, ``None`` where it can't be had any more: then what stands for it is all that is
    kept.
    """
    try:
        return media.data
    except NoContent:
        return None


def _hashes(media: Iterable[Media]) -> Iterator[bytes]:
    return (bytes.fromhex(held.digest.removeprefix(SHA)) for held in media)


def _turns(enc: int, data: bytes) -> list[int]:
    """The blobs of a request's messages, none where it has none or can't be read: who asks for it
    is told.
    """
    try:
        turns = unpacked(enc, data)["messages"]
        return [turns["prefix"], *turns["last"]]
    except (LookupError, TypeError, ValueError, zlib.error):
        return []


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
