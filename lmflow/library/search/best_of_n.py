"""Best of n: several samples, the one with the highest reward."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.library.search.samples import (
    Attempt,
    Judging,
    Search,
    drawn,
    judge_of,
    judged,
    outputs_of,
    positive,
    score_in,
)
from lmflow.programs.program import Program, take
from lmflow.values.functions import Function
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class BestOfN(Search):
    """A program sampled up to ``n`` times, ``width`` at once; see ``best_of_n``."""

    reward: Function | Program
    n: int
    threshold: float | None
    width: int

    @property
    def runs(self) -> int:
        """The most runs of its part, and of its reward."""
        return self.n

    async def body(self, inputs: Record) -> Record:
        """The sample with the highest reward; the earlier where they tie."""
        if self.n == 1:
            plain: Record = await take(self.part, inputs)
            return plain
        attempts: list[Attempt] = []
        rewarded: list[tuple[float, Record]] = []
        while len(attempts) < self.n and not self._reached(rewarded):
            stop = min(self.n, len(attempts) + self.width)
            wave = await drawn(self.part, inputs, len(attempts), stop)
            attempts += wave
            rewarded += await self._rewarded(
                inputs, [it.outputs for it in wave if it.outputs is not None]
            )
        return max(rewarded, key=lambda pair: pair[0])[1] if rewarded else outputs_of(attempts)[0]

    def _reached(self, rewarded: list[tuple[float, Record]]) -> bool:
        return self.threshold is not None and any(value >= self.threshold for value, _ in rewarded)

    async def _rewarded(self, inputs: Record, outputs: list[Record]) -> list[tuple[float, Record]]:
        said: list[Any] = await judged(self.reward, inputs, outputs)
        values = (score_in(self.reward, word) for word in said)
        return [
            (value, found)
            for value, found in zip(values, outputs, strict=True)
            if value is not None
        ]


def best_of_n(  # noqa: PLR0913 - each is a choice of its own
    program: Program,
    reward: Judging | Program,
    *,
    n: int,
    threshold: float | None = None,
    width: int | None = None,
    version: str | None = None,
) -> BestOfN:
    """The sample of a program with the highest reward, of at most ``n``; the earlier where they
    tie.

    Cost: at most ``n`` runs of the program, and of ``reward`` where that is a program. With a
    ``threshold`` it stops after the first wave of ``width`` samples (one at a time by default) in
    which one reaches it: ``(1 - (1 - p)**n) / p`` runs on average where a sample does with
    probability ``p``. Without one all are drawn side by side.

    ``reward`` is a pure function ``(inputs, outputs)`` that returns what a metric returns, or a
    program with an output ``score`` that reads inputs and outputs by name. A sample that fails, or
    whose judging does, is left out; where all do, the first failure is raised, or the first sample
    that couldn't be judged is given. ``n=1`` is the program itself. Sampling needs a temperature
    above 0. ``version`` identifies a function whose source doesn't.

    Best-of-n: Nakano et al. 2021, arXiv 2112.09332; how imperfect rewards cap it: Stroebl et al.
    2024, arXiv 2411.17501.
    """
    wave = (1 if threshold is not None else n) if width is None else width
    judge = judge_of(program, reward, "score", version)
    return BestOfN(program, judge, positive("n", n), threshold, positive("width", wave))
