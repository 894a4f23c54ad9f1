"""Chooses the demonstrations of a pool whose vectors are nearest to that of a step's inputs."""

from __future__ import annotations

import base64
import functools
import math
import operator
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmflow.errors import MissingVector
from lmflow.interpreter.nearest import canonical_question, top_k
from lmflow.values.record import Record, digest

_DIGITS = 6  # the digits that half precision has on every machine, so that ties are ties on all


def nearest_by_vectors(  # noqa: PLR0913, PLR0917 - a choice of a pool
    step: str, pool: Sequence[Record], vectors: Mapping[str, str], near: Sequence[float],
    inputs: Mapping[str, Any], names: tuple[str, ...], k: int,
) -> tuple[Record, ...]:  # fmt: skip
    """Choose the ``k`` demonstrations with the highest cosine to ``near``, the nearest last.

    Ties keep the pool's order; a demonstration of the same inputs is left out. Pure, so that a
    replay chooses the same. ``MissingVector`` if ``near`` is empty, or a demonstration has no
    vector or one of another length.
    """
    if pool and not near:
        raise MissingVector(step, "nobody has asked for that of its inputs")
    unit, scores = _unit(near), dict[int, float]()
    for i, demo in enumerate(pool):
        vector = unpack_vector(vectors.get(vector_key(demo, names), ""))
        if len(vector) != len(unit):
            problem = f"its demonstration {i} has one of {len(vector)} numbers, not of {len(unit)}"
            raise MissingVector(step, problem)
        scores[i] = round(math.fsum(map(operator.mul, vector, unit)), _DIGITS)
    questions = [canonical_question(demo, names) for demo in pool]
    return top_k(pool, questions, canonical_question(inputs, names), scores, k)


def vector_key(demo: Mapping[str, Any], names: Iterable[str]) -> str:
    """The key of a demonstration's vector: a hash of its question."""
    return digest("asked", canonical_question(demo, names))[6:22]


def pack_vector(vector: Sequence[float]) -> str:
    """Write a vector, scaled to length 1, as text in half precision: 2.7 letters per number."""
    return base64.b64encode(struct.pack(f"<{len(vector)}e", *_unit(vector))).decode()


@functools.lru_cache(maxsize=4096)
def unpack_vector(text: str) -> tuple[float, ...]:
    """Read a vector that ``pack_vector`` wrote."""
    raw = base64.b64decode(text)
    return struct.unpack(f"<{len(raw) // 2}e", raw)


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(math.fsum(number * number for number in vector)) or 1.0
    return [number / length for number in vector]
