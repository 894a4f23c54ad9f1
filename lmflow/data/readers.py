"""Data sets from files and objects: JSON lines, CSV, Parquet, Hugging Face ``datasets``, pandas,
rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lmflow.data.dataset import Dataset, example_id
from lmflow.data.file_rows import LIMITS_FIX, Row, file_rows, numbered_rows
from lmflow.errors import BadData, BadMedia, BadValue
from lmflow.signatures.declaration import signature_of
from lmflow.signatures.fields import Field, holds_media
from lmflow.signatures.media_paths import resolve_media
from lmflow.signatures.parsing import read, type_text
from lmflow.signatures.signature import HasSignature, Signature
from lmflow.values.media import attach_media
from lmflow.values.record import Record

AllowFiles = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""Folders in which rows may name files."""


def dataset(
    source: Any,
    name: str = "",
    *,
    signature: HasSignature | Signature | str | None = None,
    drop_repeats: bool = False,
    allow_files: AllowFiles = (),
) -> Dataset:
    """Read a data set from a file or from rows of another library.

    Args:
        source: A path (``.jsonl``, ``.json``, ``.csv``, ``.tsv``, ``.parquet``), a Hugging Face
            data set, a pandas frame or an iterable of mappings.
        name: The data set's name, by default that of the file.
        signature: Gives fields their types, also as a program: a text in a field of another type is
            parsed, as a CSV has only texts.
        drop_repeats: Whether to leave out rows that equal an earlier one.
        allow_files: A folder, or several, in which rows may name pictures, sounds and files by
            their paths, besides the folder of the data itself.

    Returns:
        The data set. Class labels of Hugging Face are their names; missing values of pandas are
        ``None``. Pictures, sounds and files are given by a path, relative to the file, or by a URL;
        in rows without a file, relative to the current folder.

    Raises:
        BadData: A row can't be read, or names a file outside of these folders; the error names file
            and line, and the fix.

    Example:
        >>> lf.dataset([{"n": "3"}], signature="n: int -> double: int")[0].n
        3
    """
    is_file = isinstance(source, (str, Path))
    name = name or (Path(source).stem if is_file else "examples")
    rows = read_rows(source, signature, allow_files)
    examples = list(_distinct(rows, drop_repeats=drop_repeats))
    if not examples:
        where = str(source) if is_file else name
        raise BadData(where, "it has no rows", "Give at least one example.")
    return Dataset(name, examples)


def read_rows(
    source: Any,
    signature: HasSignature | Signature | str | None = None,
    allow_files: AllowFiles = (),
    *,
    only_inputs: bool = False,
) -> Iterator[tuple[str, Record]]:
    """Yield the rows of ``source``, repeats too, each with its place for error messages.

    With ``only_inputs`` the fields of outputs stay as they are. ``BadData`` as in ``dataset``.
    """
    fields = _fields(signature, only_inputs=only_inputs)
    allowed = _folders(allow_files)
    return ((row.where, _record(row, fields, allowed)) for row in _rows(source))


def _folders(allow_files: AllowFiles) -> tuple[Path, ...]:
    if isinstance(allow_files, (str, os.PathLike)):
        return (Path(allow_files),)
    if not isinstance(allow_files, Iterable):
        found, fix = repr(allow_files), 'Name folders: allow_files="pictures"; "/" is all files.'
        raise BadData("allow_files", f"{found} names no folder", fix)
    return tuple(map(Path, allow_files))


def _rows(source: Any) -> Iterator[Row]:
    if isinstance(source, (str, Path)):
        return file_rows(Path(source))
    if hasattr(source, "features") and hasattr(source, "column_names"):
        return _hugging_face(source)
    if hasattr(source, "iloc") and hasattr(source, "to_dict"):
        return _pandas(source)
    if isinstance(source, Mapping):
        names = ", ".join(map(str, source)) or "nothing"
        fix = f"Name one of its parts: source[{next(iter(source))!r}]." if source else "Give rows."
        raise BadData("the source", f"it is one mapping of {names}, no rows", fix)
    if not isinstance(source, Iterable):
        fix = "Give a path, rows, a Hugging Face data set or a pandas frame."
        raise BadData("the source", f"it is a {type(source).__qualname__}, no rows", fix)
    return numbered_rows("row", source)


