"""Shards of examples: which machine runs which, by the hash of each example's id."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import attrs

from lmflow.data.dataset import at_place, check_rows, example_id, record_of
from lmflow.errors import BadData
from lmflow.values.canonical_text import text_form
from lmflow.values.record import Record

_NAME = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,8})")
_NAME_FIX = 'Write k/n, with k from 1 to n: "1/3", "2/3" and "3/3" are all.'
_BYTE = 8


@attrs.frozen(repr=False)
class Shard(Sequence[Record]):
    """The examples of one of several shards, in their order; ``shard`` makes it.

    An example without an id has its position among all examples as its id, so that its execution
    has the label that it would have without shards.

    Attributes:
        rows: All examples, of all shards.
        number: The number of the shard, from 1.
        of: The number of shards.
        places: A bit for each of all examples, set if the shard has it.
        data: The digest of all examples.
    """

    rows: Sequence[Mapping[str, Any]]
    number: int
    of: int
    places: bytes
    data: str

    def __len__(self) -> int:
        return sum(byte.bit_count() for byte in self.places)

    def __iter__(self) -> Iterator[Record]:
        for position, row in enumerate(self.rows):
            if has_place(self.places, position):
                yield _placed(record_of(row), position)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | Sequence[Record]:
        return at_place(self, at)

    def __repr__(self) -> str:
        return f"<Shard {self.number}/{self.of}: {len(self)} of {len(self.rows)} examples>"

    @property
    def settings(self) -> Record:
        """What the run of the shard keeps, so that it can be merged with the others."""
        return Record(
            index=self.number,
            of=self.of,
            total=len(self.rows),
            data=self.data,
            places=base64.b64encode(zlib.compress(self.places, 9)).decode("ascii"),
        )


def shard(rows: Iterable[Mapping[str, Any]], name: str) -> Shard:
    """Take the examples of one of n shards.

    An example belongs to a shard by the hash of its id, or of its content if it has none; so a
    shard has the same examples whatever their order, and the shards have each example once.

    Args:
        rows: All examples. A sequence that reads them from a file is read again and again, so that
            no more than one is held.
        name: The shard, ``"k/n"``: ``"2/7"`` is the second of seven.

    Returns:
        The examples, for ``ex.map`` and ``ex.evaluate``; ``lf.merge_runs`` merges their runs.

    Raises:
        BadData: ``name`` names no shard.
        TypeError: An example isn't a mapping.

    Example:
        >>> import lmflow as lf
        >>> rows = [{"question": f"{n} + {n}?"} for n in range(10)]
        >>> sum(len(lf.shard(rows, f"{k}/3")) for k in (1, 2, 3))
        10
    """
    number, of = shard_numbers(name)
    check_rows(rows)
    whole = rows if isinstance(rows, Sequence) else tuple(rows)
    places, hashing = bytearray(), hashlib.blake2b(b"dataset\0[", digest_size=32)
    for position, row in enumerate(whole):
        record = record_of(row)
        if position % _BYTE == 0:
            places.append(0)
        if shard_of(example_id(record), of) == number:
            places[-1] |= 1 << position % _BYTE
        form = text_form(record.digest)
        hashing.update((f",{form}" if position else form).encode("ascii"))
    hashing.update(b"]")
    return Shard(whole, number, of, bytes(places), f"v1:b2:{hashing.hexdigest()}")


def in_parts(rows: Sequence[Mapping[str, Any]], size: int) -> tuple[Shard, ...]:
    """Divide examples into parts of ``size`` that follow each other, as shards of their own.

    Each part holds a bit for each of all examples, and reads those of the others when it is read.
    """
    whole = tuple(_placed(record_of(row), position) for position, row in enumerate(rows))
    data, count = records_digest(whole), -(-len(whole) // size)
    parts = []
    for part in range(count):
        places = bytearray(-(-len(whole) // _BYTE))
        for position in range(part * size, min(len(whole), (part + 1) * size)):
            places[position // _BYTE] |= 1 << position % _BYTE
        parts.append(Shard(whole, part + 1, count, bytes(places), data))
    return tuple(parts)


def records_digest(rows: Sequence[Record]) -> str:
    """Return the digest of examples, as of a data set."""
    forms = ",".join(text_form(row.digest) for row in rows)
    hashed = hashlib.blake2b(f"dataset\0[{forms}]".encode("ascii"), digest_size=32)
    return f"v1:b2:{hashed.hexdigest()}"


def shard_settings(rows: object) -> Record:
    """Return what the run of a shard keeps; nothing for rows that aren't a shard."""
    return Record(shard=rows.settings) if isinstance(rows, Shard) else Record()


def shard_numbers(name: str) -> tuple[int, int]:
    """Return k and n of the shard ``k/n``. ``BadData`` if the text names none."""
    match = _NAME.fullmatch(name)
    if match is None or int(match[1]) > int(match[2]):
        raise BadData("the shard", f"{name[:40]!r} isn't one", _NAME_FIX)
    return int(match[1]), int(match[2])


def shard_of(id_: str, of: int) -> int:
    """Return the number, from 1, of the shard that an example with an id belongs to."""
    hashed = hashlib.blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(hashed, "big") % of + 1


def has_place(places: bytes, position: int) -> bool:
    """Tell whether the bit of a position is set."""
    return bool(places[position // _BYTE] >> position % _BYTE & 1)


def places_of(settings: Mapping[str, Any]) -> bytes:
    """Return the bits of a shard's examples, as its run keeps them.

    Raises:
        ValueError: They aren't what ``Shard.settings`` wrote.
    """
    size = -(-int(settings["total"]) // _BYTE)
    unpacking = zlib.decompressobj()
    try:
        places = unpacking.decompress(base64.b64decode(settings["places"], validate=True), size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(places) != size:
        msg = f"{len(places)} bytes of places for {settings['total']} examples"
        raise ValueError(msg)
    return places


def _placed(record: Record, position: int) -> Record:
    """Return an example with an id."""
    return record if record.get("id") is not None else record | Record(id=str(position))
