"""Vectors as they are recorded: float32, each number in the fewest digits that say it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence

Vector = tuple[float, ...]


def compact(vector: Iterable[float]) -> Vector:
    """The vector rounded to float32, each number the one that its shortest decimal form stands for.

    ``0.1`` as float32 is 0.100000001490116...; the shortest decimal that rounds to the same float32
    is ``0.1``: half the digits, and the same canonical JSON on every platform. A compact vector is
    its own compact form.

    Raises:
        ValueError: float32 doesn't hold a number: NaN, an infinity, or beyond 3.4e38.
    """
    numbers = tuple(vector)
    singles = array("f", numbers)
    for number, single in zip(numbers, singles, strict=True):
        if not math.isfinite(single):
            msg = f"{number!r} is not a number that float32 holds"
            raise ValueError(msg)
    # 9 digits always identify a float32, and 6 always survive it: a number of fewer digits is also
    # the shortest form of 6, as zeros at the end aren't written.
    shortest = _rounded(singles, 9)
    for digits in (8, 7, 6):
        shortest = _shorter(shortest, _rounded(singles, digits), singles)
    return tuple(shortest)


def _rounded(singles: Iterable[float], digits: int) -> list[float]:
    return [float(f"{single:.{digits}g}") for single in singles]


def _shorter(
    longer: Sequence[float], shorter: Sequence[float], singles: Sequence[float]
) -> list[float]:
    """Each number in its shorter form if that rounds to the same float32, else in the longer."""
    numbers = list(longer)
    for place, (number, single) in enumerate(zip(array("f", shorter), singles, strict=True)):
        if number == single:
            numbers[place] = shorter[place]
    return numbers
