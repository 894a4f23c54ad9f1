"""Refinement: another attempt with advice from outside for the step that is to blame."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.library.checks import check_positive
from lmflow.library.search.judging import (
    JudgeFunction,
    best_outputs,
    check_judge,
    judge_outputs,
)
from lmflow.library.search.sampling import Attempt, Sampler, Tried, successes
from lmflow.metrics.base import as_score
from lmflow.programs.environment import AppendedText
from lmflow.programs.program import Program, pending_of
from lmflow.values.functions import Function
from lmflow.values.record import Record


@attrs.frozen
class Feedback:
    """A value of outputs, advice that would make them better, and the step to blame.

    An empty ``step`` blames all steps.
    """

    value: float
    advice: str = ""
    step: str = ""


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Refine(Sampler):
    """A program run again with advice, up to ``n`` times; see ``refine``."""

    feedback: Function | Program
    n: int
    threshold: float

    @property
    def runs(self) -> int:
        """The most runs of its part, and of its feedback."""
        return self.n

    async def search(self, inputs: Record) -> Record:
        """Return the attempt with the highest value, the earlier if values are equal."""
        attempts: list[Attempt] = []
        scored: list[tuple[float, Record]] = []
        advice: dict[str, AppendedText] = {}
        for number in range(self.n):
            attempt = await pending_of(Tried(self.part), inputs).sampled(number).under(advice)
            attempts.append(attempt)
            feedback = await self._feedback_on(inputs, attempt)
            if feedback is None:
                continue
            scored.append((feedback.value, attempt.outputs))
            if feedback.value >= self.threshold:
                break
            advice |= self._advice(feedback)
        return best_outputs(scored) if scored else successes(attempts)[0]

    async def _feedback_on(self, inputs: Record, attempt: Attempt) -> Feedback | None:
        if attempt.outputs is None:
            return None
        (verdict,) = await judge_outputs(self.feedback, inputs, [attempt.outputs])
        return None if verdict is None else _feedback_in(self.feedback, verdict)

    def _advice(self, feedback: Feedback) -> dict[str, AppendedText]:
        """Return the advice as texts below the instructions of the steps to blame."""
        if not feedback.advice:
            return {}
        steps = self.part.predictors
        blamed = [feedback.step] if feedback.step in steps else steps
        text = AppendedText(f"Advice: {feedback.advice}")
        return {f"{step}.instruction": text for step in blamed}


def refine(
    program: Program,
    feedback: JudgeFunction | Program,
    *,
    n: int = 3,
    threshold: float = 1.0,
    version: str | None = None,
) -> Refine:
    """Run a program up to ``n`` times, each time with the advice that feedback gave before.

    Cost: at most ``n`` runs of the program, and of ``feedback`` if that is a program. It stops when
    a value reaches ``threshold``. ``n=1`` is the program itself.

    Advice stands below the instruction of the step to blame until newer advice replaces it; if the
    program has no predictor of that name, below that of each predictor. The best attempt is
    returned, the earlier if values are equal. Attempts that fail are left out; if all do, the first
    failure is raised.

    Args:
        program: The program to run.
        feedback: A pure function ``(inputs, outputs)`` that returns
            ``Feedback(value, advice, step)`` or what a metric returns (``Score(value, feedback)``),
            or a program with an output ``score`` and perhaps ``feedback`` and ``step``.
        n: The most attempts, at least 1.
        threshold: The value that is enough.
        version: Identifies a function whose source doesn't.

    Returns:
        A program with the signature of ``program``.

    Raises:
        ValueError: ``n`` is less than 1.
        BadSignature: The feedback program has no output ``score``.
        MissingInput: The feedback program needs a field that ``program`` neither reads nor gives.

    Without feedback from outside, models make their answers worse (Huang et al. 2023, arXiv
    2310.01798). Feedback to text: Madaan et al. 2023, arXiv 2303.17651, section 2.
    """
    judge = check_judge(program, feedback, "score", version)
    return Refine(program, judge, check_positive("n", n), threshold)


def _feedback_in(judge: Function | Program, verdict: Any) -> Feedback:
    if isinstance(verdict, Feedback):
        return verdict
    if isinstance(judge, Program):
        advice, step = verdict.get("feedback", ""), verdict.get("step", "")
        return Feedback(float(verdict["score"]), str(advice), str(step))
    score = as_score(judge.name, verdict)
    return Feedback(score.value, score.feedback)
