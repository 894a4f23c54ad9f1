"""Who introduced what: each part of a parameter with the version that first had it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from lmflow.errors import MissingParent
from lmflow.values.record import Record, canonical, pretty
from lmflow.versions.demos import common
from lmflow.versions.history import Get, parent_of
from lmflow.versions.version import Version, check_paths

Places = dict[int, int]


@attrs.frozen
class Blamed:
    """A part of a parameter (a line, a demonstration, a key, the whole) and the version that
    introduced it.

    ``origin`` is what that version says of the path: the rollout and address that produced it,
    nothing where it was written by hand. ``whole`` is false where an ancestor that isn't kept may
    have had it before.
    """

    part: str
    version: Version
    path: str
    whole: bool = True

    @property
    def origin(self) -> Any:
        """What the version says of the path, ``None`` for nothing."""
        return self.version.origin.get(self.path)


def blame(version: Version, path: str, get: Get) -> tuple[Blamed, ...]:
    """The parts of the parameter at ``path`` in their order, each with the version that introduced
    it.

    A part that a parent has is the parent's, the first parent's before another's; a renamed path is
    followed. Parts are lines of texts, demonstrations of lists, keys of mappings. ``ForeignPaths``
    where the version has no such path.
    """
    check_paths("the version", (path,), version.params)
    parts = _parts(version.params[path])
    found: dict[int, Blamed] = {}
    waiting: list[tuple[Version, str, Places]] = [
        (version, path, {k: k for k in range(len(parts))})
    ]
    while waiting:
        child, name, places = waiting.pop()
        left, whole = dict(places), True
        for parent in child.parents:
            try:
                older = parent_of(child, parent, get)
            except MissingParent:
                whole = False
                continue
            before = _earlier_name(child, name)
            passed = _shared(child, name, older, before, left) if before in older.params else {}
            if passed:
                waiting.append(
                    (older, before, {there: places[here] for here, there in passed.items()})
                )
            left = {here: at for here, at in left.items() if here not in passed}
        found |= {at: Blamed(parts[at][1], child, name, whole) for at in left.values()}
    return tuple(found[at] for at in sorted(found))


def _shared(child: Version, name: str, older: Version, before: str, left: Places) -> Places:
    """Which of the parts that are left the parent has: place here -> place there."""
    here, there = _parts(child.params[name]), _parts(older.params[before])
    if isinstance(child.params[name], str):
        pairs = common([key for key, _ in here], [key for key, _ in there])
        return {i: j for i, j in pairs if i in left}
    free: dict[str, list[int]] = {}
    for j, (key, _) in enumerate(there):
        free.setdefault(key, []).append(j)
    return {i: free[here[i][0]].pop(0) for i in left if free.get(here[i][0])}


def _parts(value: Any) -> list[tuple[str, str]]:
    """The parts of a value: what tells each apart, and its text."""
    return [
        (canonical(part), part if isinstance(part, str) else pretty(part)) for part in _split(value)
    ]


def _split(value: Any) -> Iterator[Any]:
    if isinstance(value, str) and "\n" in value:
        yield from value.split("\n")
    elif isinstance(value, (tuple, list)):
        yield from value
    elif isinstance(value, Mapping):
        yield from (Record({name: held}) for name, held in value.items())
    else:
        yield value


def _earlier_name(version: Version, path: str) -> str:
    """What the path is called in the version's parents."""
    origin = version.origin.get(path)
    return str(origin["from"]) if isinstance(origin, Mapping) and "from" in origin else path
