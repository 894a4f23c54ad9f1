"""Copies a store while others write it: the copy has one moment of it, whole and checked."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from lmflow.errors import StoreError
from lmflow.stores.damage import SALVAGE
from lmflow.stores.sqlite.schema import check_file, check_readable
from lmflow.stores.sqlite.writing.settled import opened_to_read

Progress = Callable[[int, int], None]
"""Is called with the number of pages that were copied, and of all."""

_PAGES = 1000
"""Pages that are copied between two reports, 4 MB."""

_JOURNALS = ("-wal", "-shm", "-journal")
_SUFFIXES = ("", *_JOURNALS)


def backup(
    path: str | Path,
    target: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> int:
    """Copy a store into a file; processes that write the store meanwhile go on.

    The copy is made beside ``target``, checked by SQLite, and moved there as a whole.

    Args:
        path: The store's file.
        target: The file to write.
        overwrite: Whether a file that is there is replaced.
        progress: Is told how far the copy is.

    Returns:
        The size of the copy, in bytes.

    Raises:
        StoreError: If there is no store, the target is there already, the disk is full, or the
            copy is not sound.
    """
    path, target = Path(path), Path(target)
    _check_places(path, target, overwrite=overwrite)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with opened_to_read(path) as source:
            check_readable(source, path)
            with _closing(sqlite3.connect(draft)) as copy:
                _copy(source, copy, progress)
                problem = _problem(copy)
        if problem:
            words = f"its copy is not sound ({problem}), so none was made"
            raise StoreError(str(path), words, SALVAGE)
        return _publish(draft, target, overwrite=overwrite)
    except sqlite3.Error as error:
        fix = "Is the disk full, or may you not write there? `lmflow doctor` checks the store."
        raise StoreError(str(path), f"it can't be copied ({error})", fix) from error
    except OSError as error:
        problem, fix = f"it can't be written ({error.strerror})", "May you write in its folder?"
        raise StoreError(str(target), problem, fix) from error
    finally:
        for suffix in _SUFFIXES:
            draft.with_name(f"{draft.name}{suffix}").unlink(missing_ok=True)


def _check_places(path: Path, target: Path, *, overwrite: bool) -> None:
    if not check_file(path):
        fix = "Record a run first, `lmflow run`, or name the store, --store FILE."
        raise StoreError(str(path), "there is no such file", fix)
    if not target.resolve().parent.is_dir():
        raise StoreError(str(target), "its folder does not exist", "Make the folder first.")
    if target.is_dir():
        fix = f"Name a file in it: {target / path.name}."
        raise StoreError(str(target), "it is a folder", fix)
    if target.exists() and target.samefile(path):
        raise StoreError(str(target), "it is the store itself", "Name another file.")
    if target.exists() and not overwrite:
        raise _exists(target)


def _exists(target: Path) -> StoreError:
    fix = "Name another file, or replace it: --overwrite."
    return StoreError(str(target), "it exists already", fix)


@contextlib.contextmanager
def _closing(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield db
    finally:
        db.close()


def _copy(source: sqlite3.Connection, copy: sqlite3.Connection, progress: Progress | None) -> None:
    # The copy begins anew whenever another process commits, unless the source reads within a
    # transaction: then it sees one moment of the store, however long the copy takes.
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def told(_: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    source.backup(copy, pages=_PAGES, progress=told)
    source.execute("COMMIT")


def _problem(copy: sqlite3.Connection) -> str:
    (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    return "" if found == "ok" else " ".join(str(found).split())


def _publish(draft: Path, target: Path, *, overwrite: bool) -> int:
    """Give the draft its name, after it has reached the disk; return its size."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    size = draft.stat().st_size
    if overwrite:
        # What belongs to the file that was there would be read as the journal of the new one.
        for suffix in _JOURNALS:
            target.with_name(f"{target.name}{suffix}").unlink(missing_ok=True)
        draft.replace(target)
        return size
    try:
        os.link(draft, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:  # a disk without links
        if target.exists():
            raise _exists(target) from None
        draft.replace(target)
    return size
