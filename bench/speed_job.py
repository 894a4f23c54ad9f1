"""One job of so many rows in a process of its own: ``speed_job.py map|evaluate ROWS [PATH]``. It
prints its wall seconds, CPU seconds and peak memory as one line of JSON.

The model is scripted and rows are made when they are asked for, so that what grows is lmflow's.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clients import INSTRUCTION, REPLY, peak_mb, settled

import lmflow as lf

STEP = lf.predict("answer", "question -> answer", INSTRUCTION)


def rows(count: int) -> Iterator[dict[str, str]]:
    """Questions with their answers."""
    for number in range(count):
        yield {"question": f"How long is green tea steeped, cup {number}?", "answer": REPLY}


async def main(job: str, count: int, path: Path) -> dict[str, Any]:
    """Run the job over a new store; return what it took."""
    gc.set_threshold(20_000)
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(lambda _: REPLY), store, concurrency=64) as ex:
            await ex.map(STEP, [{"question": f"warm {n}"} for n in range(256)])
            before, began, worked = peak_mb(), time.perf_counter(), time.process_time()
            if job == "map":
                await ex.map(STEP, rows(count))
            else:
                await ex.evaluate(STEP, rows(count), lf.exact_match("answer"))
            settled(store)
            seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    return {"seconds": seconds, "cpu": cpu, "peak_mb": peak_mb(), "before_mb": before}


if __name__ == "__main__":
    _, job_, count_ = sys.argv
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(main(job_, int(count_), Path(folder) / "job.db"))))
