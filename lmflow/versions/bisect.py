"""Which version broke an example: a binary search along first parents, as a pure function of what
is judged so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, log2

import attrs

from lmflow.errors import NotBisectable, UnknownVersion, short
from lmflow.versions.version import Version


@attrs.frozen
class Found:
    """The first bad version and the last good one, its first parent. It is so if what broke once
    stayed broken.
    """

    good: Version
    bad: Version


@attrs.frozen
class Judge:
    """The position whose version is to be judged next, and how many more may be needed, it
    included.
    """

    position: int
    most: int


def between(good: Version, bad: Version, version: Callable[[str], Version]) -> tuple[Version, ...]:
    """The versions from good to bad along first parents, both included. ``version`` finds one by
    its id.

    ``NotBisectable`` where bad doesn't come of good.
    """
    line = [bad]
    while line[-1].id != good.id:
        if not line[-1].parents:
            raise NotBisectable(
                f"{short(bad.id)} doesn't come of {short(good.id)} by first parents"
            )
        try:
            line.append(version(line[-1].parents[0]))
        except UnknownVersion:
            raise NotBisectable(
                f"the parent {short(line[-1].parents[0])} isn't in the store"
            ) from None
    return tuple(reversed(line))


def search(line: tuple[Version, ...], scores: Mapping[int, float | None]) -> Found | Judge:
    """What to judge next, or the answer; ``scores`` by position, ``None`` for a failure, which is
    as bad as can be.

    A version is good where it scores more than halfway from the bad end to the good end. Assumes
    that the scores fall once along the line. ``NotBisectable`` where the good end doesn't score
    more than the bad end.
    """
    last = len(line) - 1
    for end in (0, last):
        if end not in scores:
            return Judge(end, sum(other not in scores for other in (0, last)) + _most(last))
    first, final = (_worth(scores[end]) for end in (0, last))
    if first <= final:
        raise NotBisectable(
            f"{short(line[0].id)} scores {_said(scores[0])}, {short(line[-1].id)} {_said(scores[last])}"
        )
    middle = (first + final) / 2 if final != -INFINITE else -INFINITE
    good = max(position for position, score in scores.items() if _worth(score) > middle)
    bad = min(
        position
        for position, score in scores.items()
        if _worth(score) <= middle and position > good
    )
    if bad - good == 1:
        return Found(line[good], line[bad])
    return Judge((good + bad) // 2, _most(bad - good))


INFINITE = float("inf")


def _most(gap: int) -> int:
    return ceil(log2(gap)) if gap > 1 else 0


def _worth(score: float | None) -> float:
    return -INFINITE if score is None else float(score)


def _said(score: float | None) -> str:
    return "a failure" if score is None else f"{float(score):g}"
