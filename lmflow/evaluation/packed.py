"""Many numbers in little memory: a byte for each as long as few of them differ."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import overload

_MOST_DIFFERENT = 256


class Numbers(Sequence[float]):
    """Numbers in order; NaN stands for none. They can only be appended.

    Scores are often 0 or 1: a million of them take a megabyte, where an array takes eight.
    """

    __slots__ = ("_code_of", "_codes", "_known", "_values")

    def __init__(self) -> None:
        self._codes: array[int] = array("B")
        self._known = [math.nan]
        self._code_of: dict[tuple[float, float], int] = {}
        self._values: array[float] | None = None

    def append(self, number: float) -> None:
        """Add a number at the end."""
        if self._values is None and (code := self._code(number)) is not None:
            self._codes.append(code)
            return
        if self._values is None:
            self._values = array("d", self)
            self._codes = array("B")
        self._values.append(number)

    def __len__(self) -> int:
        return len(self._codes if self._values is None else self._values)

    @overload
    def __getitem__(self, at: int) -> float: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[float]: ...
    def __getitem__(self, at: int | slice) -> float | Sequence[float]:
        if self._values is not None:
            return self._values[at]
        if isinstance(at, slice):
            return [self._known[code] for code in self._codes[at]]
        return self._known[self._codes[at]]

    def __iter__(self) -> Iterator[float]:
        if self._values is not None:
            return iter(self._values)
        return map(self._known.__getitem__, self._codes)

    # 0.0 and -0.0 are equal and print differently.
    def _code(self, number: float) -> int | None:
        """Return the code of a number, ``None`` if there are too many different ones."""
        if math.isnan(number):
            return 0
        key = number, math.copysign(1, number)
        if (code := self._code_of.get(key)) is not None or len(self._known) == _MOST_DIFFERENT:
            return code
        self._known.append(number)
        self._code_of[key] = len(self._known) - 1
        return self._code_of[key]
