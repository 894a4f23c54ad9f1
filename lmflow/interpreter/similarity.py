"""The demonstrations of a pool whose vectors are nearest to that of what a step is asked."""

from __future__ import annotations

import base64
import functools
import math
import operator
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmflow.errors import MissingVector
from lmflow.interpreter.nearest import asked, best
from lmflow.values.record import Record, digest

_DIGITS = 6  # what half precision says for sure, so that what ties here ties on every machine


def similar(  # noqa: PLR0913, PLR0917 - a choice of a pool
    step: str, pool: Sequence[Record], vectors: Mapping[str, str], near: Sequence[float], inputs: Mapping[str, Any],
    names: tuple[str, ...], k: int,
) -> tuple[Record, ...]:  # fmt: skip
    """The ``k`` demonstrations whose vectors have the highest cosine with ``near``, the nearest
    last; ties by their order. A demonstration of the very inputs is left out. ``MissingVector``
    where one has no vector, or one of another length, and where ``near`` is none. Pure, so that
    a replay chooses the same.
    """
    if pool and not near:
        raise MissingVector(step, "nobody has asked for that of its inputs")
    unit, scores = _unit(near), dict[int, float]()
    for at, demo in enumerate(pool):
        vector = unpacked(vectors.get(key_of(demo, names), ""))
        if len(vector) != len(unit):
            raise MissingVector(
                step, f"its demonstration {at} has one of {len(vector)} numbers, not of {len(unit)}"
            )
        scores[at] = round(math.fsum(map(operator.mul, vector, unit)), _DIGITS)
    return best(pool, [asked(demo, names) for demo in pool], asked(inputs, names), scores, k)


def key_of(demo: Mapping[str, Any], names: Iterable[str]) -> str:
    """What the vector of a demonstration is kept under: the hash of what it asks."""
    return digest("asked", asked(demo, names))[6:22]


def packed(vector: Sequence[float]) -> str:
    """A vector at length 1 in half precision, as text: 2.7 letters a number."""
    return base64.b64encode(struct.pack(f"<{len(vector)}e", *_unit(vector))).decode()


@functools.lru_cache(maxsize=4096)
def unpacked(text: str) -> tuple[float, ...]:
    """The vector that ``packed`` made a text of."""
    raw = base64.b64decode(text)
    return struct.unpack(f"<{len(raw) // 2}e", raw)


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(math.fsum(number * number for number in vector)) or 1.0
    return [number / length for number in vector]
