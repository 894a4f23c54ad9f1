"""Bisecting: a binary search along first parents for the version that broke an example, as a pure
function of the scores so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, log2

import attrs

from lmflow.errors import NotBisectable, UnknownVersion, short
from lmflow.versions.version import Version


@attrs.frozen
class FirstBad:
    """The first bad version and the last good one, its first parent, provided that an example that
    broke once stayed broken.
    """

    good: Version
    bad: Version


@attrs.frozen
class NextProbe:
    """The position of the version to judge next, and the most judgements that may still be needed,
    this one included.
    """

    position: int
    most: int


def between(good: Version, bad: Version, version: Callable[[str], Version]) -> tuple[Version, ...]:
    """The versions from good to bad along first parents, both included.

    ``version`` finds a version by its id. ``NotBisectable`` if bad doesn't descend from good.
    """
    line = [bad]
    while line[-1].id != good.id:
        if not line[-1].parents:
            problem = f"{short(bad.id)} doesn't come of {short(good.id)} by first parents"
            raise NotBisectable(problem)
        try:
            line.append(version(line[-1].parents[0]))
        except UnknownVersion:
            problem = f"the parent {short(line[-1].parents[0])} isn't in the store"
            raise NotBisectable(problem) from None
    return tuple(reversed(line))


def search(line: tuple[Version, ...], scores: Mapping[int, float | None]) -> FirstBad | NextProbe:
    """The next position to judge, or the result.

    ``scores`` are by position; ``None`` is a failure, which is worse than any score. A version is
    good if it scores more than halfway from the bad end to the good end. The search assumes that
    scores fall once along the line. ``NotBisectable`` if the good end scores no more than the bad
    end.
    """
    last = len(line) - 1
    for end in (0, last):
        if end not in scores:
            return NextProbe(end, sum(other not in scores for other in (0, last)) + _most(last))
    first, final = (_worth(scores[end]) for end in (0, last))
    if first <= final:
        good_end = f"{short(line[0].id)} scores {_score_text(scores[0])}"
        raise NotBisectable(f"{good_end}, {short(line[-1].id)} {_score_text(scores[last])}")
    middle = (first + final) / 2 if final != -INFINITE else -INFINITE
    good = max(position for position, score in scores.items() if _worth(score) > middle)
    bad = min(
        position
        for position, score in scores.items()
        if _worth(score) <= middle and position > good
    )
    if bad - good == 1:
        return FirstBad(line[good], line[bad])
    return NextProbe((good + bad) // 2, _most(bad - good))


INFINITE = float("inf")


def _most(gap: int) -> int:
    return ceil(log2(gap)) if gap > 1 else 0


def _worth(score: float | None) -> float:
    return -INFINITE if score is None else float(score)


def _score_text(score: float | None) -> str:
    return "a failure" if score is None else f"{float(score):g}"
