"""Data sets from files and objects: JSON lines, CSV, Parquet, Hugging Face ``datasets``, pandas,
rows.
"""

from __future__ import annotations

import importlib
import io
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from lmflow.data.dataset import Dataset, example_id
from lmflow.errors import BadData, BadMedia, BadValue, clipped, near
from lmflow.signatures.declaration import signature_of
from lmflow.signatures.fields import Field, holds_media
from lmflow.signatures.parsing import read, resolve_media, type_text
from lmflow.signatures.signature import HasSignature, Signature
from lmflow.values.json_text import parse
from lmflow.values.media import attach_media
from lmflow.values.record import Record

ENDINGS: tuple[str, ...] = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
"""The endings of files that are read as data sets."""

_LIMITS_FIX = "Write long numbers as text, and values flatter."
_CSV_LOCK = threading.Lock()


@attrs.frozen
class _Row:
    """A row as its source has it, with its place for error messages and the folder of its file."""

    where: str
    fields: Mapping[str, Any]
    folder: Path = Path()


def dataset(
    source: Any,
    name: str = "",
    *,
    signature: HasSignature | Signature | str | None = None,
    drop_repeats: bool = False,
) -> Dataset:
    """Read a data set from a file or from rows of another library.

    Args:
        source: A path (``.jsonl``, ``.json``, ``.csv``, ``.tsv``, ``.parquet``), a Hugging Face
            data set, a pandas frame or an iterable of mappings.
        name: The data set's name, by default that of the file.
        signature: Gives fields their types, also as a program: a text in a field of another type is
            parsed, as a CSV has only texts.
        drop_repeats: Whether to leave out rows that equal an earlier one.

    Returns:
        The data set. Class labels of Hugging Face are their names; missing values of pandas are
        ``None``. Pictures, sounds and files are given by a path, relative to the file, or by a URL.

    Raises:
        BadData: A row can't be read; the error names file and line, and the fix.

    Example:
        >>> lf.dataset([{"n": "3"}], signature="n: int -> double: int")[0].n
        3
    """
    is_file = isinstance(source, (str, Path))
    name = name or (Path(source).stem if is_file else "examples")
    fields = _fields(signature)
    rows = ((row.where, _record(row, fields)) for row in _rows(source))
    examples = list(_distinct(rows, drop_repeats=drop_repeats))
    if not examples:
        where = str(source) if is_file else name
        raise BadData(where, "it has no rows", "Give at least one example.")
    return Dataset(name, examples)


def _rows(source: Any) -> Iterator[_Row]:
    if isinstance(source, (str, Path)):
        return _file(Path(source))
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
    return _numbered("row", source)


def _file(path: Path) -> Iterator[_Row]:
    readers = dict(zip(ENDINGS, (_jsonl, _json, _csv, _csv, _parquet), strict=True))
    if path.suffix.lower() not in readers:
        fix = f"Name it by what it holds: {', '.join(readers)}."
        raise BadData(str(path), f"files ending in {path.suffix or 'nothing'!r} aren't read", fix)
    if not path.is_file():
        siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        fix = f"Give the path of one.{near(path.name, siblings)}"
        raise BadData(str(path), "there is no such file", fix)
    return readers[path.suffix.lower()](path)


def _jsonl(path: Path) -> Iterator[_Row]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            fields = parse(line)
        except json.JSONDecodeError as error:
            problem = f"it is not JSON ({error.msg}, column {error.colno})"
            fix = 'Write one object a line: {"question": "...", "answer": "..."}.'
            raise BadData(where, problem, fix) from None
        except ValueError as error:
            raise BadData(where, str(error), _LIMITS_FIX) from None
        yield _Row(where, fields, path.parent)


def _json(path: Path) -> Iterator[_Row]:
    try:
        rows = parse(_text(path))
    except json.JSONDecodeError as error:
        problem = f"it is not JSON ({error.msg}, line {error.lineno}, column {error.colno})"
        fix = "Write a list of objects, or one object a line and call it .jsonl."
        raise BadData(str(path), problem, fix) from None
    except ValueError as error:
        raise BadData(str(path), str(error), _LIMITS_FIX) from None
    if not isinstance(rows, list):
        content = repr(rows)
        if isinstance(rows, dict):
            content = f"an object with {', '.join(map(repr, rows)) or 'nothing'}"
        fix = "Give the rows: lf.dataset(json.load(file)[...])."
        raise BadData(str(path), f"it holds {clipped(content)}, no list of objects", fix)
    for place, fields in enumerate(rows):
        yield _Row(f"{path}, item {place}", fields, path.parent)


