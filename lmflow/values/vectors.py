"""Vectors as they are recorded: float32, each number in the fewest digits that say it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence

Vector = tuple[float, ...]


def compact(vector: Iterable[float]) -> Vector:
    """The vector rounded to float32, each number the one that its shortest decimal form stands for.

    ``0.1`` as float32 is 0.100000001490116...; the shortest decimal that is rounded to it is
    ``0.1``, so that is what is kept: half the digits, the same float32, and the same canonical JSON
    on every platform. It is its own fixed point. ``ValueError`` for what float32 doesn't hold: NaN,
    infinities, and numbers beyond 3.4e38.
    """
    given = tuple(vector)
    singles = array("f", given)
    if wrong := [
        number for number, single in zip(given, singles, strict=True) if not math.isfinite(single)
    ]:
        msg = f"{wrong[0]!r} is no number that float32 holds"
        raise ValueError(msg)
    found = _digits(singles, 9)
    for digits in (
        8,
        7,
        6,
    ):  # 9 always say a float32, 6 it always keeps; a zero at the end is no digit
        found = _kept(found, _digits(singles, digits), singles)
    return tuple(found)


def _digits(singles: Iterable[float], digits: int) -> list[float]:
    return [float(f"{single:.{digits}g}") for single in singles]


def _kept(
    longer: Sequence[float], shorter: Sequence[float], singles: Sequence[float]
) -> list[float]:
    """The shorter form where it is still the same float32."""
    triples = zip(longer, shorter, array("f", shorter), singles, strict=True)
    return [short if again == single else long for long, short, again, single in triples]
