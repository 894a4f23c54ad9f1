"""Files that are replaced as a whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from lmflow.errors import StoreError


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give the path of a draft, and move the draft to ``path`` when the block ends without an
    error. Its content is on the disk by then. Missing folders are made.

    Args:
        path: The file that is replaced.

    Raises:
        StoreError: The file can't be written; what was there before stays.
    """
    file = Path(path)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        with draft.open("rb+") as written:
            os.fsync(written.fileno())
        draft.replace(file)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        fix = "Name a file in a folder where you may write."
        raise StoreError(str(path), f"it can't be written ({reason})", fix) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def write_whole(path: Path | str, content: str) -> None:
    """Write a text as the whole content of a file, in UTF-8. ``StoreError`` if that can't be."""
    with replacing(path) as draft:
        draft.write_bytes(content.encode("utf-8"))
