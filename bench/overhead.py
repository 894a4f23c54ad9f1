"""What lmflow itself costs a call: a scripted model, so that nothing but the executor, the store
and replay is timed.

Run it as ``python bench/overhead.py``; with ``--profile`` the busiest functions of the live and the
replay half follow. Every figure is of one process on one thread (and the store's writer), best of
three. The second table has the CPU of the core alone, without a store: the ways take turns, and the
function calls, which no other process disturbs, are counted once.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lmflow as lf

CONTEXT = (
    "Paris is the capital of France. The Louvre stands there, and the Seine flows through it. " * 8
)
STEP = lf.predict(
    "answer", "context: list[str], question -> answer", "Answer from the context, in a few words."
)
REPLY = "Paris, the capital of France."


def rows(count: int) -> list[dict[str, object]]:
    """Different questions on one context of about 700 characters."""
    return [
        {"context": [CONTEXT], "question": f"What is the capital of France, asked {i} times?"}
        for i in range(count)
    ]


async def recorded(
    store: lf.MemoryStore | lf.SqliteStore, concurrency: int, count: int
) -> tuple[float, lf.Run]:
    """Calls a second, recorded and committed, and the run."""
    async with lf.Executor(lf.scripted(lambda _: REPLY), store, concurrency=concurrency) as ex:
        await ex.map(STEP, rows(concurrency))
        gc.collect()
        begun = time.perf_counter()
        run = await ex.map(STEP, rows(count))
        return count / (time.perf_counter() - begun), run


def measured(
    make: Callable[[], lf.MemoryStore | lf.SqliteStore], concurrency: int, count: int
) -> float:
    """The best of three."""
    best = 0.0
    for _ in range(3):
        store = make()
        best = max(best, asyncio.run(recorded(store, concurrency, count))[0])
        store.close()
    return best


def replayed(run: lf.Run) -> float:
    """Replayed calls a second, best of three."""
    best = 0.0
    for _ in range(3):
        gc.collect()
        begun = time.perf_counter()
        lf.replay(run)
        best = max(best, len(run) / (time.perf_counter() - begun))
    return best


def core(count: int, rounds: int = 5) -> list[tuple[str, float, float]]:
    """The CPU and the Python function calls of one call, each way: name, microseconds, calls."""
    with asyncio.Runner() as runner:
        ex = lf.Executor(lf.scripted(lambda _: REPLY), concurrency=64)
        recording = runner.run(ex.map(STEP, rows(count)))

        async def one_by_one() -> None:
            for row in rows(count):
                await ex.run(STEP(**row))

        ways: dict[str, Callable[[], object]] = {
            "ex.map": lambda: runner.run(ex.map(STEP, rows(count))),
            "ex.run": lambda: runner.run(one_by_one()),
            "replay": lambda: lf.replay(recording),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                times[name].append(_cpu(way) / count * 1e6)
        figures = [(name, min(times[name]), _calls(way) / count) for name, way in ways.items()]
        runner.run(ex.aclose())
    return figures


def _cpu(way: Callable[[], object]) -> float:
    gc.collect()
    begun = time.process_time()
    way()
    return time.process_time() - begun


def _calls(way: Callable[[], object]) -> int:
    profile = cProfile.Profile()
    profile.runcall(way)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = iter(range(1000))
        stores: dict[str, Callable[[], lf.MemoryStore | lf.SqliteStore]] = {
            "memory": lf.MemoryStore,
            "sqlite": lambda: lf.SqliteStore(Path(folder) / f"{next(made)}.db"),
        }
        print(f"{'store':<8} {'concurrency':>11} {'calls/s':>9}")
        for name, make in stores.items():
            for concurrency in (1, 16, 64):
                print(
                    f"{name:<8} {concurrency:>11} {measured(make, concurrency, options.count):>9,.0f}"
                )
        _, run = asyncio.run(recorded(lf.MemoryStore(), 64, options.count))
        print(f"{'replay':<8} {'':>11} {replayed(run):>9,.0f}")
        print(f"\n{'core':<8} {'CPU µs':>11} {'functions':>9}")
        for name, cpu, calls in core(options.count):
            print(f"{name:<8} {cpu:>11,.0f} {calls:>9,.0f}")
        if options.profile:
            store = stores["sqlite"]()
            _profiled(lambda: asyncio.run(recorded(store, 64, options.count)))
            _profiled(lambda: lf.replay(run))
            store.close()


def _profiled(work: Callable[[], object]) -> None:
    profile = cProfile.Profile()
    profile.runcall(work)
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
