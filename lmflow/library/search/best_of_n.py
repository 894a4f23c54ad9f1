"""Best of n: several samples, of which the one with the highest reward is returned."""

from __future__ import annotations

import attrs

from lmflow.library.checks import check_positive
from lmflow.library.search.judging import (
    JudgeFunction,
    best_outputs,
    check_judge,
    score_outputs,
)
from lmflow.library.search.sampling import Attempt, Sampler, draw_samples, successes
from lmflow.programs.program import Program
from lmflow.values.functions import Function
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class BestOfN(Sampler):
    """A program sampled up to ``n`` times, ``width`` at once; see ``best_of_n``."""

    reward: Function | Program
    n: int
    threshold: float | None
    width: int

    @property
    def runs(self) -> int:
        """The most runs of its part, and of its reward."""
        return self.n

    async def search(self, inputs: Record) -> Record:
        """Return the sample with the highest reward, the earlier if rewards are equal."""
        attempts: list[Attempt] = []
        scored: list[tuple[float, Record]] = []
        while len(attempts) < self.n and not self._is_reached(scored):
            stop = min(self.n, len(attempts) + self.width)
            wave = await draw_samples(self.part, inputs, len(attempts), stop)
            attempts += wave
            outputs = [attempt.outputs for attempt in wave if attempt.outputs is not None]
            scored += await score_outputs(self.reward, inputs, outputs)
        return best_outputs(scored) if scored else successes(attempts)[0]

    def _is_reached(self, scored: list[tuple[float, Record]]) -> bool:
        return self.threshold is not None and any(score >= self.threshold for score, _ in scored)


def best_of_n(  # noqa: PLR0913 - each is a choice of its own
    program: Program,
    reward: JudgeFunction | Program,
    *,
    n: int,
    threshold: float | None = None,
    width: int | None = None,
    version: str | None = None,
) -> BestOfN:
    """Sample a program up to ``n`` times and return the outputs with the highest reward.

    Cost: at most ``n`` runs of the program, and of ``reward`` if that is a program. With a
    ``threshold`` it stops after the first wave in which a sample reaches it: after
    ``(1 - (1 - p)**n) / p`` runs on average if a sample does with probability ``p``. Without one
    all samples are drawn side by side. ``n=1`` is the program itself. Sampling needs a temperature
    above 0.

    A sample is left out if it fails or its judging does. If all are, the first failure is raised,
    or the first sample that couldn't be judged is returned. The earlier sample wins a tie.

    Args:
        program: The program to sample.
        reward: A pure function ``(inputs, outputs)`` that returns what a metric returns, or a
            program with an output ``score`` that reads inputs and outputs by name.
        n: The most samples, at least 1.
        threshold: The reward that is enough.
        width: How many samples are drawn at once; by default 1 with a threshold, else ``n``.
        version: Identifies a function whose source doesn't.

    Returns:
        A program with the signature of ``program``.

    Raises:
        ValueError: ``n`` or ``width`` is less than 1.
        BadSignature: The rewarding program has no output ``score``.
        MissingInput: The rewarding program needs a field that ``program`` neither reads nor gives.

    Best-of-n: Nakano et al. 2021, arXiv 2112.09332; how imperfect rewards cap it: Stroebl et al.
    2024, arXiv 2411.17501.
    """
    if width is None:
        width = n if threshold is None else 1
    judge = check_judge(program, reward, "score", version)
    return BestOfN(
        program, judge, check_positive("n", n), threshold, check_positive("width", width)
    )
