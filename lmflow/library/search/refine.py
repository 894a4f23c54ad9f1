"""Refinement: again, with advice from outside to the step that is blamed."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.library.search.samples import (
    Attempt,
    Judging,
    Search,
    Tried,
    judge_of,
    judged,
    outputs_of,
    positive,
)
from lmflow.metrics import as_score
from lmflow.programs.environment import Added
from lmflow.programs.program import Program, take
from lmflow.values.functions import Function
from lmflow.values.record import Record


@attrs.frozen
class Feedback:
    """How good outputs are, what would make them better, and which step is to blame (empty: all of
    them).
    """

    value: float
    advice: str = ""
    step: str = ""


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Refine(Search):
    """A program run again with advice, up to ``n`` times; see ``refine``."""

    feedback: Function | Program
    n: int
    threshold: float

    @property
    def runs(self) -> int:
        """The most runs of its part, and of its feedback."""
        return self.n

    async def body(self, inputs: Record) -> Record:
        """The attempt with the highest value; the earlier where they tie."""
        if self.n == 1:
            plain: Record = await take(self.part, inputs)
            return plain
        attempts: list[Attempt] = []
        valued: list[tuple[float, Record]] = []
        advice: dict[str, Added] = {}
        for k in range(self.n):
            attempt = await take(Tried(self.part), inputs).sampled(k).under(advice)
            attempts.append(attempt)
            if (
                attempt.outputs is None
                or (said := await self._heard(inputs, attempt.outputs)) is None
            ):
                continue
            valued.append((said.value, attempt.outputs))
            if said.value >= self.threshold:
                break
            advice |= self._advice(said)
        return max(valued, key=lambda pair: pair[0])[1] if valued else outputs_of(attempts)[0]

    async def _heard(self, inputs: Record, outputs: Record) -> Feedback | None:
        (said,) = await judged(self.feedback, inputs, [outputs])
        return None if said is None else _feedback(self.feedback, said)

    def _advice(self, said: Feedback) -> dict[str, Added]:
        steps = self.part.predictors
        blamed = [said.step] if said.step in steps else steps
        return {
            f"{step}.instruction": Added(f"Advice: {said.advice}") for step in blamed if said.advice
        }


def refine(
    program: Program,
    feedback: Judging | Program,
    *,
    n: int = 3,
    threshold: float = 1.0,
    version: str | None = None,
) -> Refine:
    """The best of up to ``n`` attempts, each with the advice that feedback from outside gave on
    those before.

    Cost: at most ``n`` runs of the program, and of ``feedback`` where that is a program; it stops
    when a value reaches ``threshold``. ``feedback`` is a pure function ``(inputs, outputs)`` that
    returns ``Feedback(value, advice, step)`` or what a metric returns (``Score(value, feedback)``),
    or a program with an output ``score`` and perhaps ``feedback`` and ``step``.

    Advice stands below the instruction of the step that is blamed, by its name, until newer advice
    replaces it; where no predictor of that name is in the program, below that of each predictor.
    The best attempt is kept, the earlier where they tie. Attempts that fail are left out. ``n=1``
    is the program itself.

    Without feedback from outside, models make their answers worse (Huang et al. 2023, arXiv
    2310.01798). Feedback to text: Madaan et al. 2023, arXiv 2303.17651, section 2.
    """
    return Refine(
        program, judge_of(program, feedback, "score", version), positive("n", n), threshold
    )


def _feedback(judge: Function | Program, said: Any) -> Feedback:
    if isinstance(said, Feedback):
        return said
    if isinstance(judge, Program):
        return Feedback(
            float(said["score"]), str(said.get("feedback", "")), str(said.get("step", ""))
        )
    score = as_score(judge.name, said)
    return Feedback(score.value, score.feedback)
