"""Beam search: states are expanded by samples and valued, and only the best are expanded again."""

from __future__ import annotations

import attrs
import toolz

from lmflow.library.checks import check_positive
from lmflow.library.search.judging import JudgeFunction, check_judge, score_outputs
from lmflow.library.search.sampling import Attempt, Sampler, Tried, successes
from lmflow.programs.effects import Fork
from lmflow.programs.program import Program, pending_of
from lmflow.values.functions import Function
from lmflow.values.record import Record, canonical


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Beam(Sampler):
    """A program fed its own outputs, level by level; see ``beam``."""

    value: Function | Program
    width: int
    depth: int
    breadth: int
    threshold: float | None

    @property
    def runs(self) -> int:
        """The most runs of its part, and of its value."""
        return self.breadth * (1 + (self.depth - 1) * self.width)

    async def search(self, inputs: Record) -> Record:
        """Return the best state of the last level that has a valued one, the earlier on a tie."""
        attempts = await self._expand(inputs, [Record()])
        beam = await self._select(inputs, attempts)
        if not beam:
            return successes(attempts)[0]
        for _ in range(self.depth - 1):
            best_value, _ = beam[0]
            if self.threshold is not None and best_value >= self.threshold:
                break
            attempts = await self._expand(inputs, [state for _, state in beam])
            beam = await self._select(inputs, attempts) or beam
        return beam[0][1]

    async def _expand(self, inputs: Record, states: list[Record]) -> tuple[Attempt, ...]:
        """Draw ``breadth`` samples of each state, side by side."""
        tried = Tried(self.part)
        repeated = (state for state in states for _ in range(self.breadth))
        pendings = [pending_of(tried, inputs | state) for state in repeated]
        branches = tuple(pending.sampled(number) for number, pending in enumerate(pendings))
        attempts: tuple[Attempt, ...] = await Fork(branches, name="sample")
        return attempts

    async def _select(
        self, inputs: Record, attempts: tuple[Attempt, ...]
    ) -> list[tuple[float, Record]]:
        """Return the ``width`` different states with the highest values, best first."""
        outputs = (attempt.outputs for attempt in attempts if attempt.outputs is not None)
        states = list(toolz.unique(outputs, key=canonical))
        valued = await score_outputs(self.value, inputs, states)
        return sorted(valued, key=lambda pair: -pair[0])[: self.width]


def beam(  # noqa: PLR0913 - each is a choice of its own
    expand: Program,
    value: JudgeFunction | Program,
    *,
    width: int = 3,
    depth: int = 3,
    breadth: int = 3,
    threshold: float | None = None,
    version: str | None = None,
) -> Beam:
    """Search for the best state by feeding ``expand`` its own outputs, ``depth`` times.

    Cost: at most ``breadth * (1 + (depth - 1) * width)`` runs of ``expand``, and of ``value`` if
    that is a program: ``breadth`` samples of the start, then of each of the ``width`` states that
    are kept. It stops when the best value reaches ``threshold``. Equal states count once. The
    samples of a level run side by side, then their values. ``depth=breadth=1`` is ``expand``.

    The outputs of ``expand`` are the state: they replace inputs of the same name, as in
    ``lf.repeat``, so a step ``question, steps: list[str] = [] -> steps: list[str]`` goes on from
    its own steps. (A predictor can't read and write one field: let a flow rename it.) States that
    fail are left out; if all of the first level do, the failure is raised.

    Args:
        expand: The program whose outputs are states.
        value: A pure function ``(inputs, outputs)`` that returns what a metric returns, or a
            program with an output ``score``.
        width: How many states a level keeps, at least 1.
        depth: The number of levels, at least 1.
        breadth: How many samples are drawn of each state, at least 1.
        threshold: The value that is enough.
        version: Identifies a function whose source doesn't.

    Returns:
        A program with the signature of ``expand``.

    Raises:
        ValueError: A size is less than 1.
        BadSignature: The valuing program has no output ``score``.
        MissingInput: The valuing program needs a field that ``expand`` neither reads nor gives.

    Yao et al. 2023, arXiv 2305.10601, section 3 (breadth-first, sampled thoughts, values).
    """
    for name, size in {"width": width, "depth": depth, "breadth": breadth}.items():
        check_positive(name, size)
    judge = check_judge(expand, value, "score", version)
    return Beam(expand, judge, width, depth, breadth, threshold)
