"""Batched requests: waves, price, and what is submitted when processes are killed.

python bench/waves.py [--rows 1000] [--kills 20] [--lanes openai anthropic]

A server on the loopback stands in for the provider (``tests/support/lane_server.py``). Three steps
over the rows are mapped live and in waves; then processes that map two steps over 20 rows into a
file are killed with SIGKILL, each at another moment of the server, and resumed.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import table

import lmflow as lf

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from lane_server import LaneServer, lane_server  # noqa: E402 - after the path
from lane_worlds import PRICES, answer, model_at, program, rows, waving  # noqa: E402

KILLED_ROWS = 20


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--lanes", nargs="+", default=["openai", "anthropic"])
    parser.add_argument("--child", nargs=3, metavar=("PORT", "PROVIDER", "FILE"))
    options = parser.parse_args()
    if options.child:
        asyncio.run(_child(*options.child))
        return
    asyncio.run(_measure(options.lanes, options.rows, options.kills))


async def _measure(lanes: list[str], count: int, kills: int) -> None:
    lines = [[provider, *await _waves(provider, count)] for provider in lanes]
    heads = ["lane", "waves", "requests", "same root", "share of the live price", "seconds"]
    print(table([heads, *lines]))
    killed = [[provider, *await _killed(provider, kills)] for provider in lanes]
    heads = ["lane", "kills", "submitted twice", "runs with the live root"]
    print(table([heads, *killed]))


async def _waves(provider: str, count: int) -> list[str]:
    async with lane_server(LaneServer(answer)) as server:
        async with lf.Executor(model_at(server, provider), prices=PRICES) as ex:
            live = await ex.map(program(3), rows(count), progress=lf.silent)
        began = time.perf_counter()
        async with lf.Executor(waving(server, provider, quiet=0.2), prices=PRICES) as ex:
            run = await ex.map(program(3), rows(count), progress=lf.silent)
        seconds = time.perf_counter() - began
    share = (run.sums[0].cost or 0) / (live.sums[0].cost or 1)
    requests = sum(len(batch.lines) for batch in server.batches.values())
    same = "yes" if live.root == run.root else "no"
    return [str(len(server.batches)), f"{requests:,}", same, f"{share:.2f}", f"{seconds:.1f}"]


async def _killed(provider: str, kills: int) -> list[str]:
    roots, twice, moments, done = set[str](), 0, 0, 0
    for number in range(kills + 1):
        # The first isn't killed: it tells how many moments there are.
        kill = 1 + (number - 1) * (moments - 1) // kills if number else 0
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "traces.db"
            async with lane_server(LaneServer(answer)) as server:
                moments = max(moments, await _until_done(server, provider, file, kill))
                twice += len(server.twice) + sum(n > 1 for n in server.texts.values())
            with lf.SqliteStore(file) as store:
                run = next(run for run in store.runs(100) if run.kind == "map")
                roots.add(store.run(run.id).root)
                done += run.status == "done"
    same = done if len(roots) == 1 else 0
    return [str(kills), str(twice), f"{same} of {kills + 1}"]


async def _until_done(server: LaneServer, provider: str, file: Path, kill: int) -> int:
    """Run processes until one ends by itself, the first of which is killed at a moment."""
    counted = 0
    process: subprocess.Popen[bytes] | None = None

    def moment() -> bool:
        nonlocal counted
        counted += 1
        if counted == kill and process is not None:
            process.kill()
            return True
        return False

    server.hook = moment
    child = [sys.executable, __file__, "--child", str(server.port), provider, str(file)]
    while True:
        process = subprocess.Popen(child)  # noqa: ASYNC220 - it begins at once
        if await asyncio.to_thread(process.wait) == 0:
            return counted


async def _child(port: str, provider: str, file: str) -> None:
    model = waving(LaneServer(answer, port=int(port)), provider)
    with lf.SqliteStore(file) as store:
        begun = [run for run in store.runs(100) if run.kind == "map"]
        async with lf.Executor(model, store) as ex:
            if begun:
                await ex.resume(store.run(begun[0].id), program(2), progress=lf.silent)
            else:
                await ex.map(program(2), rows(KILLED_ROWS), progress=lf.silent)


if __name__ == "__main__":
    main()
