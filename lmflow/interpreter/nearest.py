"""The demonstrations of a pool that are nearest to what a step is asked, by the words that they
share.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.values.record import Record, canonical, plain, pretty

_K1, _B = 1.2, 0.75  # Robertson and Zaragoza 2009, section 3.5
_DIGITS = 9  # scores are compared to so many digits, so that what ties here ties on every machine
_WORD = re.compile(r"\w+")


def nearest(
    pool: Iterable[Record], inputs: Mapping[str, Any], names: tuple[str, ...], k: int
) -> tuple[Record, ...]:
    """The ``k`` demonstrations whose inputs are nearest to ``inputs`` by BM25, the nearest last;
    ties by their order.

    ``names`` are the inputs that are compared. A demonstration of the very inputs is left out, so
    that nothing is shown its own answer. Pure, so that a replay chooses the same (Liu et al. 2022,
    arXiv 2101.06804, section 3: the nearest examples, the closest next to the question).
    """
    index = _index(tuple(pool), names)
    scores = index.scores(_words(inputs, names))
    return best(index.pool, index.asked, asked(inputs, names), scores, k)


def best(
    pool: Sequence[Record], questions: Sequence[str], own: str, scores: Mapping[int, float], k: int
) -> tuple[Record, ...]:
    """The ``k`` of a pool with the highest scores, by position, the highest last, without those
    that ask what ``own`` does.
    """
    open_ = [at for at, question in enumerate(questions) if question != own]
    chosen = sorted(open_, key=lambda at: (-scores.get(at, 0.0), at))[:k]
    return tuple(pool[at] for at in reversed(chosen))


def asked(record: Mapping[str, Any], names: Iterable[str]) -> str:
    """What a record asks, in canonical form."""
    return canonical(plain({name: record[name] for name in names if name in record}))


def text_of(record: Mapping[str, Any], names: Iterable[str]) -> str:
    """What a record asks, as one text."""
    held = (record[name] for name in names if name in record)
    return "\n".join(value if isinstance(value, str) else pretty(value) for value in held)


@attrs.frozen(eq=False)
class _Index:
    """Per word the demonstrations that have it, with its weight in each; and what each was asked,
    in canonical form.
    """

    pool: tuple[Record, ...]
    asked: tuple[str, ...]
    weights: Mapping[str, tuple[tuple[int, float], ...]]

    def scores(self, words: Iterable[str]) -> dict[int, float]:
        """Per demonstration that shares a word its score."""
        found: dict[int, list[float]] = {}
        for word in words:
            for at, weight in self.weights.get(word, ()):
                found.setdefault(at, []).append(weight)
        return {at: round(math.fsum(weights), _DIGITS) for at, weights in found.items()}


@functools.lru_cache(maxsize=64)
def _index(pool: tuple[Record, ...], names: tuple[str, ...]) -> _Index:
    counts = [Counter(_words(demo, names)) for demo in pool]
    lengths = [count.total() for count in counts]
    mean = sum(lengths) / len(pool) if any(lengths) else 1.0
    holders: dict[str, list[int]] = {}
    for at, count in enumerate(counts):
        for word in count:
            holders.setdefault(word, []).append(at)
    weights = {
        word: tuple(
            (at, _weight(counts[at][word], lengths[at] / mean, len(found), len(pool)))
            for at in found
        )
        for word, found in holders.items()
    }
    return _Index(pool, tuple(asked(demo, names) for demo in pool), weights)


def _weight(count: int, length: float, holders: int, size: int) -> float:
    rarity = math.log(1 + (size - holders + 0.5) / (holders + 0.5))
    return rarity * count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * length))


def _words(record: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    return _WORD.findall(text_of(record, names).lower())
