"""A folder of files that are named by the sha256 of their content."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import attrs

from lmflow.errors import StoreError

_NAME = re.compile(r"[0-9a-f]{64}")
_ROOM = "Make room on that disk, then go on: nothing is lost."
_AGAIN = "Copy it again from where it is whole, or train it again."


@attrs.frozen
class HashedFiles:
    """A folder of files by the sha256 of their content, such as trained weights.

    A file is there as a whole or not at all, and never changes.
    """

    folder: Path

    def path(self, sha256: str) -> Path:
        """Return where the file of a hash is or would be. ``ValueError`` if it is no sha256."""
        if not _NAME.fullmatch(sha256):
            msg = f"{sha256[:80]!r} is not a sha256: it has 64 digits 0-9 and a-f"
            raise ValueError(msg)
        return self.folder / sha256

    def __contains__(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def __iter__(self) -> Iterator[str]:
        if self.folder.is_dir():
            names = (file.name for file in self.folder.iterdir())
            yield from sorted(name for name in names if _NAME.fullmatch(name))

    def size(self, sha256: str) -> int:
        """Return the bytes of a file."""
        return self.path(sha256).stat().st_size

    def free(self) -> int:
        """Return the bytes that are free on the folder's disk."""
        folder = next(
            path for path in (self.folder, *self.folder.absolute().parents) if path.exists()
        )
        return shutil.disk_usage(folder).free

    def add(self, file: Path) -> str:
        """Copy a file in, and return its sha256.

        Raises:
            StoreError: The disk refuses; nothing is left of the copy then.
        """
        sha256 = sha256_of(file)
        if sha256 in self:
            return sha256
        draft = self.folder / f".{sha256}.{secrets.token_hex(4)}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, draft)
            with draft.open("rb+") as written:
                os.fsync(written.fileno())
            draft.replace(self.path(sha256))
        except OSError as error:
            fix = _ROOM if error.errno in {errno.ENOSPC, errno.EDQUOT} else "Look at the folder."
            problem = f"a file can't be kept ({error.strerror or error})"
            raise StoreError(str(self.folder), problem, fix) from None
        finally:
            draft.unlink(missing_ok=True)
        return sha256

    def check(self, sha256: str) -> Path:
        """Return the path of a file after its content was hashed.

        Raises:
            StoreError: There is no such file, or it has another hash.
        """
        path = self.path(sha256)
        if not path.is_file():
            problem = f"there is no file {sha256[:12]}, which a version names"
            raise StoreError(str(self.folder), problem, _AGAIN)
        found = sha256_of(path)
        if found != sha256:
            problem = f"the file {sha256[:12]} has the hash {found[:12]}: it was changed"
            raise StoreError(str(self.folder), problem, _AGAIN)
        return path

    def remove(self, sha256: str) -> int:
        """Remove a file if it is there, and return how many bytes that freed."""
        path = self.path(sha256)
        if not path.is_file():
            return 0
        size = path.stat().st_size
        path.unlink(missing_ok=True)
        return size


@runtime_checkable
class KeepsFiles(Protocol):
    """A tool's function that keeps files."""

    def with_files(self, files: HashedFiles | None) -> Callable[..., Any]:
        """Return the function with the folder that it keeps files in, ``None`` for its own."""
        ...


def bound_to_files(function: Callable[..., Any], files: HashedFiles | None) -> Callable[..., Any]:
    """Return a tool's function with the files of a store, if it keeps any."""
    keeper: Any = function
    return keeper.with_files(files) if isinstance(keeper, KeepsFiles) else function


def sha256_of(file: Path) -> str:
    """Return the sha256 of a file's content, as 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
