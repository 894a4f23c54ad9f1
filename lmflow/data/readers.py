"""Data sets from files and objects: JSON lines, CSV, Parquet, Hugging Face ``datasets``, pandas,
rows.
"""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs

from lmflow.data.dataset import Dataset, example_id
from lmflow.errors import BadData, BadMedia, BadValue, clipped, near
from lmflow.signatures.fields import holds_media
from lmflow.signatures.parsing import located, read, type_text
from lmflow.signatures.signature import Field, Signature, signature_of
from lmflow.values.media import attached
from lmflow.values.record import Record

ENDINGS: tuple[str, ...] = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
"""What the names of files end in that are read as data sets."""


class HasSignature(Protocol):
    """Anything with a signature, such as a program."""

    @property
    def signature(self) -> Signature:
        """The signature that gives fields their types."""
        ...


@attrs.frozen
class _Row:
    """A row as it was found, and where, for people."""

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
    """The data set in a file (``.jsonl``, ``.json``, ``.csv``, ``.tsv``, ``.parquet``), a Hugging
    Face data set, a pandas frame or an iterable of mappings.

    Texts in fields that the ``signature`` (or the program's) gives another type are read as that
    type: a CSV has only texts. ``drop_repeats`` leaves out rows that are wholly equal to an earlier
    one. Of Hugging Face data, class labels become their names; of pandas, missing values become
    ``None``. Pictures, sounds and files are named by a path, as seen from the file, or by a URL.
    ``BadData`` names file and line, and the fix.
    """
    rows = _rows(source)
    called = name or (Path(source).stem if isinstance(source, (str, Path)) else "examples")
    fields = _fields(signature)
    examples = list(
        _apart(((row.where, _record(row, fields)) for row in rows), drop_repeats=drop_repeats)
    )
    if not examples:
        where = str(source) if isinstance(source, (str, Path)) else called
        raise BadData(where, "it has no rows", "Give at least one example.")
    return Dataset(called, examples)


def _rows(source: Any) -> Iterator[_Row]:
    if isinstance(source, (str, Path)):
        return _file(Path(source))
    if hasattr(source, "features") and hasattr(source, "column_names"):
        return _hugging_face(source)
    if hasattr(source, "iloc") and hasattr(source, "to_dict"):
        return _pandas(source)
    if isinstance(source, Mapping):
        fix = (
            f"Name one of its parts: source[{next(iter(source), 'train')!r}]."
            if source
            else "Give rows."
        )
        raise BadData(
            "the source",
            f"it is one mapping of {', '.join(map(str, source)) or 'nothing'}, no rows",
            fix,
        )
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
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise BadData(
            str(path), "there is no such file", f"Give the path of one.{near(path.name, beside)}"
        )
    return readers[path.suffix.lower()](path)


def _jsonl(path: Path) -> Iterator[_Row]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                yield _Row(where, json.loads(line), path.parent)
            except json.JSONDecodeError as error:
                problem = f"it is no JSON ({error.msg}, column {error.colno})"
                raise BadData(
                    where, problem, 'Write one object a line: {"question": "...", "answer": "..."}.'
                ) from None


def _json(path: Path) -> Iterator[_Row]:
    try:
        found = json.loads(_text(path))
    except json.JSONDecodeError as error:
        problem = f"it is no JSON ({error.msg}, line {error.lineno}, column {error.colno})"
        raise BadData(
            str(path), problem, "Write a list of objects, or one object a line and call it .jsonl."
        ) from None
    if not isinstance(found, list):
        held = (
            f"an object with {', '.join(map(repr, found)) or 'nothing'}"
            if isinstance(found, dict)
            else repr(found)
        )
        fix = "Give the rows: lf.dataset(json.load(file)[...])."
        raise BadData(str(path), f"it holds {clipped(held)}, no list of objects", fix)
    for place, fields in enumerate(found):
        yield _Row(f"{path}, item {place}", fields, path.parent)


def _csv(path: Path) -> Iterator[_Row]:
    import csv  # noqa: PLC0415 - only where a CSV is read

    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    lines = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        names = next(lines, [])
        if twice := [name for name in names if names.count(name) > 1]:
            raise BadData(f"{path}, line 1", f"two columns are called {twice[0]!r}", "Rename one.")
        for cells in lines:
            where = f"{path}, line {lines.line_num}"
            if cells and len(cells) != len(names):
                problem = f"it has {len(cells)} cells, the header {len(names)}"
                raise BadData(where, problem, "Quote cells that hold a comma or a line's end.")
            if cells:
                yield _Row(where, dict(zip(names, cells, strict=True)), path.parent)
    except csv.Error as error:
        raise BadData(
            f"{path}, line {lines.line_num}", f"it is no CSV ({error})", "Quote as RFC 4180 does."
        ) from None


