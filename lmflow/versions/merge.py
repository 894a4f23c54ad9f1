"""Versions brought together: three-way merge, new defaults, renamed steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmflow.errors import Clash, ForeignPaths, MergeConflict
from lmflow.values.record import Record
from lmflow.versions.changes import ABSENT, same, value_text
from lmflow.versions.demos import Overlap, merge_lists
from lmflow.versions.version import Version


def merge(base: Version, ours: Version, theirs: Version, *, note: str = "") -> Version:
    """Merge the changes that two versions made of a common ancestor.

    Demonstrations are merged by element and options by key, unless the sides overlap; an
    instruction that both sides changed is a conflict.

    Args:
        base: The common ancestor, ``lf.common_ancestor``.
        ours: One side, the first parent.
        theirs: The other side, the second parent.
        note: The note of the merged version.

    Returns:
        The merged version. Its ``tree`` is the same whichever side comes first.

    Raises:
        MergeConflict: Both sides changed the same thing differently; it has every such path.
    """
    params = _merged(base.params, ours.params, theirs.params)
    return Version(params=params, parents=(ours.id, theirs.id), note=note or "merge")


def rebase(old: Version, version: Version, new: Version, *, note: str = "") -> Version:
    """Move a version's changes from old defaults to new ones.

    Args:
        old: The defaults from which the version was made, ``lf.init`` of the old program.
        version: The version with the changes.
        new: The new defaults.
        note: The note of the new version.

    Returns:
        A child of the version: the new defaults with its changes.

    Raises:
        MergeConflict: The version and the new defaults changed the same thing differently.
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
    """Rename or drop steps, paths and fields of demonstrations, to follow a changed program.

    Args:
        version: The version to migrate.
        rename: Old names to new ones. A field is named by its step,
            ``{"answer.reply": "answer.answer"}``.
        drop: Steps or paths to leave out.
        note: The note of the child, by default the renames and drops.

    Returns:
        A child of the version. Its origin has the old path of each renamed path.

    Raises:
        ForeignPaths: The version has no such step, path or field, or two would have one name.
    """
    renames, dropped = dict(rename or {}), tuple(drop)
    fields = {old: new for old, new in renames.items() if _is_field(version, old)}
    paths = {old: new for old, new in renames.items() if old not in fields}
    _check_known(version, (*paths, *dropped))
    params: dict[str, Any] = {}
    origin: dict[str, Any] = {}
    for path, value in version.params.items():
        if any(_under(path, name) for name in dropped):
            continue
        new = _renamed(path, paths)
        if new in params:
            raise ForeignPaths(f"what is left: `{path}` would be there twice", (new,), ())
        params[new] = _fields_renamed(path, value, fields)
        if new != path:
            origin[new] = {"from": path}
    words = [f"{old} -> {new}" for old, new in renames.items()]
    words += [f"without {name}" for name in dropped]
    note = note or f"migrate: {', '.join(words)}"
    return Version(params=params, parents=(version.id,), note=note, origin=origin)


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
    """The demonstrations at a path with their fields renamed; the value of any other path
    unchanged.
    """
    step, _, slot = path.rpartition(".")
    names = {
        old.rpartition(".")[2]: new.rpartition(".")[2]
        for old, new in fields.items()
        if old.startswith(f"{step}.")
    }
    if slot not in {"demos", "pool"} or not names:
        return value
    return tuple(_record_renamed(demo, names) for demo in value)


def _record_renamed(demo: Mapping[str, Any], names: Mapping[str, str]) -> Record:
    return Record({names.get(name, name): value for name, value in demo.items()})


def _merged(base: Record, ours: Record, theirs: Record) -> Record:
    conflicts: list[Clash] = []
    params = dict(_three_way("", base, ours, theirs, conflicts))
    if conflicts:
        raise MergeConflict(tuple(conflicts))
    return Record(params)


def _three_way(
    prefix: str,
    base: Mapping[str, Any],
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    conflicts: list[Clash],
) -> Iterator[tuple[str, Any]]:
    for name in sorted({*base, *ours, *theirs}):
        sides = (base.get(name, ABSENT), ours.get(name, ABSENT), theirs.get(name, ABSENT))
        value = _merged_value(f"{prefix}{name}", *sides, conflicts)
        if value is not ABSENT:
            yield name, value


def _merged_value(path: str, base: Any, ours: Any, theirs: Any, conflicts: list[Clash]) -> Any:
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
    conflicts.append(Clash(path, value_text(base), value_text(ours), value_text(theirs)))
    return ABSENT


def _under(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.")


def _renamed(path: str, renames: Mapping[str, str]) -> str:
    """The path with its longest renamed prefix replaced."""
    prefixes = [name for name in renames if _under(path, name)]
    if not prefixes:
        return path
    old = max(prefixes, key=len)
    return renames[old] + path[len(old) :]
