"""Reads files of spans, of whatever form."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from lmflow.errors import TelemetryError
from lmflow.stores.llm_logs import logged_responses
from lmflow.telemetry.protobuf import decode
from lmflow.telemetry.raw import RawSpan
from lmflow.telemetry.sources import llm, openinference
from lmflow.telemetry.sources.documents import document_spans, form_of
from lmflow.values.json_text import parse

_SQLITE = b"SQLite format 3\0"
_GZIP = b"\x1f\x8b"
_PROTOBUF = (".pb", ".binpb", ".bin", ".protobuf")
_LARGEST = 2**30
"""The bytes of a file that is one JSON document; a file of a document a line may be larger."""


def file_form(path: Path) -> str:
    """Return the name of the system that wrote a file, as its beginning shows."""
    with _opened(path) as file:
        head = file.read(len(_SQLITE))
        if head == _SQLITE:
            return "llm"
        if path.suffix in _PROTOBUF:
            return "otlp"
        line = head + file.readline()
    try:
        return form_of(parse(line.decode("utf-8")))
    except ValueError:
        return form_of(_document(path))


def file_spans(path: Path) -> Iterator[RawSpan]:
    """Yield the spans of a file: JSON, a JSON document a line, protobuf, or a log of ``llm``.

    Raises:
        TelemetryError: The file has no known form.
        ForeignFile: An SQLite file isn't a log of ``llm``.
    """
    with _opened(path) as file:
        head = file.read(len(_SQLITE))
        if head == _SQLITE:
            yield from (llm.spans(row, earlier) for row, earlier in logged_responses(path))
            return
        if path.suffix in _PROTOBUF:
            yield from map(openinference.translated, decode(head + file.read()))
            return
        first = head + file.readline()
        if _is_document(first):
            yield from _line_spans(first, 1, path)
            for number, line in enumerate(file, 2):
                yield from _line_spans(line, number, path)
            return
    yield from document_spans(_document(path), path.name)


def _is_document(line: bytes) -> bool:
    try:
        parse(line.decode("utf-8"))
    except ValueError:
        return False
    return True


def _line_spans(line: bytes, number: int, path: Path) -> Iterator[RawSpan]:
    if not line.strip():
        return
    where = f"{path.name}, line {number},"
    try:
        document: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        problem = f"{where} isn't JSON ({error!s:.80})"
        raise TelemetryError(problem, "What came before it is imported.") from None
    yield from document_spans(document, where)


def _document(path: Path) -> Any:
    with _opened(path) as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        problem = f"{path.name} is one document of more than 1 GB"
        raise TelemetryError(problem, "Write a document a line.")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        problem = f"{path.name} is neither JSON nor JSON lines ({error!s:.80})"
        raise TelemetryError(problem, "Protobuf files end in .pb or .binpb.") from None


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        is_compressed = file.read(2) == _GZIP
    return cast("BinaryIO", gzip.open(path) if is_compressed else path.open("rb"))
