"""Maps a program over a file, and writes a row for each of the file's rows."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from lmflow.cli.actions.json_lines import write_json_lines
from lmflow.data.file_examples import Check
from lmflow.errors import BadData, MissingInput, StoreError, WrongType, clipped
from lmflow.execution.parts.labels import Labels
from lmflow.programs.program import Program, pending_of
from lmflow.traces.trace import Run, Trace
from lmflow.values.media import json_with_content
from lmflow.values.record import Record, plain
from lmflow.values.whole_files import check_not_open, replacing

FORMS = (".jsonl", ".parquet")
"""The endings of files that a map writes."""

_LABEL = re.compile(r"ex\[(.*?)\](?:/n\[(\d+)\])?", re.DOTALL)
_ROWS = 1000


def check_out(path: str, inputs: str) -> None:
    """Raise ``LmflowError`` if a map of ``inputs`` can't write its results into ``path``: before
    anything is paid for, and so that no rows are lost.
    """
    if Path(path).suffix.lower() not in FORMS:
        raise BadData(path, "a map writes JSON lines or Parquet", "Call it .jsonl or .parquet.")
    if Path(path).suffix.lower() == ".parquet":
        _pyarrow("pyarrow", path)
    out, fix = Path(path), "Name another file for the results: --out OUT.jsonl."
    if out.is_dir():
        raise BadData(path, "it is a folder", fix)
    folder = next(each for each in out.absolute().parents if each.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise BadData(path, f"nothing can be written in {folder}", fix)
    if out.exists() and Path(inputs).exists() and out.samefile(inputs):
        raise BadData(path, "it holds the inputs, which the results would replace", fix)
    check_not_open(out)


def row_check(program: Program) -> Check:
    """Return what checks that a program takes the rows of a file, each under an id of its own."""
    labels = Labels()

    def check(where: str, row: Record) -> None:
        try:
            pending_of(program, row)
        except MissingInput as error:
            problem = (
                f"it lacks the input {error.missing!r} of {error.program}; it has {_names(row)}"
            )
            raise BadData(where, problem, "Add it, or rename the field that holds it.") from None
        except WrongType as error:
            fix = "Mend the row, or the program's signature."
            raise BadData(where, str(error).rstrip("."), fix) from None
        try:
            labels.label(row)
        except ValueError:
            own = row.get("id")
            words = "its position as id" if own is None else f"its id, {clipped(repr(own))}"
            fix = 'Give each row an "id" of its own.'
            raise BadData(where, f"an earlier row has {words}", fix) from None

    return check


def _names(row: Record) -> str:
    return ", ".join(map(repr, row)) or "nothing"


def out_of_map(run: Run) -> str | None:
    """Return the file that the results of a map go to; ``None`` if the run has none."""
    settings = run.config.get("map")
    return str(settings["out"]) if isinstance(settings, Mapping) else None


def write_results(run: Run, program: Program, path: str) -> None:
    """Write a row for each execution of a run, in order: its id, the inputs, the outputs, the error
    if it failed, and the trace. The file is there as a whole, or as it was before.

    Raises:
        BadData: The file can't be written.
    """
    try:
        _write(run, program, path)
    except StoreError as error:
        fix = "All rows are recorded: the same line with another --out only writes them."
        raise BadData(path, error.problem, fix) from None


def _write(run: Run, program: Program, path: str) -> None:
    with replacing(path) as draft:
        if Path(path).suffix.lower() == ".parquet":
            _write_parquet(run, program, draft, path)
        else:
            write_json_lines(result_rows(run, program), draft)


def result_rows(run: Run, program: Program) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run's executions."""
    signature = program.signature
    fields = {field.name for field in (*signature.inputs, *signature.outputs)}
    names = [field.name for field in signature.outputs]
    for label, trace in run.items:
        yield _row(label, trace, names, fields)


def _row(label: str, trace: Trace, names: Sequence[str], fields: set[str]) -> dict[str, Any]:
    match = _LABEL.fullmatch(label)
    id_, sample = (match[1], match[2]) if match else (label, None)
    outputs: Mapping[str, Any] = trace.outputs or dict.fromkeys(names)
    facts: dict[str, Any] = {
        "error": None if trace.failure is None else f"{trace.failure.kind}: {trace.failure.text}",
        "trace": trace.id,
    }
    head: dict[str, Any] = {"id": id_} | ({"sample": int(sample)} if sample else {})
    own = {name: value for name, value in trace.inputs.items() if name != "id"}
    row = head | own | dict(outputs)
    return row | {f"_{name}" if name in fields else name: fact for name, fact in facts.items()}


def _write_parquet(run: Run, program: Program, draft: Path, path: str) -> None:
    """Write the rows a few at a time; the first pass finds the types of the columns."""
    arrow, parquet = _pyarrow("pyarrow", path), _pyarrow("pyarrow.parquet", path)
    schemas = [arrow.Table.from_pylist(part).schema for part in _parts(run, program)]
    try:
        schema = arrow.unify_schemas(schemas or [arrow.schema([])], promote_options="permissive")
    except (ValueError, TypeError) as error:
        problem = f"its columns have no one type each ({error})"
        raise BadData(path, problem, "Write JSON lines: --out OUT.jsonl.") from None
    with parquet.ParquetWriter(draft, schema) as writer:
        for part in _parts(run, program):
            writer.write_table(arrow.Table.from_pylist(part, schema=schema))


def _parts(run: Run, program: Program) -> Iterator[list[dict[str, Any]]]:
    rows = result_rows(run, program)
    while part := [_json_values(row) for row in islice(rows, _ROWS)]:
        yield part


def _json_values(row: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps(plain(row, kept=True), default=json_with_content)
    values: dict[str, Any] = json.loads(text)
    return values


def _pyarrow(name: str, path: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        fix = 'pip install "lmflow-dsl[data]"'
        raise BadData(path, "writing Parquet needs pyarrow", fix) from None
