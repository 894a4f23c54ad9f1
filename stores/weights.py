"""The files of trained weights beside a SQLite store: which of them its versions name."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import attrs

from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.reading import reading
from lmflow.values.hashed_files import HashedFiles
from lmflow.values.weights_names import files_of
from lmflow.versions.version import Version

_GRACE = 24 * 3600.0  # seconds for which new files are kept: their version may not be stored yet


@attrs.frozen
class SweptWeights:
    """The number of files of weights that are removed, and their bytes."""

    files: int = 0
    bytes: int = 0


@attrs.frozen
class CarriedWeights:
    """The weights that versions name: those that were copied, were there, and are missing."""

    copied: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def weights_folder(store: Path) -> HashedFiles:
    """Return the folder of the weights that versions of a store name: ``STORE.weights``."""
    return HashedFiles(store.with_name(f"{store.name}.weights"))


def sweep_weights(store: Path | str, *, dry_run: bool, now: float | None = None) -> SweptWeights:
    """Remove the files that no stored version names and that are older than a day.

    Args:
        store: The store's file.
        dry_run: Whether to count only.
        now: The time, in seconds since the epoch; ``None`` for the clock's.
    """
    files = weights_folder(Path(store))
    names = tuple(files)
    if not names:
        return SweptWeights()
    with reading(str(store)) as reader:
        named = _named(reader)
    before = (time.time() if now is None else now) - _GRACE
    dead = [
        sha256
        for sha256 in names
        if sha256 not in named and files.path(sha256).stat().st_mtime < before
    ]
    size = sum(files.size(sha256) for sha256 in dead)
    if not dry_run:
        for sha256 in dead:
            files.remove(sha256)
    return SweptWeights(len(dead), size)


def carry_weights(
    versions: Iterable[Version], source: HashedFiles, target: HashedFiles
) -> CarriedWeights:
    """Copy the weights that versions name from one folder to another, each checked by its hash.

    Raises:
        StoreError: A file was changed, or the disk refuses.
    """
    copied, present, missing = list[str](), list[str](), list[str]()
    for version in versions:
        for sha256 in files_of(version.params):
            if sha256 in (*copied, *present, *missing):
                continue
            if sha256 in target:
                present.append(sha256)
            elif sha256 in source:
                copied.append(target.add(source.check(sha256)))
            else:
                missing.append(sha256)
    return CarriedWeights(tuple(copied), tuple(present), tuple(missing))


def _named(reader: Reader) -> set[str]:
    """Return the hashes of all files that stored versions name."""
    stored = reader.versions.latest(-1)
    return {sha256 for each in stored for sha256 in files_of(each.version.params)}
