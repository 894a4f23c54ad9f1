"""The cells of a page's tree, and the records in them, read byte by byte as SQLite stores them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

from lmflow.stores.sqlite.rescue.pages import HEADER, Pages

Value = None | int | float | str | bytes

TABLE_LEAF, TABLE_INNER, INDEX_LEAF, INDEX_INNER = 13, 5, 10, 2
LEAVES, INNER = (TABLE_LEAF, INDEX_LEAF), (TABLE_INNER, INDEX_INNER)
_INTEGERS = (0, 1, 2, 3, 4, 6, 8)  # bytes of the integers of the types 0 to 6
_FLOAT, _ZERO, _ONE, _TEXTS = 7, 8, 9, 12
_LONGEST_VARINT = 9
LARGEST = 2**31
"""Bytes that a record can have."""


class Unreadable(Exception):
    """Bytes that can't be a cell or a record."""


@attrs.frozen
class Node:
    """A page of a tree: its kind, the places of its cells, its children, and how many of those and
    of its cells can't be there.
    """

    page: bytes
    kind: int
    cells: tuple[int, ...]
    children: tuple[int, ...]
    lacking: int


def node_of(pages: Pages, number: int) -> Node | None:
    """Return a page as a node of a tree; ``None`` if the page can't be one."""
    page = pages[number]
    start = HEADER if number == 1 else 0
    kind = page[start]
    if kind not in LEAVES + INNER:
        return None
    head = 12 if kind in INNER else 8
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    most = (pages.usable - start - head) // 2
    places = [
        int.from_bytes(page[at : at + 2], "big")
        for at in range(start + head, start + head + 2 * min(count, most), 2)
    ]
    cells = tuple(place for place in places if start + head <= place < pages.usable - 3)
    children: list[int] = []
    if kind in INNER:
        children = [int.from_bytes(page[place : place + 4], "big") for place in cells]
        children.append(int.from_bytes(page[start + 8 : start + 12], "big"))
    known = tuple(child for child in children if 1 < child <= pages.count)
    lacking = count - len(cells) + len(children) - len(known)
    return Node(page, kind, cells, known, lacking)


def rows_of(pages: Pages, node: Node) -> Iterator[tuple[int, tuple[Value, ...]] | None]:
    """Yield the rows of a node, each with its rowid (0 in an index); ``None`` for unreadable ones.

    Inner nodes of tables have no rows, those of indexes have.
    """
    if node.kind == TABLE_INNER:
        return
    for place in node.cells:
        try:
            yield _row(pages, node, place)
        except (Unreadable, IndexError, ValueError, struct.error):
            yield None


def _row(pages: Pages, node: Node, place: int) -> tuple[int, tuple[Value, ...]]:
    if node.kind == INDEX_INNER:
        place += 4
    length, place = _varint(node.page, place)
    rowid = 0
    if node.kind == TABLE_LEAF:
        rowid, place = _varint(node.page, place)
    payload = _payload(pages, node, place, length)
    return _signed(rowid), _record(payload)


def _payload(pages: Pages, node: Node, place: int, length: int) -> bytes:
    """Return the bytes of a record: those in the page, then those of its overflow pages."""
    if length > LARGEST:
        raise Unreadable
    usable = pages.usable
    is_table = node.kind == TABLE_LEAF
    most = usable - 35 if is_table else (usable - 12) * 64 // 255 - 23
    if length <= most:
        return node.page[place : place + length]
    least = (usable - 12) * 32 // 255 - 23
    local = least + (length - least) % (usable - 4)
    if local > most:
        local = least
    data = bytearray(node.page[place : place + local])
    following = int.from_bytes(node.page[place + local : place + local + 4], "big")
    seen: set[int] = set()
    while len(data) < length:
        if not 1 < following <= pages.count or following in seen:
            raise Unreadable
        seen.add(following)
        page = pages[following]
        following = int.from_bytes(page[:4], "big")
        data += page[4 : 4 + min(usable - 4, length - len(data))]
    return bytes(data)


def _record(payload: bytes) -> tuple[Value, ...]:
    size, at = _varint(payload, 0)
    if not at <= size <= len(payload):
        raise Unreadable
    values: list[Value] = []
    body = size
    while at < size:
        kind, at = _varint(payload, at)
        value, body = _value(payload, kind, body)
        values.append(value)
    if body != len(payload):
        raise Unreadable
    return tuple(values)


def _value(payload: bytes, kind: int, at: int) -> tuple[Value, int]:
    """Return the value of a serial type at a place, and the place behind it."""
    if kind in (_ZERO, _ONE):
        return kind - _ZERO, at
    if kind < len(_INTEGERS):
        end = at + _INTEGERS[kind]
        _check_end(payload, end)
        return (int.from_bytes(payload[at:end], "big", signed=True) if kind else None), end
    if kind == _FLOAT:
        _check_end(payload, at + 8)
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind < _TEXTS:
        raise Unreadable
    end = at + (kind - _TEXTS) // 2
    _check_end(payload, end)
    data = payload[at:end]
    return (data.decode("utf-8") if kind % 2 else data), end


def _check_end(payload: bytes, end: int) -> None:
    if end > len(payload):
        raise Unreadable


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and the place behind it."""
    number = 0
    for place in range(at, at + _LONGEST_VARINT - 1):
        byte = data[place]
        number = number << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that another byte follows
            return number, place + 1
    last = at + _LONGEST_VARINT - 1
    return number << 8 | data[last], last + 1


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