def _csv(path: Path) -> Iterator[_Row]:
    import csv  # noqa: PLC0415 - only where a CSV is read

    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    text = _text(path)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = _csv_rows(lines, len(text))
    try:
        names = next(rows, [])
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            problem = f"two columns are called {repeated[0]!r}"
            raise BadData(f"{path}, line 1", problem, "Rename one.")
        for cells in rows:
            where = f"{path}, line {lines.line_num}"
            if cells and len(cells) != len(names):
                problem = f"it has {len(cells)} cells, the header {len(names)}"
                raise BadData(where, problem, "Quote cells that hold a comma or a line's end.")
            if cells:
                yield _Row(where, dict(zip(names, cells, strict=True)), path.parent)
    except csv.Error as error:
        where = f"{path}, line {lines.line_num}"
        raise BadData(where, f"it is not CSV ({error})", "Quote as RFC 4180 does.") from None


def _csv_rows(lines: Iterator[list[str]], longest: int) -> Iterator[list[str]]:
    """The rows of a CSV reader, whose cells may have ``longest`` characters."""
    import csv  # noqa: PLC0415 - only where a CSV is read

    while True:
        # The limit belongs to the process, and others may rely on it: it is raised for one row at a
        # time, under a lock, since two threads that overlap would leave it raised.
        with _CSV_LOCK:
            limit = csv.field_size_limit(longest + 1)
            try:
                row = next(lines, None)
            finally:
                csv.field_size_limit(limit)
        if row is None:
            return
        yield row


def _parquet(path: Path) -> Iterator[_Row]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        fix = 'pip install "lmflow-dsl[data]"'
        raise BadData(str(path), "reading Parquet needs pyarrow", fix) from None
    table = parquet.read_table(path)
    return _numbered(f"{path}, row", table.to_pylist())


def _hugging_face(source: Any) -> Iterator[_Row]:
    """Rows in which a class label is its name, and a missing label (-1) is ``None``."""
    labels = {
        name: kind.names for name, kind in (source.features or {}).items() if hasattr(kind, "names")
    }
    for row in _numbered("row", source):
        fields = {name: _label(labels.get(name), value) for name, value in row.fields.items()}
        yield _Row(row.where, fields)


def _label(names: Sequence[str] | None, value: Any) -> Any:
    if names is None or not isinstance(value, int):
        return value
    return names[value] if value >= 0 else None


def _pandas(source: Any) -> Iterator[_Row]:
    """Rows in Python values, without those of numpy; missing values are ``None``."""
    rows: Iterable[Mapping[Any, Any]] = source.to_dict(orient="records")
    return _numbered("row", (_python_fields(row) for row in rows))


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


def _numbered(label: str, rows: Iterable[Any]) -> Iterator[_Row]:
    return (_Row(f"{label} {place}", row) for place, row in enumerate(rows))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"it is not UTF-8 (byte {error.start})"
        raise BadData(str(path), problem, "Save it as UTF-8.") from None


def _fields(signature: HasSignature | Signature | str | None) -> Mapping[str, Field]:
    if signature is None:
        return {}
    if not isinstance(signature, (str, Signature)):
        signature = signature.signature
    signature = signature_of(signature)
    return {field.name: field for field in (*signature.inputs, *signature.outputs)}


def _record(row: _Row, fields: Mapping[str, Field]) -> Record:
    if not isinstance(row.fields, Mapping):
        problem = f"it is a {type(row.fields).__qualname__}, no mapping of names to values"
        fix = 'Write each example as an object: {"question": "...", "answer": "..."}.'
        raise BadData(row.where, problem, fix)
    try:
        return Record(
            {name: _read(row, fields.get(name), value) for name, value in row.fields.items()}
        )
    except RecursionError:
        raise BadData(row.where, "it is nested too deeply", _LIMITS_FIX) from None
    except BadMedia as error:
        raise BadData(row.where, error.problem, error.fix) from None
    except BadValue as error:
        raise BadData(row.where, f"{error.where} is {error.found}", error.fix) from None


def _read(row: _Row, field: Field | None, value: Any) -> Any:
    value = attach_media(value, lambda _: None, files=True)
    if field is not None and holds_media(field.type):
        return resolve_media(value, field.type, row.folder)
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
