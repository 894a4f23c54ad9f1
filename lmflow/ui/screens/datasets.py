"""The screens of data sets: their list, one with its examples, and adding an execution to one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.data.dataset import example_id
from lmflow.traces.events import ScoreRecorded
from lmflow.ui.pages import FIRST, Act, Asked, BadQuery, Screen, Shown, Sources, command_line, link
from lmflow.values.json_text import parse
from lmflow.values.record import Record, plain


def load_datasets(asked: Asked) -> Shown:
    """List the data sets with the sizes of their splits."""
    names = asked.reader.datasets.names()
    data = {"rows": [attrs.asdict(each, recurse=False) for each in names]}
    return Shown("Data sets", command_line("dataset", "ls"), data)


DATASETS = Screen("/datasets", "datasets.html", load_datasets, "Data sets")


def load_dataset(asked: Asked) -> Shown:
    """Read a part of a data set, or of one of its splits."""
    name, split = asked.path["name"], asked.text("split")
    limit, start = asked.number("limit", FIRST), asked.number("start", 0, most=10**7)
    datasets = asked.reader.datasets
    examples, origins = datasets.dataset(name, split), datasets.origins(name)
    part = list(examples[start : start + limit])
    rows = [
        {
            "id": example_id(example),
            "example": plain(example),
            "origin": origins.get(example_id(example), ""),
        }
        for example in part
    ]
    data = {
        "name": name,
        "digest": datasets.digest(name),
        "split": split,
        "splits": {part_name: len(each) for part_name, each in datasets.splits(name).items()},
        "rows": rows,
        "start": start,
        "limit": limit,
        "shown": start + len(part),
        "total": len(examples),
    }
    command = command_line("dataset", "show", name, split=split, limit=limit)
    return Shown(f"Data set {name}", command, data)


DATASET = Screen("/datasets/{name}", "dataset.html", load_dataset)


def load_promotion(asked: Asked) -> Shown:
    """Offer to add an execution to a data set, its outputs as the reference."""
    outline = asked.outlines.trace(asked.path["trace"])
    inputs, outputs, failure = asked.outlines.values(outline.row)
    data = {
        "trace": outline.trace,
        "failure": plain(failure),
        "example": _indented({**(inputs or {}), **(outputs or {})}),
        "names": [
            {"name": each.name, "splits": [split for split in each.splits if split]}
            for each in asked.reader.datasets.names()
            if each.name
        ],
    }
    where = f"trace={outline.trace}"
    command = command_line("dataset", "from-runs", where=where, name="NAME")
    return Shown("Add to a data set", command, data)


PROMOTION = Screen("/traces/{trace}/promote", "promote.html", load_promotion)


async def promote(sources: Sources, form: Mapping[str, str]) -> str:
    """Add the example that a form holds to a data set; who did it and why stands with the trace."""
    reason, name, trace = (form.get(key, "").strip() for key in ("reason", "name", "trace"))
    if not reason:
        raise BadQuery("reason", "", "the reason, which is recorded with the execution")
    if not name:
        raise BadQuery("name", "", "the name of a data set")
    example = _example(form.get("example", ""))
    await asyncio.to_thread(_check_trace, sources, trace)
    split = form.get("split", "").strip()
    await asyncio.to_thread(sources.add_example, name, split, example, trace)
    words = f"added to {name}{'/' if split else ''}{split}: {reason}"
    note = ScoreRecorded(trace, "promoted", None, words, who=sources.who, at=time.time_ns())
    await asyncio.to_thread(sources.append, note)
    return link("datasets", name, split=split)


PROMOTE = Act("/promote", promote)


def _indented(example: Mapping[str, Any]) -> str:
    return json.dumps(plain(example), indent=2, ensure_ascii=False)


def _example(text: str) -> Record:
    try:
        value = parse(text)
    except ValueError as error:
        raise BadQuery("example", text, f"an object of JSON ({error})") from None
    if not isinstance(value, Mapping) or not value:
        raise BadQuery("example", text, "an object of JSON with the fields of an example")
    return Record(value)


def _check_trace(sources: Sources, trace: str) -> None:
    """Raise ``NotFound`` unless the store has the execution."""
    with sources.reading() as reader:
        reader.outlines.trace(trace)
