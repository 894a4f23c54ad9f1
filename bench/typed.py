"""How many replies of a small local model become values of the user's types, with the JSON adapter.

python bench/typed.py [--rows 200] [--store typed.db]

Over snips (intent and slots) and wikigold (entities of four types), dev rows, found in the folder
LMFLOW_DATA. What the store holds already is not asked again, so a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs

import lmflow as lf

MODEL = "local/qwen2.5-coder-0.5b"
CHUNK, DEMOS = 20, 2
OPTIONS = {"temperature": 0, "max_tokens": 400}


Names = Annotated[tuple[str, ...], lf.Field(max_length=8)]


@attrs.frozen
class Entities:
    """Names in a text, by type. The bound ends a small model that repeats itself."""

    person: Names = ()
    location: Names = ()
    organization: Names = ()
    misc: Names = ()


def snips(folder: Path) -> lf.Program:
    """Intent and slots, each slot a class whose name is one of the data set's."""
    slots = json.loads((folder / "schema.json").read_text(encoding="utf-8"))
    names = Literal[tuple(sorted({name for group in slots.values() for name in group}))]  # type: ignore[valid-type]
    slot = attrs.make_class(
        "Slot", {"name": attrs.field(type=names), "text": attrs.field(type=str)}, frozen=True
    )
    bounded = Annotated[tuple[slot, ...], lf.Field(max_length=8)]
    types = {"Intent": Literal[tuple(sorted(slots))], "Slots": bounded}
    demos = [
        {
            **row,
            "slots": [
                {"name": name, "text": text}
                for name, texts in row["slots"].items()
                for text in texts
            ],
        }
        for row in rows(folder / "train.jsonl", DEMOS)
    ]
    text = "Read the command. Take each slot's text from it."
    return lf.predict(
        "snips",
        "text -> intent: Intent, slots: Slots",
        text,
        demos=demos,
        adapter="json",
        types=types,
    )


def wikigold(folder: Path) -> lf.Program:
    """One value of a class."""
    blank = dict.fromkeys(("person", "location", "organization", "misc"), ())
    demos = [
        {**row, "entities": {**blank, **row["entities"]}}
        for row in rows(folder / "train.jsonl", DEMOS)
    ]
    text = "List the names in the text, by type."
    types = {"Entities": Entities}
    return lf.predict(
        "wikigold", "text -> entities: Entities", text, demos=demos, adapter="json", types=types
    )


def rows(path: Path, count: int) -> list[dict[str, Any]]:
    """The first rows of a data set."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:count]]


async def main() -> None:
    """Ask what is missing, then say what came of all."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rows", type=int, default=200)
    words.add_argument("--store", default="typed.db")
    words.add_argument("--only", default="")
    options = words.parse_args()
    data = os.environ.get("LMFLOW_DATA")
    if not data:
        print("skipped: LMFLOW_DATA names no folder of data sets")
        return
    store = lf.SqliteStore(options.store)
    async with lf.Executor(MODEL, store, concurrency=4) as executor:
        for make in (snips, wikigold):
            if options.only in make.__name__:
                await bench(executor, store, make, Path(data) / make.__name__, options.rows)
    store.close()


async def bench(
    executor: lf.Executor, store: lf.SqliteStore, make: Any, folder: Path, count: int
) -> None:
    """One data set: ask in chunks, then count."""
    program = make(folder)
    version = lf.init(program).put({f"{make.__name__}.options": OPTIONS})
    asked = rows(folder / "dev.jsonl", count)
    done = dict(finished(store, version))
    missing = [row for row in asked if row["text"] not in done]
    for start in range(0, len(missing), CHUNK):
        run = await executor.map(program, missing[start : start + CHUNK], version=version)
        done |= {trace.inputs.text: trace for trace in run}
        print(f"{make.__name__}: {len(done)} of {len(asked)}", flush=True)
    report(make.__name__, [done[row["text"]] for row in asked])


def finished(store: lf.SqliteStore, version: lf.Version) -> Iterable[tuple[str, lf.Trace]]:
    """The traces in the store of these parameters, by text; not those whose endpoint failed."""
    for run in store.runs(limit=10_000):
        for trace in store.run(run.id):
            if trace.done and trace.version.tree == version.tree and not lost(trace):
                yield trace.inputs.text, trace


def lost(trace: lf.Trace) -> bool:
    """Whether it was the endpoint that failed: nothing was there to convert."""
    return trace.failure is not None and trace.failure.kind == "ModelFailed"


def report(name: str, traces: list[lf.Trace]) -> None:
    """The share that converts, at once and after the retry, and why the rest doesn't."""
    good = [trace for trace in traces if trace.outputs is not None]
    first = sum(len(trace.calls) == 1 for trace in good)
    seconds = sorted((trace.ended - trace.started) / 1e9 for trace in traces)
    print(
        f"{name}: {len(good)} of {len(traces)} convert ({100 * len(good) / len(traces):.1f} %), {first} at once"
    )
    print(f"{name}: median {seconds[len(seconds) // 2]:.1f} s a row")
    for cause, times in Counter(
        str(trace.failure.text)[:300] for trace in traces if trace.failure
    ).most_common():
        print(f"  {times} x {cause}")


if __name__ == "__main__":
    asyncio.run(main())
