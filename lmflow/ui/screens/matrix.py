"""The screen Examples x versions: a grid of scores, failures and what was never run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lmflow.data.conditions import condition
from lmflow.ui.pages import Asked, Screen, Shown, command_line, link

EXAMPLES = 100
"""The rows that one request gets at first; ``?limit=500`` shows that many."""

COLUMNS = 40
"""The evaluations that a grid has at most."""

HISTORY_PART = 100
"""The evaluations in which one request looks for an example."""

_RUNS_READ = 200


def load_matrix(asked: Asked) -> Shown:
    """Read the scores of the latest evaluations of a program, a row an example."""
    program = asked.text("program")
    by_program = _programs(asked)
    program = program or next(iter(by_program), "")
    runs = by_program.get(program, [])
    columns, left_out = list(reversed(runs[:COLUMNS])), max(0, len(runs) - COLUMNS)
    cells = asked.outlines.cells([run["id"] for run in columns])
    labels = list(dict.fromkeys(map(_example, cells)))
    start, limit = asked.number("start", 0, most=10**6), asked.number("limit", EXAMPLES)
    part = labels[start : start + limit]
    grid = _grid(cells)
    refs = {version: name for name, version in asked.reader.refs().items()}
    data = {
        "program": program,
        "programs": {name: len(of_it) for name, of_it in by_program.items()},
        "columns": [_column(asked, run, refs) for run in columns],
        "left_out": left_out,
        "rows": [
            {"label": label, "cells": [grid.get((label, run["id"])) for run in columns]}
            for label in part
        ],
        "start": start,
        "limit": limit,
        "shown": start + len(part),
        "total": len(labels),
    }
    command = command_line("runs", "ls", where=("kind=evaluate", f"program={program}"))
    return Shown("Examples × versions", command, data)


MATRIX = Screen("/examples", "matrix.html", load_matrix, "Examples")


def load_history(asked: Asked) -> Shown:
    """Read the executions of one example, newest first, a part of the evaluations at a time."""
    label, program = asked.path["label"], asked.text("program")
    criteria = [condition("kind=evaluate"), condition(f"program={program}")]
    ids = asked.reader.listing.run_ids(criteria, HISTORY_PART + 1, asked.text("before"))
    part = ids[:HISTORY_PART] if program else []
    cells = asked.outlines.cells(part, label)
    started = {id_: asked.reader.run_alone(id_).started for id_ in part}
    rows = [{**cell, "started": started[cell["run"]]} for cell in cells]
    rows.sort(key=lambda row: str(row["run"]), reverse=True)
    good = next((row for row in rows if row["score"] is not None and row["score"] >= 1), None)
    bad = next((row for row in rows if row["score"] is not None and row["score"] < 1), None)
    data = {
        "label": label,
        "program": program,
        "rows": rows,
        "total": len(rows),
        "bisect": _bisect(good, bad, program, label),
        "grid": link("examples", program=program),
        "evaluations": len(part),
        "older": part[-1] if program and len(ids) > HISTORY_PART else "",
    }
    command = command_line("runs", "calls", where=(f"label={label}",))
    return Shown(f"Example {label}", command, data)


HISTORY = Screen("/examples/{label}", "history.html", load_history)


def _programs(asked: Asked) -> dict[str, list[dict[str, Any]]]:
    """Return the latest evaluations by the name of their program, the newest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in asked.reader.runs_where([condition("kind=evaluate")], _RUNS_READ):
        row = {"id": run.id, "started": run.started, "status": run.status, "target": run.target}
        found.setdefault(run.name, []).append(row)
    return found


def _column(asked: Asked, run: Mapping[str, Any], refs: Mapping[str, str]) -> dict[str, Any]:
    version = asked.outlines.version(run["id"])
    return {**run, "version": version, "ref": refs.get(version, "")}


def _grid(cells: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the cells by example and run; samples of an example are one cell with their mean."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((_example(cell), cell["run"]), []).append(cell)
    return {place: _cell(samples) for place, samples in groups.items()}


def _cell(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    shown = next((each for each in samples if each["status"] == "failed"), samples[0])
    scores = [each["score"] for each in samples if each["score"] is not None]
    mean = statistics.fmean(scores) if scores else None
    return {"trace": shown["trace"], "status": shown["status"], "score": mean}


def _example(cell: Mapping[str, Any]) -> str:
    """Return the label of an example, without the number of a sample."""
    return str(cell["label"]).partition("/")[0]


def _bisect(
    good: Mapping[str, Any] | None, bad: Mapping[str, Any] | None, program: str, label: str
) -> str:
    """Return the command that finds the version which broke the example; empty if none did."""
    if good is None or bad is None or good["run"] > bad["run"]:
        return ""
    return command_line(
        "bisect", good["version"], bad["version"], example=label, metric="METRIC",
        program=program if ":" in program else "MODULE:PROGRAM",
    )  # fmt: skip
