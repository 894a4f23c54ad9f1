"""Rows of data files: JSON lines, JSON, CSV, TSV and Parquet, each with its place."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from lmflow.errors import BadData, clipped, near
from lmflow.values.json_text import parse

ENDINGS: tuple[str, ...] = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
"""The endings of files that are read as data sets."""

LIMITS_FIX = "Write long numbers as text, and values flatter."
_PARQUET_ROWS = 1024
_CSV_LOCK = threading.Lock()


@attrs.frozen
class Row:
    """A row as its source has it, with its place for error messages and the folder of its file."""

    where: str
    fields: Mapping[str, Any]
    folder: Path = Path()


def file_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file, read as its ending says. ``BadData`` names file and line."""
    readers = dict(zip(ENDINGS, (_jsonl, _json, _csv, _csv, _parquet), strict=True))
    if path.suffix.lower() not in readers:
        fix = f"Name it by what it holds: {', '.join(readers)}."
        raise BadData(str(path), f"files ending in {path.suffix or 'nothing'!r} aren't read", fix)
    if not path.is_file():
        siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        fix = f"Give the path of one.{near(path.name, siblings)}"
        raise BadData(str(path), "there is no such file", fix)
    return readers[path.suffix.lower()](path)


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_lines(path), 1):
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
            raise BadData(where, str(error), LIMITS_FIX) from None
        yield Row(where, fields, path.parent)


def _json(path: Path) -> Iterator[Row]:
    try:
        rows = parse(_text(path))
    except json.JSONDecodeError as error:
        problem = f"it is not JSON ({error.msg}, line {error.lineno}, column {error.colno})"
        fix = "Write a list of objects, or one object a line and call it .jsonl."
        raise BadData(str(path), problem, fix) from None
    except ValueError as error:
        raise BadData(str(path), str(error), LIMITS_FIX) from None
    if not isinstance(rows, list):
        content = repr(rows)
        if isinstance(rows, dict):
            content = f"an object with {', '.join(map(repr, rows)) or 'nothing'}"
        fix = "Give the rows: lf.dataset(json.load(file)[...])."
        raise BadData(str(path), f"it holds {clipped(content)}, no list of objects", fix)
    for place, fields in enumerate(rows):
        yield Row(f"{path}, item {place}", fields, path.parent)


def _csv(path: Path) -> Iterator[Row]:
    import csv  # noqa: PLC0415 - only where a CSV is read

    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    longest = path.stat().st_size
    lines = csv.reader(_lines(path, newline=""), delimiter=delimiter, strict=True)
    rows = _csv_rows(lines, longest)
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
                yield Row(where, dict(zip(names, cells, strict=True)), path.parent)
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


def _parquet(path: Path) -> Iterator[Row]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        fix = 'pip install "lmflow-dsl[data]"'
        raise BadData(str(path), "reading Parquet needs pyarrow", fix) from None
    try:
        with parquet.ParquetFile(path) as file:
            rows = (row for part in file.iter_batches(_PARQUET_ROWS) for row in part.to_pylist())
            yield from numbered_rows(f"{path}, row", rows, path.parent)
    except (OSError, ValueError) as error:  # pyarrow's own errors are one of the two
        problem = f"it is not Parquet ({clipped(str(error))})"
        raise BadData(str(path), problem, "Write it anew.") from None


def numbered_rows(label: str, rows: Iterable[Any], folder: Path = Path()) -> Iterator[Row]:
    """Yield rows with their numbers as places."""
    return (Row(f"{label} {place}", row, folder) for place, row in enumerate(rows))


def _lines(path: Path, newline: str = "\n") -> Iterator[str]:
    """Yield the lines of a text, of which one is held. ``BadData`` if it isn't UTF-8."""
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            yield from file
    except UnicodeDecodeError:
        _text(path)  # says which byte of the file it is, not of the part that was being read
        raise


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"it is not UTF-8 (byte {error.start})"
        raise BadData(str(path), problem, "Save it as UTF-8.") from None
