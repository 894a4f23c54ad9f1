"""The history of a version: its ancestors, and the nearest ancestor that two versions share."""

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

    Args:
        version: The version to start from.
        get: Finds a version by its id, such as ``store.version``.
        whole: Whether a parent that isn't stored is an error; else the line ends there.

    Raises:
        MissingParent: ``get`` doesn't find a parent.
        CyclicParent: ``get`` finds a version with another id. Ids hash the parents, so a cycle
            can't be made without a false id.
    """
    waiting, visited = deque([version]), {version.id}
    while waiting:
        yield (child := waiting.popleft())
        for parent in child.parents:
            if parent not in visited:
                visited.add(parent)
                waiting += _stored_parent(child, parent, get, whole=whole)


def _stored_parent(child: Version, parent: str, get: Get, *, whole: bool) -> tuple[Version, ...]:
    try:
        return (parent_of(child, parent, get),)
    except MissingParent:
        if whole:
            raise
        return ()


def parent_of(child: Version, parent: str, get: Get) -> Version:
    """The parent with an id. ``MissingParent`` or ``CyclicParent`` as for ``lineage``."""
    try:
        version = get(parent)
    except (UnknownVersion, KeyError):
        raise MissingParent(child.id, parent) from None
    if version.id != parent:
        raise CyclicParent(child.id, parent, version.id)
    return version


def steps_back(name: str) -> tuple[str, int]:
    """A name without its ``~N``, and N, the number of first parents back: 1 for ``REF~``, 0 for
    ``REF``.
    """
    back = _BACK.fullmatch(name)
    return (back["name"], int(back["steps"] or 1)) if back else (name, 0)


def ancestor(name: str, get: Get) -> Version:
    """The version of a name; ``REF~N`` is the N-th first parent of ``REF``. ``UnknownVersion`` if
    the line isn't that long, ``MissingParent`` if a parent isn't stored.
    """
    start, steps = steps_back(name)
    version = get(start)
    for _ in range(steps):
        if not version.parents:
            raise UnknownVersion(name, hint=f"The line of {start!r} isn't that long.")
        version = parent_of(version, version.parents[0], get)
    return version


def common_ancestor(ours: Version, theirs: Version, get: Get) -> Version | None:
    """The nearest common ancestor that is stored, whichever side comes first; ``None`` if the
    versions have none.

    Nearest means that no descendant of it is common too. Of several, the one with the smallest id.
    """
    shared = {v.id: v for v in lineage(ours, get, whole=False)}
    common = {v.id: v for v in lineage(theirs, get, whole=False) if v.id in shared}
    behind = {parent for v in common.values() for parent in v.parents}
    nearest = sorted(set(common) - behind)
    return common[nearest[0]] if nearest else None
