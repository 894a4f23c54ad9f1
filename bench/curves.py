"""How the time of a job grows with the rows of a run: record, evaluate, resume, replay, and what the
commands that list, search and clean up take then.

python bench/curves.py [--sizes 1000 10000 100000] [--write docs/pictures/performance.json]

Each size has a process and a store of its own; the model is scripted, so that what grows is
lmflow's. ``docs/pictures/curves.py`` draws the picture of the file that is written. A size that is
in the file is measured anew, the others stay.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from clients import INSTRUCTION, REPLY, settled
from common import table
from pages import machine

import lmflow as lf
from lmflow.cli.main import main as lmflow
from lmflow.errors import BudgetExceeded
from lmflow.stores.sqlite.store import reading

STEP = lf.predict("answer", "question -> answer", INSTRUCTION)
JOBS = ("record", "evaluate", "resume", "read", "replay", "list", "search", "gc")


def main() -> None:
    """Measure each size in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--write", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asyncio.run(measured(options.one))))
        return
    seconds: dict[str, dict[str, float]] = {}
    for size in options.sizes:
        command = [sys.executable, __file__, "--one", str(size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds[str(size)] = json.loads(done.stdout.splitlines()[-1])
        cells = [f"{seconds[str(size)][job]:,.3f}" for job in JOBS]
        print(table([("rows", *(f"{job}, s" for job in JOBS)), (f"{size:,}", *cells)]), flush=True)
        if options.write:
            write(options.write, seconds)


def write(path: Path, seconds: dict[str, dict[str, float]]) -> None:
    """Put the sizes that were measured into the file, beside those of before."""
    before = json.loads(path.read_text(encoding="utf-8"))["seconds"] if path.exists() else {}
    merged = dict(sorted((before | seconds).items(), key=lambda item: int(item[0])))
    found = {"machine": machine(), "seconds": merged}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


async def measured(size: int) -> dict[str, float]:
    """The seconds of each job on a new store."""
    gc.set_threshold(20_000)
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "curves.db"
        with lf.SqliteStore(path) as store:
            async with lf.Executor(lf.scripted(lambda _: REPLY), store, concurrency=64) as ex:
                run = await _timed(took, "record", store, lambda: ex.map(STEP, rows(size, "map")))
                await _timed(
                    took,
                    "evaluate",
                    store,
                    lambda: ex.evaluate(STEP, rows(size, "set"), lf.exact_match("answer")),
                )
                stopped = store.run(await _stopped(ex, size))
                await _timed(
                    took, "resume", store, lambda: ex.resume(stopped, STEP, rows(size, "half"))
                )
        name = run.id
        del run
        _timed_now(took, "read", lambda: _read(path, name))
        _timed_now(took, "replay", lambda: _replayed(path, name))
        for job, words in (
            ("list", ["runs", "ls"]),
            ("search", ["runs", "search", "steeped"]),
            ("gc", ["gc", "--yes"]),
        ):
            _timed_now(took, job, lambda words=words: _command(path, words))  # type: ignore[misc]
    return took


def rows(size: int, name: str) -> Iterator[dict[str, str]]:
    """Questions with their answers, each when it is asked for."""
    for number in range(size):
        question = f"How long is green tea steeped, cup {number} of the {name}?"
        yield {"question": question, "answer": REPLY}


async def _stopped(ex: lf.Executor, size: int) -> str:
    """A run that its budget stopped in the middle."""
    try:
        await ex.map(STEP, rows(size, "half"), budget=lf.Budget(calls=size // 2))
    except BudgetExceeded as error:
        return error.run
    raise AssertionError("the budget didn't stop the run")


def _read(path: Path, run: str) -> None:
    with reading(path) as reader:
        for trace in reader.run(run).traces:
            assert trace.outputs is not None


def _replayed(path: Path, run: str) -> None:
    with reading(path) as reader:
        recording = reader.run(run)
        assert lf.replay(recording, STEP).root == recording.root


def _command(path: Path, words: list[str]) -> None:
    result = CliRunner().invoke(lmflow, [*words, "--store", str(path)])
    assert not result.exit_code, result.output


async def _timed(
    took: dict[str, float], name: str, store: Any, job: Callable[[], Awaitable[Any]]
) -> Any:
    gc.collect()
    began = time.perf_counter()
    result = await job()
    settled(store)
    took[name] = time.perf_counter() - began
    return result


def _timed_now(took: dict[str, float], name: str, job: Callable[[], Any]) -> None:
    gc.collect()
    began = time.perf_counter()
    job()
    took[name] = time.perf_counter() - began


if __name__ == "__main__":
    main()
