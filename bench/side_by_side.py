"""What trying candidates side by side saves: `gepa` with one and with eight at a time.

python bench/side_by_side.py [--seconds 0.1] [--concurrency 64] [--calls 600] [--worlds 3]

A model that takes a tenth of a second is right by chance, as the instruction has it, mostly on the
same questions. Both searches get the same calls. Wall time, calls and the true gain are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import Any

from common import table

import lmflow as lf
from lmflow.messages.replies import ChatReply
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.values.record import digest

BREADTHS = (1, 8)
START = "Answer."
STEP = lf.predict("answer", "question -> answer", START)
ROWS = [{"question": f"q{n}?", "answer": "yes"} for n in range(120)]
DATA = lf.Data(ROWS[:60], ROWS[60:])


def share(*parts: object) -> float:
    """A number from 0 to 1 that depends on the parts alone."""
    return int(digest("share", [str(part) for part in parts])[-8:], 16) / 0xFFFFFFFF


class SlowModel:
    """A model that takes its time; what an instruction is worth depends on its text and the seed."""

    name = "slow/model"
    endpoint = "slow"

    def __init__(self, seed: int, seconds: float) -> None:
        self.seed, self.seconds = seed, seconds

    def chance(self, instruction: str) -> float:
        """The true score of an instruction."""
        return 0.4 if instruction == START else 0.3 + 0.4 * share(self.seed, instruction)

    async def __call__(self, request: Any, send: Any) -> ChatReply:
        """Answer a request."""
        return await send(lambda _: self._exchange(request))

    async def _exchange(self, request: Any) -> ChatReply:
        await asyncio.sleep(self.seconds)
        system, question = request.messages[0].content, request.messages[-1].content
        if system.startswith("You write"):
            return ChatReply(f"Answer the way {request.key[-8:]}.", model=self.name)
        instruction = system.split("\n")[0]
        luck = 0.7 * share(self.seed, question) + 0.3 * share(self.seed, request.key)
        return ChatReply("yes" if luck < self.chance(instruction) else "no", model=self.name)

    async def aclose(self) -> None:
        """Does nothing."""


async def measured(
    optimizer: PlanOptimizer, model: SlowModel, concurrency: int
) -> tuple[float, int, float]:
    """Seconds, calls and the true gain of a search."""
    async with lf.Executor(model, concurrency=concurrency) as ex:
        begun = time.perf_counter()
        done = await ex.optimize(
            optimizer, STEP, DATA, lf.exact_match("answer"), progress=lf.silent
        )
        seconds = time.perf_counter() - begun
        instruction = str({**STEP.defaults, **done.version.params}["answer.instruction"])
        return seconds, ex.spent.calls, model.chance(instruction) - model.chance(START)


def main() -> None:
    """One row a breadth."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--seconds", type=float, default=0.1)
    words.add_argument("--concurrency", type=int, default=64)
    words.add_argument("--calls", type=int, default=600)
    words.add_argument("--worlds", type=int, default=3)
    options = words.parse_args()
    rows = [["breadth", "seconds", "times faster", "calls", "gain, points"]]
    first = 0.0
    for breadth in BREADTHS:
        results = []
        for seed in range(options.worlds):
            optimizer = lf.gepa(calls=options.calls, breadth=breadth, seed=seed)
            model = SlowModel(seed, options.seconds)
            results.append(asyncio.run(measured(optimizer, model, options.concurrency)))
        seconds, calls, gain = (statistics.fmean(column) for column in zip(*results, strict=True))
        first = first or seconds
        faster = f"{first / seconds:.1f}"
        rows.append([str(breadth), f"{seconds:.1f}", faster, f"{calls:.0f}", f"{100 * gain:+.1f}"])
    print(table(rows, right=range(1, 5)))


if __name__ == "__main__":
    main()
