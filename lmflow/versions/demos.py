"""Lists of demonstrations, compared and merged by the content of their elements."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from lmflow.values.record import canonical

Pairs = list[tuple[int, int]]
Hunk = tuple[int, int, tuple[Any, ...]]


@attrs.frozen
class DemoEdit:
    """One demonstration that differs between two lists.

    Args:
        kind: ``added``, ``removed``, ``moved`` or ``edited``.
        was: Its place in the earlier list, counted from 0; ``None`` if added.
        now: Its place in the later list; ``None`` if removed.
        before: The demonstration in the earlier list.
        after: The demonstration in the later list.
    """

    kind: Literal["added", "removed", "moved", "edited"]
    was: int | None
    now: int | None
    before: Any = None
    after: Any = None


class Overlap(Exception):
    """Two sides changed the same elements."""


def demo_edits(before: Sequence[Any], after: Sequence[Any]) -> tuple[DemoEdit, ...]:
    """The edits that lead from one list to the other: removals, then the others in the order of the
    later list.

    The longest common subsequence isn't edited; equal content elsewhere has moved; a removed and an
    added demonstration that share a field's value are one edited demonstration.
    """
    a, b = [canonical(item) for item in before], [canonical(item) for item in after]
    stay = common(a, b)
    gone = sorted(set(range(len(a))) - {i for i, _ in stay})
    new = sorted(set(range(len(b))) - {j for _, j in stay})
    equal = [(i, j) for i, j in itertools.product(gone, new) if a[i] == b[j]]
    moved = _match(gone, new, equal)
    pairs = [(_alike(before[i], after[j]), i, j) for i, j in itertools.product(gone, new)]
    ranked = sorted((pair for pair in pairs if pair[0]), key=lambda pair: (-pair[0], *pair[1:]))
    edited = _match(gone, new, [(i, j) for _, i, j in ranked])
    edits = [DemoEdit("removed", i, None, before[i], None) for i in gone]
    later = [DemoEdit("moved", i, j, before[i], after[j]) for i, j in moved]
    later += [DemoEdit("edited", i, j, before[i], after[j]) for i, j in edited]
    later += [DemoEdit("added", None, j, None, after[j]) for j in new]
    return (*edits, *sorted(later, key=lambda edit: edit.now or 0))


def common(a: Sequence[str], b: Sequence[str]) -> Pairs:
    """The positions of a longest common subsequence, in order; of several subsequences, the one
    that matches earliest.
    """
    head = 0
    while head < min(len(a), len(b)) and a[head] == b[head]:
        head += 1
    rest_a, rest_b = a[head:], b[head:]
    longest = [[0] * (len(rest_b) + 1) for _ in range(len(rest_a) + 1)]
    for i in range(len(rest_a) - 1, -1, -1):
        for j in range(len(rest_b) - 1, -1, -1):
            same = rest_a[i] == rest_b[j]
            longest[i][j] = (
                longest[i + 1][j + 1] + 1 if same else max(longest[i + 1][j], longest[i][j + 1])
            )
    pairs, i, j = [(at, at) for at in range(head)], 0, 0
    while i < len(rest_a) and j < len(rest_b):
        if rest_a[i] == rest_b[j]:
            pairs.append((head + i, head + j))
            i, j = i + 1, j + 1
        elif longest[i + 1][j] >= longest[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def merge_lists(base: Sequence[Any], ours: Sequence[Any], theirs: Sequence[Any]) -> tuple[Any, ...]:
    """Both sides' changes of ``base`` in one list, the same whichever side comes first.

    Equal changes count once. ``Overlap`` if the sides changed the same elements, or inserted at
    the same place.
    """
    hunks = _distinct([*_hunks(base, ours), *_hunks(base, theirs)])
    merged: list[Any] = []
    at = 0
    for k, (start, end, new) in enumerate(hunks):
        if k and _overlap(hunks[k - 1], hunks[k]):
            raise Overlap
        merged += [*base[at:start], *new]
        at = end
    return (*merged, *base[at:])


def _hunks(base: Sequence[Any], side: Sequence[Any]) -> list[Hunk]:
    pairs = common([canonical(item) for item in base], [canonical(item) for item in side])
    hunks: list[Hunk] = []
    i = j = 0
    for left, right in [*pairs, (len(base), len(side))]:
        if i < left or j < right:
            hunks.append((i, left, tuple(side[j:right])))
        i, j = left + 1, right + 1
    return hunks


def _distinct(hunks: list[Hunk]) -> list[Hunk]:
    by_key = {(start, end, canonical(new)): (start, end, new) for start, end, new in hunks}
    return [by_key[key] for key in sorted(by_key)]


def _overlap(a: Hunk, b: Hunk) -> bool:
    inserts = a[0] == a[1] or b[0] == b[1]
    first, last = max(a[0], b[0]), min(a[1], b[1])
    return first <= last if inserts else first < last


def _match(gone: list[int], new: list[int], pairs: Pairs) -> Pairs:
    """The pairs, in order, whose two sides are still unmatched; they are removed from ``gone`` and
    ``new``.
    """
    matched: Pairs = []
    for i, j in pairs:
        if i in gone and j in new:
            matched.append((i, j))
            gone.remove(i)
            new.remove(j)
    return matched


def _alike(a: Any, b: Any) -> int:
    """The number of fields that two demonstrations share."""
    if not isinstance(a, Mapping) or not isinstance(b, Mapping):
        return 0
    return sum(name in b and canonical(a[name]) == canonical(b[name]) for name in a)
