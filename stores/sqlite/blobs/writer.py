"""Writes content-addressed blobs, each once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import attrs

from lmflow.errors import NoContent
from lmflow.messages.messages import Message
from lmflow.messages.requests import ChatRequest, Request, ToolRequest
from lmflow.stores.sqlite.blobs.format import (
    DIGEST,
    Body,
    body_of,
    content_hash,
    content_hashes,
    digest_bytes,
    digest_text,
    is_derivable,
    pack,
    stored_media,
)
from lmflow.stores.sqlite.blobs.media import MEDIA, RAW
from lmflow.stores.sqlite.bulk import insert_rows, select_in
from lmflow.values.attributes import lean
from lmflow.values.canonical_text import hash_bytes
from lmflow.values.media import Media
from lmflow.values.record import canonical, digest

CACHED = 50_000
"""Ids of blobs that are remembered."""

REMEMBERED_CHARACTERS = 20_000_000
"""Characters of messages whose hashes are remembered."""

SHARED = 500
"""Shapes, and beginnings of requests, that are remembered by their objects."""

RequestIds = tuple[int, int | None, int | None]
"""The blobs of a request as a row of the table ``call`` names them: request, prefix, last."""

_INSERT = "INSERT INTO blob (id, hash, kind, enc, size, data) VALUES {rows}"


@attrs.frozen
class _Head:
    """The messages before the last of a request: hash of the list, and hash and form of each."""

    source: tuple[Message, ...]
    prefix: bytes
    messages: list[tuple[bytes, str]]


@attrs.frozen
class _Parts:
    """A chat request in the parts that are stored. ``source`` keeps it alive, under its id."""

    source: ChatRequest
    shape: Body
    head: _Head
    last: tuple[bytes, str] | None
    media: tuple[Media, ...]


class BlobWriter:
    """Puts values into the blob table, once each, when ``flush`` is called.

    ``find`` looks up in one query what will be put; a value that is put without it is looked up
    alone. Call ``forget`` after a rollback: the ids of the rolled-back blobs are gone.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._ids: dict[bytes, int] = {}
        self._messages: dict[Message, tuple[bytes, str]] = {}
        self._prefixes: dict[tuple[bytes, ...], bytes] = {}
        self._parts: dict[int, _Parts] = {}
        self._heads: dict[tuple[int, ...], _Head] = {}
        self._shapes: dict[tuple[object, ...], tuple[Body, object]] = {}
        self._characters = 0
        self.forget()

    def forget(self, *, sweeping: bool = False) -> None:
        """Drop the cached ids and unwritten rows.

        Args:
            sweeping: Whether garbage is being collected; used blobs are noted in ``touched`` then.
        """
        self._sweeping = sweeping
        self._ids.clear()
        self._absent: set[bytes] = set()
        self._rows: list[tuple[int, bytes, str, int, int, bytes]] = []
        self._next = 0

    def begin(self) -> None:
        """Start a transaction: new blobs are numbered after those that exist now.

        The numbers come from AUTOINCREMENT's own sequence, not from ``max(id)``: an id that garbage
        collection freed is never used again, so a reader's cached id can't name another value.
        """
        (last,) = self._db.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'blob'"
        ).fetchone()
        self._next = last + 1
        self._parts.clear()
        if self._characters > REMEMBERED_CHARACTERS:
            self._heads.clear()
            self._messages.clear()
            self._prefixes.clear()
            self._characters = 0

    def find(self, hashes: Iterable[bytes]) -> None:
        """Look up which of the hashes are stored."""
        unknown = [hashed for hashed in dict.fromkeys(hashes) if hashed not in self._ids]
        if len(self._ids) + len(unknown) >= CACHED:
            self._ids.clear()
        rows = select_in(self._db, "SELECT hash, id FROM blob WHERE hash IN ({keys})", unknown)
        self._ids.update((bytes(hashed), blob) for hashed, blob in rows)
        self._touch(blob for _, blob in rows)
        self._absent = {hashed for hashed in unknown if hashed not in self._ids}

    def flush(self) -> None:
        """Write the rows that wait."""
        if self._rows:
            insert_rows(self._db, _INSERT, self._rows)
            self._rows = []

    def _touch(self, ids: Iterable[int]) -> None:
        if self._sweeping:
            touch = "INSERT OR IGNORE INTO touched (kind, id) VALUES ('blob', ?)"
            self._db.executemany(touch, [(blob,) for blob in ids])

    def put(self, body: Body) -> int:
        """Return the id of a value, new if it is not stored yet."""
        self._put_contents(body.media)
        return self._put(body.hashed, body.kind, body.text)

    def gather(self, request: Request, key: str, put: list[bytes]) -> None:
        """Add the hashes of the blobs of a request to ``put``.

        Args:
            request: The request; it must live until ``request`` has put it.
            key: The key of the call; a keyed hash in a redacted run.
            put: The list.
        """
        if not isinstance(request, ChatRequest):
            put.append(_stored_hash(request, key))
            put += content_hashes(_media_of(request))
        elif id(request) not in self._parts:
            self._gather_parts(self._split(request), put)

    def _gather_parts(self, parts: _Parts, put: list[bytes]) -> None:
        put.append(parts.shape.hashed)
        put.append(parts.head.prefix)
        if parts.last is not None:
            put.append(parts.last[0])
        # The messages of a stored prefix are stored. While garbage is swept each must be touched.
        if self._sweeping or parts.head.prefix not in self._ids:
            put += [message for message, _ in parts.head.messages]
        put += content_hashes(parts.media)

    def request(self, request: Request, key: str) -> RequestIds:
        """Return the ids of the blobs of a request, new if they are not stored yet.

        Args:
            request: The request.
            key: The key of the call; a keyed hash in a redacted run.

        Returns:
            Its shape, the messages before the last and the last; the request alone if it is no
            chat request.
        """
        if not isinstance(request, ChatRequest):
            return self._whole(request, _stored_hash(request, key)), None, None
        parts = self._parts.get(id(request)) or self._split(request)
        self._put_contents(parts.media)
        last = None if parts.last is None else self._put(parts.last[0], "message", parts.last[1])
        shape = self._put(parts.shape.hashed, "shape", parts.shape.text)
        return shape, self._put_head(parts.head), last

    def _whole(self, request: Request, hashed: bytes) -> int:
        if (blob := self._ids.get(hashed)) is not None:
            return blob
        self._put_contents(_media_of(request))
        form = canonical({"is": type(request).__name__, **lean(request)})
        return self._put(hashed, "request", form)

    def _put_head(self, head: _Head) -> int:
        if not self._sweeping and (blob := self._ids.get(head.prefix)) is not None:
            return blob
        ids = [self._put(message, "message", form) for message, form in head.messages]
        return self._put(head.prefix, "prefix", canonical(ids))

    def _split(self, request: ChatRequest) -> _Parts:
        """Return the parts of a request, and remember them until the next transaction."""
        last = None
        if request.messages:
            # The last message is most often seen once, so remembering it would waste memory.
            form = request.messages[-1].form
            last = hash_bytes("message", form), form
        media = tuple(_media_of(request))
        head = self._head(request.messages[:-1])
        parts = _Parts(request, self._shape(request), head, last, media)
        self._parts[id(request)] = parts
        return parts

    def _shape(self, request: ChatRequest) -> Body:
        """Return a request without its messages as it is stored."""
        options, tools, schema = request.options, request.tools, request.schema
        names = (request.model, request.endpoint, request.sample)
        key = (*names, id(options), id(tools), id(schema))
        if (entry := self._shapes.get(key)) is None:
            if len(self._shapes) >= SHARED:
                self._shapes.clear()
            fields = {"is": type(request).__name__, **lean(request)}
            fields.pop("messages", None)
            # The objects stay alive with the entry, so that no other object gets their ids.
            entry = self._shapes[key] = body_of("shape", fields), (options, tools, schema)
        return entry[0]

    def _head(self, messages: tuple[Message, ...]) -> _Head:
        """Return the messages before the last as they are stored."""
        key = tuple(map(id, messages))
        if (head := self._heads.get(key)) is None:
            entries = list(map(self._message, messages))
            prefix = self._prefix(tuple([hashed for hashed, _ in entries]))
            head = _Head(messages, prefix, entries)
            if not any(message.attached for message in messages):
                if len(self._heads) >= SHARED:
                    self._heads.clear()
                self._heads[key] = head
        return head

    def _message(self, message: Message) -> tuple[bytes, str]:
        """Return the hash and the canonical form of a message."""
        # Attached content would be kept in memory. Messages are equal whatever the state of their
        # calls, but each state is stored: the form of one may not stand for another.
        if message.attached or any(call.state is not None for call in message.calls):
            return hash_bytes("message", message.form), message.form
        if (entry := self._messages.get(message)) is None:
            form = message.form
            self._characters += len(form)
            entry = self._messages[message] = hash_bytes("message", form), form
        return entry

    def _prefix(self, messages: tuple[bytes, ...]) -> bytes:
        """Return the hash of a prefix, by the hashes of its messages."""
        if (hashed := self._prefixes.get(messages)) is None:
            self._characters += DIGEST * len(messages)
            digests = [digest_text(message) for message in messages]
            hashed = self._prefixes[messages] = digest_bytes(digest("prefix", digests))
        return hashed

    def _put_contents(self, media: Iterable[Media]) -> None:
        """Put contents, each once, as the bytes that they are."""
        for medium in media:
            hashed = content_hash(medium)
            if self._id_of(hashed) is None and (data := _content(medium)) is not None:
                self._add(hashed, MEDIA, RAW, medium.size, data)

    def _put(self, hashed: bytes, kind: str, form: str) -> int:
        if (blob := self._id_of(hashed)) is not None:
            return blob
        enc, data = pack(form)
        return self._add(hashed, kind, enc, len(form), data)

    def _id_of(self, hashed: bytes) -> int | None:
        """Return the id of a blob that is stored or waits to be written."""
        if (blob := self._ids.get(hashed)) is not None:
            return blob
        if hashed not in self._absent:
            row = self._db.execute("SELECT id FROM blob WHERE hash = ?", (hashed,)).fetchone()
            if row is not None:
                self._ids[hashed] = row[0]
                self._touch(row)
                return int(row[0])
        return None

    def _add(self, hashed: bytes, kind: str, enc: int, size: int, data: bytes) -> int:
        blob = self._next
        self._next += 1
        self._rows.append((blob, hashed, kind, enc, size, data))
        self._ids[hashed] = blob
        return blob


def _stored_hash(request: Request, key: str) -> bytes:
    """Return the hash under which a request is stored that is no chat request."""
    return digest_bytes(key if is_derivable(key) else request.key)


def _media_of(request: Request) -> list[Media]:
    """Return the media in a request whose content is stored."""
    if isinstance(request, ToolRequest):
        return list(stored_media(request.inputs))
    messages = request.messages if isinstance(request, ChatRequest) else ()
    attached = [part.media for message in messages for part in message.attached]
    return [media for media in attached if media.known]


def _content(media: Media) -> bytes | None:
    """Return the content, ``None`` if it can't be read any more; its digest is stored anyway."""
    try:
        return media.data
    except NoContent:
        return None
