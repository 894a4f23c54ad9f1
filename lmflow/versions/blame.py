"""Blame: each part of a parameter with the version that introduced it."""

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
class Attribution:
    """A part of a parameter (a line, a demonstration, a key, the whole) and the version that
    introduced it.

    ``path`` is the parameter's name in that version, ``place`` the part's place in it. ``whole`` is
    false if an ancestor that isn't stored may have had the part before.
    """

    part: str
    version: Version
    path: str
    whole: bool = True
    place: int = 0

    @property
    def origin(self) -> Any:
        """The rollout and address that produced the part, as the version records them; ``None`` if
        a person wrote it.
        """
        if isinstance(self.version.params[self.path], (tuple, list)):
            return demo_origin(self.version.origin, self.path, self.place)
        return self.version.origin.get(self.path)


def demo_origin(origin: Mapping[str, Any], path: str, place: int) -> Any:
    """Return what made a demonstration: its own entry, its share of the list's, or the list's."""
    own = origin.get(f"{path}[{place}]")
    if own is not None:
        return own
    whole = origin.get(path)
    return whole[place] if isinstance(whole, tuple) and place < len(whole) else whole


def blame(version: Version, path: str, get: Get) -> tuple[Attribution, ...]:
    """Find the version that introduced each part of a parameter.

    Parts are lines of texts, demonstrations of lists, keys of mappings. A part that a parent has is
    attributed to the parent, to the first parent before others; renamed paths are followed.

    Args:
        version: The version whose parameter is examined.
        path: The parameter's path, such as ``answer.instruction``.
        get: Finds a version by its id, such as ``store.version``.

    Returns:
        The parts in their order.

    Raises:
        ForeignPaths: The version has no such path.
    """
    check_paths("the version", (path,), version.params)
    parts = _parts(version.params[path])
    introduced: dict[int, Attribution] = {}
    waiting: list[tuple[Version, str, Places]] = [
        (version, path, {k: k for k in range(len(parts))})
    ]
    while waiting:
        child, name, places = waiting.pop()
        remaining, whole = dict(places), True
        for parent in child.parents:
            try:
                older = parent_of(child, parent, get)
            except MissingParent:
                whole = False
                continue
            before = _earlier_name(child, name)
            if before not in older.params:
                continue
            shared = _shared(child, name, older, before, remaining)
            if shared:
                inherited = {there: places[here] for here, there in shared.items()}
                waiting.append((older, before, inherited))
            remaining = {here: at for here, at in remaining.items() if here not in shared}
        introduced |= {
            at: Attribution(parts[at][1], child, name, whole, here)
            for here, at in remaining.items()
        }
    return tuple(introduced[at] for at in sorted(introduced))


def _shared(child: Version, name: str, older: Version, before: str, remaining: Places) -> Places:
    """The remaining parts that the parent has: place in the child -> place in the parent."""
    here, there = _parts(child.params[name]), _parts(older.params[before])
    if isinstance(child.params[name], str):
        pairs = common([key for key, _ in here], [key for key, _ in there])
        return {i: j for i, j in pairs if i in remaining}
    free: dict[str, list[int]] = {}
    for j, (key, _) in enumerate(there):
        free.setdefault(key, []).append(j)
    return {i: free[here[i][0]].pop(0) for i in remaining if free.get(here[i][0])}


def _parts(value: Any) -> list[tuple[str, str]]:
    """The parts of a value, each as its canonical form and its text."""
    return [(canonical(part), _part_text(part)) for part in _split(value)]


def _part_text(part: Any) -> str:
    return part if isinstance(part, str) else pretty(part)


def _split(value: Any) -> Iterator[Any]:
    if isinstance(value, str) and "\n" in value:
        yield from value.split("\n")
    elif isinstance(value, (tuple, list)):
        yield from value
    elif isinstance(value, Mapping):
        yield from (Record({name: item}) for name, item in value.items())
    else:
        yield value


def _earlier_name(version: Version, path: str) -> str:
    """The name of a path in the version's parents."""
    origin = version.origin.get(path)
    return str(origin["from"]) if isinstance(origin, Mapping) and "from" in origin else path
