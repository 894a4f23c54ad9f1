"""Examples that stay in their file: they are read each time somebody iterates over them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import overload

import attrs

from lmflow.data.dataset import at_place
from lmflow.data.readers import AllowFiles, read_rows
from lmflow.errors import BadData
from lmflow.signatures.signature import HasSignature
from lmflow.values.canonical_text import text_form
from lmflow.values.record import Record

Check = Callable[[str, Record], None]
"""Is given the place of a row and the row; raises ``BadData`` if a program can't take it."""


@attrs.frozen(repr=False)
class FileExamples(Sequence[Record]):
    """The rows of a file as inputs of a program; ``file_examples`` makes it.

    Attributes:
        path: The file.
        program: The program whose inputs the rows are.
        allow_files: Folders in which rows may name files.
        length: The number of the rows.
        digest: The digest of the rows, as of a data set.
    """

    path: Path
    program: HasSignature
    allow_files: AllowFiles
    length: int
    digest: str

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Record]:
        return _rows(self.path, self.program, self.allow_files)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | Sequence[Record]:
        return at_place(self, at)

    def __repr__(self) -> str:
        return f"<{len(self):,} examples of {self.path}>"


def file_examples(
    path: Path,
    program: HasSignature,
    allow_files: AllowFiles = (),
    *,
    check: Check | None = None,
) -> FileExamples:
    """Read a file once to its end, and return its rows, none of which is held.

    Args:
        path: The file.
        program: The program whose inputs the rows are.
        allow_files: Folders in which rows may name files.
        check: Is given the place of each row and the row, and raises ``BadData`` if it isn't one.

    Raises:
        BadData: A row can't be read, or there is none; the error names file and line.
    """
    count, hashing = 0, hashlib.blake2b(b"dataset\0[", digest_size=32)
    for where, row in read_rows(path, program, allow_files, only_inputs=True):
        if check is not None:
            check(where, row)
        form = text_form(row.digest)
        hashing.update((f",{form}" if count else form).encode("ascii"))
        count += 1
    if not count:
        raise BadData(str(path), "it has no rows", "Give at least one example.")
    hashing.update(b"]")
    return FileExamples(path, program, allow_files, count, f"v1:b2:{hashing.hexdigest()}")


def _rows(path: Path, program: HasSignature, allow_files: AllowFiles) -> Iterator[Record]:
    return (row for _, row in read_rows(path, program, allow_files, only_inputs=True))
