"""How long one hostile reply stops every other call: the longest stall of the event loop.

python bench/stalls.py [--size 1000000] [--adapters xml chat ...] [--shown 12]

A beat runs in the loop while replies are read that repeat each unit of ``tests/laws``. A stall is
the CPU time of the whole process between two beats, so that other work of the machine doesn't
count: on an idle machine the loop stands still for no longer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import Iterator

import attrs
from common import HERE, table

import lmflow as lf
from lmflow.adapters.registry import ADAPTERS

sys.path.insert(0, str(HERE.parent / "tests" / "laws"))
from test_linear_readers import FRAMES, STEP, UNITS

BAR = 0.2


@attrs.frozen
class Stall:
    """The longest stall of one reply, in seconds, and what the reply repeats."""

    seconds: float
    adapter: str
    unit: str
    before: str


async def _beat(gaps: list[float]) -> None:
    last = time.process_time()
    while True:
        await asyncio.sleep(0.001)
        now = time.process_time()
        gaps.append(now - last)
        last = now


async def longest(adapter: str, text: str) -> float:
    """Read one reply, with the retry that follows one that can't be read."""
    version = lf.init(STEP).put({"step.adapter": adapter})
    gaps: list[float] = []
    async with lf.Executor(lf.scripted(lambda _: text)) as ex:
        beat = asyncio.create_task(_beat(gaps))
        await asyncio.sleep(0.01)
        with contextlib.suppress(lf.LmflowError):
            await ex.run(STEP, question="?", version=version)
        await asyncio.sleep(0.01)
        beat.cancel()
    return max(gaps)


def stalls(size: int, adapters: list[str]) -> Iterator[Stall]:
    """Measure each repetition of that many characters."""
    for adapter in adapters:
        for before, after in FRAMES:
            for unit in UNITS:
                text = f"{before}{unit * (size // len(unit))}{after}"
                gc.collect()
                yield Stall(asyncio.run(longest(adapter, text)), adapter, unit, before)


def main() -> None:
    """Print the longest stalls."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [adapter.name for adapter in ADAPTERS]
    parser.add_argument("--size", type=int, nargs="+", default=[9_000, 1_000_000])
    parser.add_argument("--adapters", nargs="+", default=names, choices=names)
    parser.add_argument("--shown", type=int, default=12)
    asked = parser.parse_args()
    for size in asked.size:
        seen = sorted(stalls(size, asked.adapters), key=lambda stall: -stall.seconds)
        rows = [("stall, ms of CPU", "adapter", "repeats", "behind")]
        for stall in seen[: asked.shown]:
            shown = (f"{1000 * stall.seconds:.0f}", stall.adapter, repr(stall.unit))
            rows.append((*shown, repr(stall.before)))
        print(table(rows, right=(0,)))
        over = sum(stall.seconds > BAR for stall in seen)
        print(f"\n{len(seen)} replies of {size:,} characters: {over} over {BAR:g} s.\n", flush=True)


if __name__ == "__main__":
    main()
