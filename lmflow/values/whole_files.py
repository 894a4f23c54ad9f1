"""Files that are replaced as a whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from lmflow.errors import StoreError

_FIX = "Name a file in a folder where you may write."
_DATABASE_FIX = "Name another file; this one is untouched."
_SQLITE = b"SQLite format 3\0"


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give the path of a draft, and move the draft to ``path`` when the block ends without an
    error. Its content is on the disk by then. Missing folders are made, and the permissions of the
    file that is replaced stay.

    Args:
        path: The file that is replaced.

    Raises:
        StoreError: The file can't be written; what was there before stays.
    """
    file = Path(path)
    _check_name(path, file)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        with draft.open("rb+") as written:
            os.fsync(written.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(file, draft)
        draft.replace(file)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreError(str(path), f"it can't be written ({reason})", _FIX) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def write_whole(path: Path | str, content: str) -> None:
    """Write a text as the whole content of a file, in UTF-8. ``StoreError`` if that can't be, or if
    the file is a database.
    """
    _check_name(path, Path(path))
    _check_no_database(Path(path))
    with replacing(path) as draft:
        draft.write_bytes(content.encode("utf-8"))


def check_not_open(path: Path) -> None:
    """Raise ``StoreError`` if a file is a database that somebody has open, or that lost its owner:
    a journal of the old content would be applied to the new one.
    """
    if path.with_name(f"{path.name}-wal").exists():
        raise StoreError(str(path), "it is a store that is open", _DATABASE_FIX)


# Nothing reads an open database: a process that closes any handle of it loses its locks on it.
def _check_no_database(path: Path) -> None:
    check_not_open(path)
    if path.is_file() and os.access(path, os.R_OK):
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) == _SQLITE:
                raise StoreError(str(path), "it is a database, such as a store", _DATABASE_FIX)


def _check_name(path: Path | str, file: Path) -> None:
    if not file.name or "\0" in file.name:
        raise StoreError(str(path), "it names no file", _FIX)
