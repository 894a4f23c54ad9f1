"""The format of blobs: how values are hashed, packed and composed of other blobs.

A blob is a JSON value under the hash of its canonical form. Three kinds have a layout of their own:

- ``message`` is one message; ``prefix`` is the list of the ids of the messages before the last, so
  that requests of one conversation share it.
- ``shape`` is a chat request without its messages. A call names the shape, the prefix and the last
  message of its request, so that a new request adds its last message alone.
- ``request`` is a request to a tool or for embeddings. Before schema 11 chat requests were such
  blobs too, with ``{"prefix": id, "last": [id]}`` as ``messages``; they are read as ever.
- ``media`` is the content of a picture, sound or file, as it is, under its own SHA-256; other
  blobs name it by ``"sha256:..."``.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import msgspec

from lmflow.stores.sqlite.blobs.media import MEDIA
from lmflow.values.canonical_text import KEYED, hash_bytes, hash_text
from lmflow.values.media import SHA, Media, media_in
from lmflow.values.record import canonical, write_form

SMALLEST = 120
"""Bytes from which on a text is compressed."""

LARGEST = 2**28
"""The most bytes that a compressed text may unpack to: a file from elsewhere may be made so that it
fills the memory.
"""

_RATIO = 1032  # to one: the most that zlib compresses

DIGEST = 32
"""Bytes of a digest."""

PLAIN, ZLIB = 0, 1
"""The encodings of texts; ``media.RAW`` is the third."""

WITHOUT_CONTENTS = (MEDIA, "prefix", "world", "failure", "feedback")
"""The kinds of blobs that never name a content."""

_CONTENT = re.compile(r'"sha256:([0-9a-f]{64})"')


def pack(text: str) -> tuple[int, bytes]:
    """Return the encoding and the bytes of a text: compressed if that is smaller."""
    plain = text.encode("ascii")
    if len(plain) < SMALLEST:
        return PLAIN, plain
    compressed = zlib.compress(plain, 3)
    return (ZLIB, compressed) if len(compressed) < len(plain) else (PLAIN, plain)


def unpack_bytes(enc: int, data: bytes) -> bytes:
    """Return the text that was packed, as ASCII bytes."""
    return _inflated(data) if enc else data


def unpack_text(enc: int, data: bytes) -> str:
    """Return the text that was packed."""
    return unpack_bytes(enc, data).decode("ascii")


def _inflated(data: bytes) -> bytes:
    """Return the compressed text. ``ValueError`` if it is so long that it is a trap."""
    if len(data) * _RATIO <= LARGEST:
        return zlib.decompress(data)
    inflator = zlib.decompressobj()
    text = inflator.decompress(data, LARGEST)
    if inflator.unconsumed_tail:
        raise ValueError(f"it unpacks to more than {LARGEST:,} bytes")
    return text


def unpack(enc: int, data: bytes) -> Any:
    """Return the JSON value that was packed."""
    return read_form(unpack_bytes(enc, data))


def read_form(form: bytes) -> Any:
    """Return the JSON value of a canonical form."""
    try:
        return msgspec.json.decode(form)
    except msgspec.MsgspecError:
        # The standard library reads a few more texts, such as halves of surrogate pairs, and its
        # errors say what is wrong with the others.
        return json.loads(form)


def hash_form(kind: str, form: bytes) -> bytes:
    """Return the hash of a value whose canonical form is ``form``."""
    return hashlib.blake2b(b"%s\0%s" % (kind.encode(), form), digest_size=DIGEST).digest()


def digest_bytes(digest: str) -> bytes:
    """Return the 32 bytes of a digest; of a keyed one, with a byte in front that says so."""
    if digest.startswith(KEYED):
        return b"h" + bytes.fromhex(digest.removeprefix(KEYED))
    return bytes.fromhex(digest.removeprefix("v1:b2:"))


def digest_text(hashed: bytes) -> str:
    """Return the digest of ``digest_bytes``."""
    return f"v1:b2:{hashed.hex()}" if len(hashed) == DIGEST else KEYED + hashed[1:].hex()


def hash_of(kind: str, value: Any) -> bytes:
    """Return the hash under which a value is stored."""
    return digest_bytes(hash_text(kind, canonical(value)))


def is_derivable(key: str) -> bool:
    """Say whether a key is the hash of its request; in a redacted run it is a keyed hash."""
    return not key.startswith(KEYED)


@attrs.frozen
class Body:
    """A value as it is stored: its hash, its kind, its canonical form, and the media in it."""

    hashed: bytes
    kind: str
    text: str
    media: tuple[Media, ...] = ()

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The hashes of all blobs that storing the value creates."""
        return (self.hashed, *content_hashes(self.media)) if self.media else (self.hashed,)


def body_of(kind: str, value: Any) -> Body:
    """Return a JSON value, or one with media in it, as it is stored."""
    form, is_plain = write_form(value)
    return Body(hash_bytes(kind, form), kind, form, () if is_plain else stored_media(value))


def stored_media(value: Any) -> tuple[Media, ...]:
    """Return the media in a value whose content is stored."""
    return tuple(media for media in media_in(value) if media.known)


def content_hash(media: Media) -> bytes:
    """Return the hash under which the content of a medium is stored."""
    return bytes.fromhex(media.digest.removeprefix(SHA))


def content_hashes(media: Iterable[Media]) -> Iterator[bytes]:
    """Return the hashes under which the contents of media are stored."""
    return map(content_hash, media)


def contents_named(text: str) -> list[bytes]:
    """Return the hashes of the contents that the text of a blob names."""
    return [bytes.fromhex(digits) for digits in _CONTENT.findall(text)]


def names_parts(db: sqlite3.Connection) -> bool:
    """Tell whether the calls of a store, which may have an earlier schema, name the parts of their
    requests.
    """
    column = "SELECT 1 FROM pragma_table_info('call') WHERE name = 'prefix'"
    return db.execute(column).fetchone() is not None


def parts_of(kind: str, value: Any) -> list[int]:
    """Return the ids of the blobs that a blob is composed of.

    Args:
        kind: The blob's kind.
        value: Its JSON value.

    Returns:
        The messages of a prefix; the prefix and the last message of a chat request that has its own
        blob; none of others.
    """
    if kind == "prefix":
        return list(value) if isinstance(value, list) else []
    messages = value.get("messages") if kind == "request" and isinstance(value, dict) else None
    return [messages["prefix"], *messages["last"]] if isinstance(messages, dict) else []