def _parquet(path: Path) -> Iterator[_Row]:
    try:
        parquet: Any = importlib.import_module(
            "pyarrow.parquet"
        )  # of the extra, so it may be missing
    except ImportError:
        raise BadData(
            str(path), "reading Parquet needs pyarrow", 'pip install "lmflow-dsl[data]"'
        ) from None
    table = parquet.read_table(path)
    return _numbered(f"{path}, row", table.to_pylist())


def _hugging_face(source: Any) -> Iterator[_Row]:
    """Rows in which a class label is its name, and a missing one (-1) ``None``."""
    labels = {
        name: kind.names for name, kind in (source.features or {}).items() if hasattr(kind, "names")
    }
    for row in _numbered("row", source):
        yield _Row(
            row.where,
            {name: _labelled(labels.get(name), value) for name, value in row.fields.items()},
        )


def _labelled(names: Sequence[str] | None, value: Any) -> Any:
    if names is None or not isinstance(value, int):
        return value
    return names[value] if value >= 0 else None


def _pandas(source: Any) -> Iterator[_Row]:
    """Rows in plain Python values: numpy's are made so, missing ones are ``None``."""
    rows: Iterable[Mapping[str, Any]] = source.to_dict(orient="records")
    return _numbered(
        "row", ({str(name): _bare(value) for name, value in row.items()} for row in rows)
    )


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _bare(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_bare(item) for item in value]
    if hasattr(value, "tolist"):
        return _bare(value.tolist())
    if type(value).__name__ in {"NAType", "NaTType"} or value != value:  # noqa: PLR0124 - NaN differs from itself
        return None
    return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value


def _numbered(what: str, rows: Iterable[Any]) -> Iterator[_Row]:
    return (_Row(f"{what} {at}", row) for at, row in enumerate(rows))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(
            str(path), f"it is no UTF-8 (byte {error.start})", "Save it as UTF-8."
        ) from None


def _fields(signature: HasSignature | Signature | str | None) -> Mapping[str, Field]:
    if signature is None:
        return {}
    own = signature if isinstance(signature, (str, Signature)) else signature.signature
    found = signature_of(own)
    return {field.name: field for field in (*found.inputs, *found.outputs)}


def _record(row: _Row, fields: Mapping[str, Field]) -> Record:
    if not isinstance(row.fields, Mapping):
        problem = f"it is a {type(row.fields).__qualname__}, no mapping of names to values"
        raise BadData(
            row.where,
            problem,
            'Write each example as an object: {"question": "...", "answer": "..."}.',
        )
    try:
        return Record(
            {name: _read(row, fields.get(name), value) for name, value in row.fields.items()}
        )
    except BadMedia as error:
        raise BadData(row.where, error.problem, error.fix) from None
    except BadValue as error:
        raise BadData(row.where, f"{error.where} is {error.found}", error.fix) from None


def _read(row: _Row, field: Field | None, value: Any) -> Any:
    where = row.where
    value = attached(value, lambda _: None, files=True)
    if field is not None and holds_media(field.type):
        return located(value, field.type, row.folder)
    if field is None or not isinstance(value, str) or field.type is str:
        return value
    try:
        return read(value, field.type, exact=True)
    except ValueError as error:
        fix = f"{field.name} is {type_text(field.type)} in the signature: mend the row or the signature."
        raise BadData(where, f"{field.name!r}: {error}", fix) from None


def _apart(rows: Iterable[tuple[str, Record]], *, drop_repeats: bool) -> Iterator[Record]:
    """The rows, no two with one id."""
    seen: dict[str, tuple[str, Record]] = {}
    for where, row in rows:
        name = example_id(row)
        if name not in seen:
            seen[name] = where, row
            yield row
        elif seen[name][1] != row:
            fix = 'Give each example an "id" of its own.'
            raise BadData(where, f"it has the id of {seen[name][0]}, {name!r}", fix)
        elif not drop_repeats:
            fix = 'Give each example an "id" of its own, or leave repeats out: drop_repeats=True.'
            raise BadData(where, f"it repeats {seen[name][0]}", fix)
