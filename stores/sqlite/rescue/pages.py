"""The pages of a SQLite file, those of its write-ahead log over them, whatever is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Self

SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
"""The sizes that a page can have."""

_NEARLY = 0.7

HEADER = 100
"""Bytes of the file's header, at the beginning of the first page."""

MAGIC = b"SQLite format 3\0"
_WAL_MAGIC = (0x377F0682, 0x377F0683)
_WAL_HEADER, _FRAME_HEADER = 32, 24
_LEAST_USABLE = 480
_LOCK_BYTE = 2**30
_MOST_PAGES = 2**28
"""Pages from which on a count in the header is taken for damage."""

_KINDS = frozenset({2, 5, 10, 13})


class Pages:
    """The pages of a file by number, from 1 on. What is beyond the end of the file is empty."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._length = path.stat().st_size
        self.size = self._page_size()
        self._log = _log_frames(path.with_name(f"{path.name}-wal"), self.size)
        last_of_log = max(self._log, default=0)
        self.count = max(-(-self._length // self.size), last_of_log)
        self.reserved = self._reserved()
        self.used: set[int] = set()
        """The pages that were read as part of a tree."""

    def __enter__(self) -> Self:
        """Return the pages themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def __getitem__(self, number: int) -> bytes:
        """Return a page; one that the file lacks, or has in part, ends in zeros."""
        self.used.add(number)
        if number in self._log:
            return self._log[number]
        return self._read((number - 1) * self.size, self.size)

    @property
    def missing(self) -> int:
        """The number of pages that the header counts and the file lacks."""
        stated = int.from_bytes(self[1][28:32], "big")
        return stated - self.count if self.count < stated < _MOST_PAGES else 0

    @property
    def unusable(self) -> set[int]:
        """The page that SQLite never uses, as locks are taken on its bytes."""
        return {_LOCK_BYTE // self.size + 1}

    @property
    def usable(self) -> int:
        """The bytes of a page that hold data."""
        return self.size - self.reserved

    def freed(self) -> set[int]:
        """Return the pages that SQLite has marked as free, as far as their list can be followed.

        They hold rows that were removed, which must not come back.
        """
        free: set[int] = set()
        trunk = int.from_bytes(self[1][32:36], "big")
        while 1 < trunk <= self.count and trunk not in free:
            page = self[trunk]
            free.add(trunk)
            count = min(int.from_bytes(page[4:8], "big"), self.usable // 4 - 2)
            numbers = (page[8 + 4 * at : 12 + 4 * at] for at in range(count))
            leaves = [int.from_bytes(number, "big") for number in numbers]
            free.update(leaf for leaf in leaves if 1 < leaf <= self.count)
            trunk = int.from_bytes(page[:4], "big")
        return free

    def _read(self, start: int, size: int) -> bytes:
        if start >= self._length:
            return bytes(size)
        self._file.seek(start)
        return self._file.read(size).ljust(size, b"\0")

    def _page_size(self) -> int:
        """Return the size of a page: that of a sound header, else the least at which pages begin
        as often as at any other; at its multiples they do too.
        """
        stated = int.from_bytes(self._read(16, 2), "big")
        stated = 65536 if stated == 1 else stated
        shares = {size: self._likely_pages(size) for size in SIZES}
        best = max(shares.values())
        if stated in SIZES and shares[stated] >= best * _NEARLY:
            return stated
        return next(size for size, share in shares.items() if share >= best * _NEARLY)

    def _likely_pages(self, size: int) -> float:
        """Return the share of the first pages of a size that begin as pages of tables do."""
        starts = [HEADER, *range(size, min(self._length, 400 * size), size)]
        return sum(self._read(start, 1)[0] in _KINDS for start in starts) / len(starts)

    def _reserved(self) -> int:
        head = self._read(0, HEADER)
        is_sound = head.startswith(MAGIC) and head[20] <= self.size - _LEAST_USABLE
        return head[20] if is_sound else 0


def _log_frames(path: Path, size: int) -> dict[int, bytes]:
    """Return the committed pages of a write-ahead log by number, as far as its checksums hold."""
    try:
        log = path.read_bytes()
    except OSError:
        return {}
    if len(log) < _WAL_HEADER or int.from_bytes(log[:4], "big") not in _WAL_MAGIC:
        return {}
    order = "big" if log[3] & 1 else "little"
    if int.from_bytes(log[8:12], "big") != size:
        return {}
    salts, sums = log[16:24], _checksum(log[:24], (0, 0), order)
    if sums != _sums(log[24:32]):
        return {}
    frames: dict[int, bytes] = {}
    waiting: dict[int, bytes] = {}
    step = _FRAME_HEADER + size
    for start in range(_WAL_HEADER, len(log) - step + 1, step):
        head, page = log[start : start + _FRAME_HEADER], log[start + _FRAME_HEADER : start + step]
        sums = _checksum(page, _checksum(head[:8], sums, order), order)
        if head[8:16] != salts or sums != _sums(head[16:24]):
            break
        waiting[int.from_bytes(head[:4], "big")] = page
        if int.from_bytes(head[4:8], "big"):  # the last frame of a commit
            frames |= waiting
            waiting = {}
    return frames


def _sums(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    """Continue SQLite's checksum of a log, over pairs of 32-bit words."""
    words = memoryview(data).cast("I") if order == _NATIVE else memoryview(_swapped(data)).cast("I")
    first, second = sums
    for at in range(0, len(words), 2):
        first = (first + words[at] + second) & 0xFFFFFFFF
        second = (second + words[at + 1] + first) & 0xFFFFFFFF
    return first, second


def _swapped(data: bytes) -> bytes:
    return b"".join(data[at : at + 4][::-1] for at in range(0, len(data), 4))


_NATIVE = "little" if memoryview(b"\1\0\0\0").cast("I")[0] == 1 else "big"
