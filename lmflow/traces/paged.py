"""Sequences that are read a page at a time when somebody looks at them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, overload

T = TypeVar("T")
U = TypeVar("U")

HELD = 1000
"""The executions of a run that are held in memory; of a longer run they are read when they are
looked at, if there is a store to read them from.
"""

PAGE = 128
"""The members that are read at once."""

_KEPT = 4
"""The pages that are kept for members that are looked at one by one."""

Read = Callable[[int, int], Sequence[T]]
"""Returns the members from a position on, up to another; it raises if one is gone."""


class Paged(Sequence[T]):
    """An immutable sequence that is read a page at a time, when its members are looked at.

    Iterating over it holds one page. A slice is read when it is looked at, too. It equals each
    sequence of equal members, and is pickled as a tuple of all of them.

    Args:
        read: Reads members by their positions.
        length: The number of the members.
    """

    __slots__ = ("_length", "_pages", "_read")

    def __init__(self, read: Read[T], length: int) -> None:
        self._read = read
        self._length = length
        self._pages: OrderedDict[int, Sequence[T]] = OrderedDict()

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, at: int, /) -> T: ...
    @overload
    def __getitem__(self, at: slice, /) -> Sequence[T]: ...
    def __getitem__(self, at: int | slice, /) -> T | Sequence[T]:
        places = range(self._length)[at]
        if isinstance(places, range):
            return self._part(places)
        return self._page(places // PAGE)[places % PAGE]

    def __iter__(self) -> Iterator[T]:
        for start in range(0, self._length, PAGE):
            yield from self._read(start, min(start + PAGE, self._length))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Paged, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(
            own == its for own, its in zip(self, other, strict=True)
        )

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"<{self._length:,} members, read when they are looked at>"

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (tuple(self),)

    def each(self, change: Callable[[T], U]) -> Paged[U]:
        """Return the sequence of what a function makes of each member, when it is looked at."""
        return Paged(
            lambda start, stop: [change(member) for member in self._read(start, stop)],
            self._length,
        )

    def at(self, places: Sequence[int]) -> Paged[T]:
        """Return the members at ascending positions, which are read when they are looked at."""
        return Paged(lambda start, stop: [self[place] for place in places[start:stop]], len(places))

    def _part(self, places: range) -> Sequence[T]:
        if places.step != 1:
            return tuple(self[place] for place in places)
        first = places.start
        return Paged(lambda start, stop: self._read(first + start, first + stop), len(places))

    # Two threads may read the same page twice; each gets the same members.
    def _page(self, number: int) -> Sequence[T]:
        page = self._pages.get(number)
        if page is None:
            start = number * PAGE
            page = self._pages[number] = self._read(start, min(start + PAGE, self._length))
            while len(self._pages) > _KEPT:
                self._pages.popitem(last=False)
        return page
