"""Where a version comes from: its ancestors, what two have in common, and who introduced what."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator

from lmflow.errors import CyclicParent, MissingParent, UnknownVersion
from lmflow.versions.version import Version

Get = Callable[[str], Version]

_BACK = re.compile(r"(?P<name>.+)~(?P<steps>\d{0,9})")


def lineage(version: Version, get: Get, *, whole: bool = True) -> Iterator[Version]:
    """The version and all its ancestors, each once, nearer ones and first parents first.

    ``get`` finds a version by its id. ``MissingParent`` where it has none (``whole=False`` ends
    that line there), ``CyclicParent`` where what it finds has another id: ids hash the parents, so
    a cycle can't be made without a false one.
    """
    waiting, seen = deque([version]), {version.id}
    while waiting:
        yield (child := waiting.popleft())
        for parent in child.parents:
            if parent not in seen:
                seen.add(parent)
                waiting += _kept(child, parent, get, whole=whole)


def _kept(child: Version, parent: str, get: Get, *, whole: bool) -> tuple[Version, ...]:
    try:
        return (parent_of(child, parent, get),)
    except MissingParent:
        if whole:
            raise
        return ()


def parent_of(child: Version, parent: str, get: Get) -> Version:
    """The parent of that id. ``MissingParent``, ``CyclicParent``."""
    try:
        found = get(parent)
    except (UnknownVersion, KeyError):
        raise MissingParent(child.id, parent) from None
    if found.id != parent:
        raise CyclicParent(child.id, parent, found.id)
    return found


def steps_back(name: str) -> tuple[str, int]:
    """A name without its ``~N``, and the N: how many first parents back (``REF~`` is 1, ``REF`` is
    0).
    """
    back = _BACK.fullmatch(name)
    return (back["name"], int(back["steps"] or 1)) if back else (name, 0)


def ancestor(name: str, get: Get) -> Version:
    """The version that ``name`` names, ``REF~N`` being the N-th first parent of ``REF``.
    ``UnknownVersion``, ``MissingParent``.
    """
    start, steps = steps_back(name)
    version = get(start)
    for _ in range(steps):
        if not version.parents:
            raise UnknownVersion(name, hint=f"The line of {start!r} isn't that long.")
        version = parent_of(version, version.parents[0], get)
    return version


def common_ancestor(ours: Version, theirs: Version, get: Get) -> Version | None:
    """The nearest common ancestor that is kept, the same whichever side comes first, ``None`` where
    there is none.

    Nearest: no descendant of it is common. Of several the one with the smallest id.
    """
    shared = {v.id: v for v in lineage(ours, get, whole=False)}
    common = {v.id: v for v in lineage(theirs, get, whole=False) if v.id in shared}
    behind = {parent for v in common.values() for parent in v.parents}
    nearest = sorted(set(common) - behind)
    return common[nearest[0]] if nearest else None
