"""The part of ``speed.py`` about what is on record already: evaluations fresh and reused, resume,
replay and reading, each of the same rows in every round, in one process.

CPU is of all threads of the process. The model answers over HTTP on the loopback, as in the other
parts, so that a reused call saves what it saves for a user; "scripted" rows leave HTTP out.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
from clients import INSTRUCTION, REPLY, settled
from common import mock_server, ratio, spread

import lmflow as lf
from lmflow.errors import BudgetExceeded
from lmflow.stores.sqlite.store import reading

Row = tuple[str, ...]
STEP = lf.predict("answer", "question -> answer", INSTRUCTION)
METRIC = lf.exact_match("answer")


@attrs.frozen
class Took:
    """What a job took: wall seconds and the CPU seconds of all threads."""

    seconds: float
    cpu: float


Times = dict[str, list[Took]]


def jobs(rounds: int, rows: int) -> Iterator[Row]:
    """All rows of the part."""
    with mock_server() as url:
        model = lf.model("openai/m", base_url=f"{url}/lmflow/v1", api_key="")
        times = asyncio.run(_rounds(lambda: model, rounds, rows))
        scripted = asyncio.run(_rounds(lambda: lf.scripted(lambda _: REPLY), rounds, rows))
    yield from _evaluations(times, rows, "")
    yield from _evaluations(scripted, rows, ", scripted")
    for what, bar in (
        ("replayed in memory", "≥ 20,000"),
        ("read from the store", "≥ 8,000"),
        ("read and replayed", ""),
    ):
        yield (f"{what}, traces/s", spread([rows / t.seconds for t in times[what]]), *[""] * 3, bar)
        yield (f"{what}, CPU µs a trace", _work(times[what], rows), "", "", "", "")


def _evaluations(times: Times, rows: int, words: str) -> Iterator[Row]:
    fresh = [took.cpu for took in times["evaluate"]]
    for what, bar in (("evaluate, all reused", "≤ 0.35"), ("resume, half of it", "")):
        yield (
            f"{what}, CPU µs a row{words}",
            _work(times[what], rows),
            "recorded",
            _work(times["evaluate"], rows),
            ratio([took.cpu for took in times[what]], fresh),
            bar,
        )


def _work(times: list[Took], rows: int) -> str:
    return spread([took.cpu / rows * 1e6 for took in times])


async def _rounds(model: Callable[[], Any], rounds: int, rows: int) -> Times:
    times: Times = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(-1, rounds):  # the first warms up
            path = Path(folder) / f"{number}.db"
            found = await _round(model(), path, rows, number)
            if number >= 0:
                for name, took in found.items():
                    times.setdefault(name, []).append(took)
    return times


async def _round(model: Any, path: Path, rows: int, number: int) -> dict[str, Took]:
    data = lf.dataset(
        [{"question": f"How long, cup {n} of {number}?", "answer": REPLY} for n in range(rows)]
    )
    questions = [{"question": row["question"]} for row in data]
    found: dict[str, Took] = {}
    with lf.SqliteStore(path) as store:
        async with lf.Executor(model, store, concurrency=64) as ex:

            async def evaluate() -> Any:
                evaluation = await ex.evaluate(STEP, data, METRIC)
                settled(store)
                return evaluation

            found["evaluate"], first = await _timed(evaluate)
            found["evaluate, all reused"], again = await _timed(evaluate)
            assert first.root == again.root
            found["resume, half of it"] = await _resumed(ex, store, rows, number)
            run = await ex.map(STEP, questions)
        settled(store)
    async with lf.Executor(model, concurrency=64) as ex:
        in_memory = await ex.map(STEP, questions)
        list(in_memory.traces)
    found["replayed in memory"], replayed = _timed_now(lambda: lf.replay(in_memory, STEP))
    assert replayed.root == in_memory.root
    found["read from the store"], _ = _timed_now(lambda: _read(path, run.id))
    found["read and replayed"], _ = _timed_now(lambda: _read_and_replayed(path, run.id))
    return found


async def _resumed(ex: lf.Executor, store: lf.SqliteStore, rows: int, number: int) -> Took:
    """Stop a run by its budget in its middle, and finish it: half is reused, half is recorded."""
    questions = [{"question": f"How long, other cup {n} of {number}?"} for n in range(rows)]
    try:
        await ex.map(STEP, questions, budget=lf.Budget(calls=rows // 2))
    except BudgetExceeded as stopped:
        run = store.run(stopped.run)

        async def resume() -> Any:
            done = await ex.resume(run, STEP)
            settled(store)
            return done

        took, done = await _timed(resume)
        assert len(done.traces) == rows
        return took
    raise AssertionError("the budget didn't stop the run")


def _read(path: Path, run: str) -> None:
    with reading(path) as reader:
        for trace in reader.run(run).traces:
            assert trace.outputs is not None


def _read_and_replayed(path: Path, run: str) -> None:
    with reading(path) as reader:
        recording = reader.run(run)
        assert lf.replay(recording, STEP).root == recording.root


async def _timed(job: Callable[[], Awaitable[Any]]) -> tuple[Took, Any]:
    gc.collect()
    began, worked = time.perf_counter(), time.process_time()
    result = await job()
    return Took(time.perf_counter() - began, time.process_time() - worked), result


def _timed_now(job: Callable[[], Any]) -> tuple[Took, Any]:
    gc.collect()
    began, worked = time.perf_counter(), time.process_time()
    result = job()
    return Took(time.perf_counter() - began, time.process_time() - worked), result