def _hugging_face(source: Any) -> Iterator[Row]:
    """Rows in which a class label is its name, and a missing label (-1) is ``None``."""
    labels = {
        name: kind.names for name, kind in (source.features or {}).items() if hasattr(kind, "names")
    }
    for row in numbered_rows("row", source):
        fields = {name: _label(labels.get(name), value) for name, value in row.fields.items()}
        yield Row(row.where, fields)


def _label(names: Sequence[str] | None, value: Any) -> Any:
    if names is None or not isinstance(value, int):
        return value
    return names[value] if value >= 0 else None


def _pandas(source: Any) -> Iterator[Row]:
    """Rows in Python values, without those of numpy; missing values are ``None``."""
    rows: Iterable[Mapping[Any, Any]] = source.to_dict(orient="records")
    return numbered_rows("row", (_python_fields(row) for row in rows))


def _python_fields(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): _python_value(value) for name, value in row.items()}


def _python_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _python_value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_python_value(item) for item in value]
    if hasattr(value, "tolist"):
        return _python_value(value.tolist())
    if type(value).__name__ in {"NAType", "NaTType"} or value != value:  # noqa: PLR0124 - NaN differs from itself
        return None
    return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value


def _fields(
    signature: HasSignature | Signature | str | None, *, only_inputs: bool
) -> Mapping[str, Field]:
    if signature is None:
        return {}
    if not isinstance(signature, (str, Signature)):
        signature = signature.signature
    signature = signature_of(signature)
    outputs = () if only_inputs else signature.outputs
    return {field.name: field for field in (*signature.inputs, *outputs)}


def _record(row: Row, fields: Mapping[str, Field], allowed: Sequence[Path]) -> Record:
    if not isinstance(row.fields, Mapping):
        problem = f"it is a {type(row.fields).__qualname__}, no mapping of names to values"
        fix = 'Write each example as an object: {"question": "...", "answer": "..."}.'
        raise BadData(row.where, problem, fix)
    try:
        return Record(
            {
                name: _read(row, name, fields.get(name), value, allowed)
                for name, value in row.fields.items()
            }
        )
    except RecursionError:
        raise BadData(row.where, "it is nested too deeply", LIMITS_FIX) from None
    except BadValue as error:
        raise BadData(row.where, f"{error.where} is {error.found}", error.fix) from None


def _read(row: Row, name: str, field: Field | None, value: Any, allowed: Sequence[Path]) -> Any:
    try:
        value = attach_media(value, lambda _: None, files=True)
        if field is not None and holds_media(field.type):
            return resolve_media(value, field.type, row.folder, allowed)
    except BadMedia as error:
        raise BadData(row.where, f"{name!r}: {error.problem}", error.fix) from None
    if field is None or not isinstance(value, str) or field.type is str:
        return value
    try:
        return read(value, field.type, exact=True)
    except ValueError as error:
        type_name = type_text(field.type)
        fix = f"{field.name} is {type_name} in the signature: mend the row or the signature."
        raise BadData(row.where, f"{field.name!r}: {error}", fix) from None


def _distinct(rows: Iterable[tuple[str, Record]], *, drop_repeats: bool) -> Iterator[Record]:
    """The rows, without repeats; ``BadData`` if two have one id."""
    by_id: dict[str, tuple[str, Record]] = {}
    for where, row in rows:
        id_ = example_id(row)
        if id_ not in by_id:
            by_id[id_] = where, row
            yield row
            continue
        first_place, first = by_id[id_]
        if first != row:
            fix = 'Give each example an "id" of its own.'
            raise BadData(where, f"it has the id of {first_place}, {id_!r}", fix)
        if not drop_repeats:
            fix = 'Give each example an "id" of its own, or leave repeats out: drop_repeats=True.'
            raise BadData(where, f"it repeats {first_place}", fix)
