"""Beam search: states expanded by samples, valued, and only the best kept."""

from __future__ import annotations

import attrs
import toolz

from lmflow.library.search.samples import (
    Attempt,
    Judging,
    Search,
    Tried,
    judge_of,
    judged,
    outputs_of,
    positive,
    score_in,
)
from lmflow.programs.effects import Fork
from lmflow.programs.program import Program, take
from lmflow.values.functions import Function
from lmflow.values.record import Record, canonical


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Beam(Search):
    """A program that is fed its own outputs, ``breadth`` samples of each of ``width`` states; see
    ``beam``.
    """

    value: Function | Program
    width: int
    depth: int
    breadth: int
    threshold: float | None

    @property
    def runs(self) -> int:
        """The most runs of its part, and of its value."""
        return self.breadth * (1 + (self.depth - 1) * self.width)

    async def body(self, inputs: Record) -> Record:
        """The outputs of the best state of the last level that has one; the earlier where they tie."""
        if self.runs == 1:
            plain: Record = await take(self.part, inputs)
            return plain
        attempts = await self._expanded(inputs, [Record()])
        beam = await self._best(inputs, attempts)
        if not beam:
            return outputs_of(attempts)[0]
        for _ in range(self.depth - 1):
            if self.threshold is not None and beam[0][0] >= self.threshold:
                break
            attempts = await self._expanded(inputs, [state for _, state in beam])
            beam = await self._best(inputs, attempts) or beam
        return beam[0][1]

    async def _expanded(self, inputs: Record, states: list[Record]) -> tuple[Attempt, ...]:
        tried = Tried(self.part)
        pendings = [take(tried, inputs | state) for state in states for _ in range(self.breadth)]
        branches = tuple(pending.sampled(k) for k, pending in enumerate(pendings))
        attempts: tuple[Attempt, ...] = await Fork(branches, name="sample")
        return attempts

    async def _best(
        self, inputs: Record, attempts: tuple[Attempt, ...]
    ) -> list[tuple[float, Record]]:
        found = (it.outputs for it in attempts if it.outputs is not None)
        states = list(toolz.unique(found, key=canonical))
        said = [score_in(self.value, word) for word in await judged(self.value, inputs, states)]
        valued = [
            (value, state) for value, state in zip(said, states, strict=True) if value is not None
        ]
        return sorted(valued, key=lambda pair: -pair[0])[: self.width]


def beam(  # noqa: PLR0913 - each is a choice of its own
    expand: Program,
    value: Judging | Program,
    *,
    width: int = 3,
    depth: int = 3,
    breadth: int = 3,
    threshold: float | None = None,
    version: str | None = None,
) -> Beam:
    """The best state that beam search finds: ``expand`` is fed its own outputs, ``depth`` times.

    Cost: at most ``breadth * (1 + (depth - 1) * width)`` runs of ``expand``, and of ``value`` where
    that is a program: ``breadth`` samples of the start, then of each of the ``width`` states that
    are kept. It stops when the best value reaches ``threshold``. Equal states are one. One level's
    samples run side by side, then its values.

    The outputs of ``expand`` are the state: they replace inputs of the same name, as in
    ``lf.repeat``, so a step ``question, steps: list[str] = [] -> steps: list[str]`` goes on from
    its own steps. (A predictor can't read and write one field: let a flow rename it.) ``value`` is
    a pure function ``(inputs, outputs)`` that returns what a metric returns, or a program with an
    output ``score``. States that fail are left out; where all of the first do, the failure is
    raised. ``depth=breadth=1`` is ``expand`` itself.

    Yao et al. 2023, arXiv 2305.10601, section 3 (breadth-first, sampled thoughts, values).
    """
    sizes = {"width": width, "depth": depth, "breadth": breadth}
    for name, size in sizes.items():
        positive(name, size)
    return Beam(expand, judge_of(expand, value, "score", version), width, depth, breadth, threshold)
