"""Recall of BM25, of vectors and of both fused, on questions whose passages are known, and how fast
passages embed.

LMFLOW_DATA=folder python bench/retrieval.py [--keep FOLDER] [--most 1000] [hotpotqa] [squad]

A set is a folder in LMFLOW_DATA with ``corpus.jsonl`` (id, title, text) and ``dev.jsonl``,
``train.jsonl`` (question, gold_ids). Nothing is tuned, so both are asked. Of a larger corpus
``--most`` documents are searched: those that are gold, and the first others by id. ``--keep`` keeps
the indexes there, so that they aren't built again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lmflow as lf
from lmflow.errors import ModelUnavailable

SETS = ("hotpotqa", "squad")
DEPTH, CUTS, RESAMPLES = 30, (1, 3, 5, 10), 2000
WAYS = ("BM25", "dense", "fused")


def main() -> None:
    """Measure each set, or say why not."""
    parser = argparse.ArgumentParser(description="Recall of BM25, vectors, and both fused.")
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--model", default="local/all-minilm-l6-v2")
    given = parser.parse_args()
    data = Path(os.environ.get("LMFLOW_DATA", ""))
    missing = [name for name in given.sets if not (data / name / "corpus.jsonl").is_file()]
    if not os.environ.get("LMFLOW_DATA") or missing:
        print(f"skipped: LMFLOW_DATA names no folder with {', '.join(missing or given.sets)}")
        return
    with tempfile.TemporaryDirectory() as place:
        try:
            asyncio.run(
                measured(data, given.sets, given.keep or Path(place), given.model, given.most)
            )
        except ModelUnavailable as error:
            print(f"skipped: {error}")


async def measured(data: Path, sets: Sequence[str], place: Path, model: str, most: int) -> None:
    """Print a table for each set."""
    async with lf.Executor(lf.retrying(lf.model(model))) as ex:
        for name in sets:
            rows = [row for part in ("dev", "train") for row in read(data / name / f"{part}.jsonl")]
            gold = {id_ for row in rows for id_ in row["gold_ids"]}
            documents = sorted(
                read(data / name / "corpus.jsonl"), key=lambda it: (it["id"] not in gold, it["id"])
            )
            with lf.Corpus.build(documents[: max(most, len(gold))], place / f"{name}.db") as corpus:
                await compared(name, rows, corpus, ex, model)


async def compared(
    name: str, rows: Sequence[Mapping[str, Any]], corpus: lf.Corpus, ex: lf.Executor, model: str
) -> None:
    """Index a corpus, ask all questions, print recall by way and cut-off."""
    missing = len(corpus.draft(model).missing())
    begun = time.perf_counter()
    dense = await lf.dense_index(corpus, ex, model=model)
    seconds = time.perf_counter() - begun
    print(f"\n{name}: {len(rows)} questions, {len(corpus)} passages, {model}", flush=True)
    if missing:
        print(f"embedded {missing} passages in {seconds:.0f} s, {missing / seconds:.1f} a second")
    program = lf.retrieve(corpus, dense, k=DEPTH, depth=DEPTH)
    begun = time.perf_counter()
    run = await ex.map(program, [{"query": row["question"]} for row in rows])
    if run.failures:
        raise SystemExit(f"{len(run.failures)} questions failed: {run.failures[0]}")
    print(f"asked {len(rows) / (time.perf_counter() - begun):.0f} questions a second\n")
    print(f"{'':8}" + "".join(f"{f'recall@{k}':>22}" for k in CUTS))
    for way in WAYS:
        scores = [
            [lf.recall_at_k(k)(row, {"ids": found(trace, way)}).value for k in CUTS]
            for row, trace in zip(rows, run.traces, strict=True)
        ]
        print(
            f"{way:8}"
            + "".join(
                f"{interval([score[cut] for score in scores]):>22}" for cut in range(len(CUTS))
            )
        )


def found(trace: lf.Trace, way: str) -> list[str]:
    """The documents that a retrieval found, best first, of one of its ways."""
    outputs: Any = trace.outputs
    if way != "fused":
        step = {"BM25": "/bm25[0]/", "dense": "/nearest[0]/"}[way]
        reply: Any = next(call.outcome for call in trace.calls if step in call.address)
        outputs = {"sources": reply.value}
    return list(dict.fromkeys(source.rpartition("#")[0] for source in outputs["sources"]))


def interval(scores: Sequence[float]) -> str:
    """The mean and its 95 % interval, by resampling the questions (Efron 1979, the percentile
    method).
    """
    values = np.asarray(scores)
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), (2.5, 97.5))
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines)


if __name__ == "__main__":
    main()
