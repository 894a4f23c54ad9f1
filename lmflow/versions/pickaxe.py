"""Finds the versions that introduced or removed words, as ``git log -S`` finds commits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from lmflow.values.record import pretty
from lmflow.versions.version import Version, check_paths


@attrs.frozen
class WordsChange:
    """How often a parameter held some words before a version, and since."""

    path: str
    before: int
    after: int

    def __str__(self) -> str:
        return f"{self.after - self.before:+d} {self.path}"


def words_changes(
    version: Version, parent: Version | None, words: str, paths: Iterable[str] = ()
) -> list[WordsChange]:
    """Return the parameters that hold words more or less often than in a parent.

    Args:
        version: The version.
        parent: Its parent; ``None`` if it has none.
        words: The words, with their case and their spaces.
        paths: The parameters to look at; all if empty.
    """
    older: Mapping[str, Any] = {} if parent is None else parent.params
    wanted = tuple(paths)
    changes = []
    for path in sorted({*version.params, *older}):
        if wanted and not any(is_in(path, name) for name in wanted):
            continue
        before, after = _count(older, path, words), _count(version.params, path, words)
        if before != after:
            changes.append(WordsChange(path, before, after))
    return changes


def is_in(path: str, name: str) -> bool:
    """Say whether a parameter's path is ``name``, or in the step of that name."""
    return path == name or path.startswith(f"{name}.")


def paths_named(version: Version, names: Iterable[str]) -> list[str]:
    """Return the paths of a version that names stand for: paths, or steps with all their paths.

    Raises:
        ForeignPaths: A name stands for none.
    """
    chosen = []
    for name in names:
        inner = [path for path in version.params if is_in(path, name)]
        if not inner:
            check_paths("the version", (name,), version.params)
        chosen += inner
    return list(dict.fromkeys(chosen))


def changed_in(version: Version, parent: Version | None, names: Iterable[str]) -> bool:
    """Say whether a version has another value than its parent in one of the paths or steps."""
    older: Mapping[str, Any] = {} if parent is None else parent.params
    wanted = tuple(names)
    paths = {path for path in (*version.params, *older) if any(is_in(path, n) for n in wanted)}
    absent = object()
    return any(version.params.get(path, absent) != older.get(path, absent) for path in paths)


def _count(params: Mapping[str, Any], path: str, words: str) -> int:
    return sum(text.count(words) for text in _texts(params.get(path)))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value; a number or truth value as JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield name
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)
    elif value is not None:
        yield pretty(value)
