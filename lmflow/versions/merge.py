"""Versions brought together: three-way merge, new defaults, renamed steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmflow.errors import Clash, ForeignPaths, MergeConflict
from lmflow.values.record import Record
from lmflow.versions.demos import Overlap, merge_lists
from lmflow.versions.diff import ABSENT, said, same
from lmflow.versions.version import Version


def merge(base: Version, ours: Version, theirs: Version, *, note: str = "") -> Version:
    """The version with both sides' changes of ``base``; its ``tree`` is the same whichever side
    comes first.

    Demonstrations are merged by element and options by key where the sides don't overlap; an
    instruction that both changed is a conflict. ``MergeConflict`` names every path with both sides.
    Parents are (ours, theirs).
    """
    params = _merged(base.params, ours.params, theirs.params)
    return Version(params=params, parents=(ours.id, theirs.id), note=note or "merge")


def rebase(old: Version, version: Version, new: Version, *, note: str = "") -> Version:
    """The version's own changes of the ``old`` defaults on top of the ``new`` ones.
    ``MergeConflict``.
    """
    params = _merged(old.params, version.params, new.params)
    return Version(params=params, parents=(version.id,), note=note or "rebase on new defaults")


def migrate(
    version: Version,
    *,
    rename: Mapping[str, str] | None = None,
    drop: Iterable[str] = (),
    note: str = "",
) -> Version:
    """A child with steps, paths or fields of demonstrations renamed (old -> new), and steps or
    paths dropped.

    A field is named by its step, ``{"answer.reply": "answer.answer"}``. The origin says where each
    renamed path came from. ``ForeignPaths`` where there is no such thing, or where two would have
    one name.
    """
    named, gone = dict(rename or {}), tuple(drop)
    fields = {old: new for old, new in named.items() if _is_field(version, old)}
    _check_known(version, (*(old for old in named if old not in fields), *gone))
    params: dict[str, Any] = {}
    origin: dict[str, Any] = {}
    for path, value in version.params.items():
        if any(_under(path, name) for name in gone):
            continue
        new = _renamed(path, {old: new for old, new in named.items() if old not in fields})
        if new in params:
            raise ForeignPaths(f"what is left: `{path}` would be there twice", (new,), ())
        params[new] = _fields_renamed(path, value, fields)
        if new != path:
            origin[new] = {"from": path}
    words = [f"{old} -> {new}" for old, new in named.items()] + [f"without {name}" for name in gone]
    return Version(
        params=params,
        parents=(version.id,),
        note=note or f"migrate: {', '.join(words)}",
        origin=origin,
    )


def _check_known(version: Version, names: Iterable[str]) -> None:
    steps = sorted({path.rpartition(".")[0] for path in version.params})
    for name in names:
        if not any(_under(path, name) for path in version.params):
            raise ForeignPaths("the version", (name,), (*steps, *version.params))


def _is_field(version: Version, name: str) -> bool:
    step, _, field = name.rpartition(".")
    demos = (*version.params.get(f"{step}.demos", ()), *version.params.get(f"{step}.pool", ()))
    return name not in version.params and any(
        isinstance(demo, Mapping) and field in demo for demo in demos
    )


def _fields_renamed(path: str, value: Any, fields: Mapping[str, str]) -> Any:
    """The demonstrations at a path with those of their fields renamed that are to be; other values
    as they are.
    """
    step, _, slot = path.rpartition(".")
    names = {
        old.rpartition(".")[2]: new.rpartition(".")[2]
        for old, new in fields.items()
        if old.startswith(f"{step}.")
    }
    if slot not in {"demos", "pool"} or not names:
        return value
    return tuple(
        Record({str(names.get(name, name)): held for name, held in demo.items()}) for demo in value
    )


def _merged(base: Record, ours: Record, theirs: Record) -> Record:
    conflicts: list[Clash] = []
    found = dict(_three_way("", base, ours, theirs, conflicts))
    if conflicts:
        raise MergeConflict(tuple(conflicts))
    return Record(found)


def _three_way(
    at: str,
    base: Mapping[str, Any],
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    conflicts: list[Clash],
) -> Iterator[tuple[str, Any]]:
    for name in sorted({*base, *ours, *theirs}):
        sides = (base.get(name, ABSENT), ours.get(name, ABSENT), theirs.get(name, ABSENT))
        value = _one(f"{at}{name}", *sides, conflicts)
        if value is not ABSENT:
            yield name, value


def _one(path: str, base: Any, ours: Any, theirs: Any, conflicts: list[Clash]) -> Any:
    if same(ours, theirs) or same(base, theirs):
        return ours
    if same(base, ours):
        return theirs
    if all(isinstance(side, Mapping) for side in (base, ours, theirs)):
        return Record(dict(_three_way(f"{path}.", base, ours, theirs, conflicts)))
    if all(isinstance(side, (tuple, list)) for side in (base, ours, theirs)):
        try:
            return merge_lists(base, ours, theirs)
        except Overlap:
            pass
    conflicts.append(Clash(path, said(base), said(ours), said(theirs)))
    return ABSENT


def _under(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.")


def _renamed(path: str, named: Mapping[str, str]) -> str:
    """The path under the longest name that it goes by."""
    fitting = [name for name in named if _under(path, name)]
    return named[old] + path[len(old) :] if fitting and (old := max(fitting, key=len)) else path
