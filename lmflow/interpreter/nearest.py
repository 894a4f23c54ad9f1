"""Chooses the demonstrations of a pool that are nearest to a step's inputs by shared words."""

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


def nearest_by_words(
    pool: Iterable[Record], inputs: Mapping[str, Any], names: tuple[str, ...], k: int
) -> tuple[Record, ...]:
    """Choose the ``k`` demonstrations nearest to ``inputs`` by BM25, the nearest last.

    ``names`` are the inputs that are compared; ties keep the pool's order. A demonstration of the
    same inputs is left out, so that no step is shown its own answer. Pure, so that a replay chooses
    the same (Liu et al. 2022, arXiv 2101.06804, section 3: the nearest examples, the closest next
    to the question).
    """
    index = _index(tuple(pool), names)
    scores = index.scores(_words(inputs, names))
    return top_k(index.pool, index.questions, canonical_question(inputs, names), scores, k)


def top_k(
    pool: Sequence[Record], questions: Sequence[str], own: str, scores: Mapping[int, float], k: int
) -> tuple[Record, ...]:
    """Choose the ``k`` of a pool with the highest scores, the highest last.

    ``scores`` are by position. Demonstrations whose question is ``own`` are left out.
    """
    others = [i for i, question in enumerate(questions) if question != own]
    chosen = sorted(others, key=lambda i: (-scores.get(i, 0.0), i))[:k]
    return tuple(pool[i] for i in reversed(chosen))


def canonical_question(record: Mapping[str, Any], names: Iterable[str]) -> str:
    """The named fields of a record in canonical form: equal questions have equal texts."""
    return canonical(plain({name: record[name] for name in names if name in record}))


def question_text(record: Mapping[str, Any], names: Iterable[str]) -> str:
    """The named fields of a record as one text."""
    values = (record[name] for name in names if name in record)
    return "\n".join(map(_value_text, values))


def _value_text(value: Any) -> str:
    return value if isinstance(value, str) else pretty(value)


@attrs.frozen(eq=False)
class _Index:
    """An index of a pool: the canonical question of each demonstration, and weights of words.

    ``weights`` hold, per word, the positions of the demonstrations with the word and its weight.
    """

    pool: tuple[Record, ...]
    questions: tuple[str, ...]
    weights: Mapping[str, tuple[tuple[int, float], ...]]

    def scores(self, words: Iterable[str]) -> dict[int, float]:
        """Score the demonstrations that share a word, by position."""
        matches: dict[int, list[float]] = {}
        for word in words:
            for i, weight in self.weights.get(word, ()):
                matches.setdefault(i, []).append(weight)
        # fsum rounds once, whatever the order of the words, and the digits beyond _DIGITS differ
        # between machines: a tie here must be a tie in a replay on another machine.
        return {i: round(math.fsum(weights), _DIGITS) for i, weights in matches.items()}


@functools.lru_cache(maxsize=64)
def _index(pool: tuple[Record, ...], names: tuple[str, ...]) -> _Index:
    counts = [Counter(_words(demo, names)) for demo in pool]
    lengths = [count.total() for count in counts]
    mean = sum(lengths) / len(pool) if any(lengths) else 1.0
    holders: dict[str, list[int]] = {}
    for i, count in enumerate(counts):
        for word in count:
            holders.setdefault(word, []).append(i)

    def weight(word: str, i: int) -> float:
        return _weight(counts[i][word], lengths[i] / mean, len(holders[word]), len(pool))

    weights = {word: tuple((i, weight(word, i)) for i in ids) for word, ids in holders.items()}
    return _Index(pool, tuple(canonical_question(demo, names) for demo in pool), weights)


def _weight(count: int, length: float, holders: int, size: int) -> float:
    rarity = math.log(1 + (size - holders + 0.5) / (holders + 0.5))
    return rarity * count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * length))


def _words(record: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    return _WORD.findall(question_text(record, names).lower())
