"""Writes content-addressed blobs, each once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from lmflow.errors import NoContent
from lmflow.messages.messages import Message
from lmflow.messages.requests import ChatRequest, Request, ToolRequest
from lmflow.stores.sqlite.blobs.format import (
    DIGEST,
    Body,
    content_hash,
    content_hashes,
    digest_bytes,
    digest_text,
    pack,
    stored_media,
    with_message_ids,
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

_INSERT = "INSERT INTO blob (id, hash, kind, enc, size, data) VALUES {rows}"


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
        self._parts: dict[bytes, tuple[list[tuple[bytes, str]], bytes]] = {}
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

    def gather(self, request: Request, hashed: bytes, put: list[bytes]) -> None:
        """Add the hashes of the blobs of a request, whose own hash is ``hashed``, to ``put``."""
        if hashed in self._ids or hashed in self._parts:
            return
        put.append(hashed)
        put += content_hashes(_media_of(request))
        if isinstance(request, ChatRequest):
            messages, prefix = self._parts[hashed] = self._split(request)
            put += [message for message, _ in messages]
            put.append(prefix)

    def request(self, request: Request, hashed: bytes) -> int:
        """Return the id of a request, whose own hash is ``hashed``, new if it is not stored yet."""
        if (blob := self._ids.get(hashed)) is not None:
            return blob
        fields = lean(request)
        self._put_contents(_media_of(request))
        if isinstance(request, ChatRequest):
            parts = self._parts.pop(hashed, None) or self._split(request)
            fields = self._with_messages(fields, *parts)
        return self._put(hashed, "request", canonical({"is": type(request).__name__, **fields}))

    def _with_messages(
        self, fields: dict[str, object], messages: list[tuple[bytes, str]], prefix: bytes
    ) -> dict[str, object]:
        ids = [self._put(message, "message", form) for message, form in messages]
        prefix_id = self._put(prefix, "prefix", canonical(ids[:-1]))
        return with_message_ids(fields, prefix_id, ids[-1:])

    def _split(self, request: ChatRequest) -> tuple[list[tuple[bytes, str]], bytes]:
        """Return the hashes and forms of a request's messages, and the hash of the prefix."""
        messages = [self._message(message) for message in request.messages[:-1]]
        prefix = self._prefix(tuple([hashed for hashed, _ in messages]))
        if request.messages:
            # The last message is most often seen once, so remembering it would waste memory.
            form = request.messages[-1].form
            messages.append((hash_bytes("message", form), form))
        return messages, prefix

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
