"""Constraints: checks of outputs, and retries that tell the model what was wrong."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.errors.calling import ConstraintFailed
from lmflow.errors.composing import UnknownInput
from lmflow.library.checks import check_not_negative
from lmflow.library.search.judging import JudgeFunction, check_judge
from lmflow.library.search.multi_chain import outputs_text
from lmflow.library.search.sampling import Attempt, Search, Tried, successes
from lmflow.programs.environment import AppendedText
from lmflow.programs.program import Program, check_programs, pending_of
from lmflow.values.functions import Function
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Constrain(Search):
    """A program whose outputs are checked and, if refused, asked for again; see ``constrain``."""

    checks: tuple[Function | Program, ...]
    retries: int
    hard: bool
    step: str

    @property
    def runs(self) -> int:
        """The most runs of its part, and of each check."""
        return self.retries + 1

    async def body(self, inputs: Record) -> Record:
        """Return the first attempt that passes, else the one that passed most checks."""
        attempts: list[Attempt] = []
        refused: list[tuple[int, Record]] = []
        problems: list[str] = []
        advice: dict[str, AppendedText] = {}
        for number in range(self.runs):
            # The first attempt is no sample: a program that passes at once has the calls, and so
            # the recordings, that it has without constraints.
            pending = pending_of(Tried(self.part), inputs).under(advice)
            attempt = await (pending.sampled(number) if number else pending)
            attempts.append(attempt)
            if attempt.outputs is None:
                problems.append(f"it failed ({attempt.error})")
                continue
            passed, problem = await self._check(inputs, attempt.outputs)
            if not problem:
                outputs: Record = attempt.outputs
                return outputs
            refused.append((passed, attempt.outputs))
            problems.append(problem)
            advice = self._advice(attempt.outputs, problem)
        _ = successes(attempts)  # raises the first failure if every attempt failed
        if self.hard:
            raise ConstraintFailed(str(self.part), tuple(problems))
        return max(refused, key=lambda pair: pair[0])[1]

    async def _check(self, inputs: Record, outputs: Record) -> tuple[int, str]:
        """Return how many checks passed and the problem of the first that didn't, if one didn't."""
        for passed, check in enumerate(self.checks):
            if isinstance(check, Function):
                verdict = check.call(inputs, outputs)
            else:
                verdict = await pending_of(check, inputs | outputs)
            if problem := _problem(check, verdict):
                return passed, problem
        return len(self.checks), ""

    def _advice(self, outputs: Record, problem: str) -> dict[str, AppendedText]:
        if not self.step:
            return {}
        text = (
            f"A former reply was refused. It was: {outputs_text(outputs)}\n"
            f"The problem: {problem}\nGive one without it."
        )
        return {f"{self.step}.instruction": AppendedText(text)}


def constrain(
    program: Program,
    *checks: JudgeFunction | Program,
    retries: int = 1,
    hard: bool = True,
    step: str = "",
    version: str | None = None,
) -> Constrain:
    """Check a program's outputs, and run it again up to ``retries`` times if a check refuses them.

    Cost: at most ``retries + 1`` runs of the program and of each check that is a program; one of
    each if the first outputs pass. Functions are checked before programs, each in the given order,
    and the first check that refuses is the last.

    The problem stands below the instruction of ``step`` in the next attempt.

    Args:
        program: The program whose outputs are checked.
        checks: Pure functions ``(inputs, outputs)`` that return True or None if all is well, and
            False or the problem in words if it isn't; or programs with an output ``ok: bool`` and
            perhaps ``problem``, whose failure is raised.
        retries: The most further attempts, at least 0.
        hard: Whether to raise if no attempt passes; otherwise the attempt that passed most checks
            is returned, the earlier on a tie.
        step: The predictor that is told the problem, by default the last one.
        version: Identifies functions whose source doesn't.

    Returns:
        A program with the signature of ``program``. Running it raises ``ConstraintFailed`` if it is
        ``hard`` and no attempt passes.

    Raises:
        ValueError: ``retries`` is negative.
        UnknownInput: ``program`` has no predictor ``step``.
        BadSignature: A checking program has no output ``ok``.
        MissingInput: A checking program needs a field that ``program`` neither reads nor gives.

    Singhvi et al. 2023, arXiv 2312.13382 (assertions and suggestions).
    """
    check_not_negative("retries", retries)
    check_programs(program)
    steps = tuple(program.predictors)
    if step and step not in steps:
        raise UnknownInput(f"constrain({program})", step, steps)
    judges = [check_judge(program, check, "ok", version) for check in checks]
    ordered = sorted(judges, key=lambda judge: isinstance(judge, Program))
    return Constrain(program, tuple(ordered), retries, hard, step or next(reversed(steps), ""))


def _problem(check: Function | Program, verdict: Any) -> str:
    if isinstance(check, Program):
        if verdict["ok"]:
            return ""
        return str(verdict.get("problem", "")) or f"{check} says no"
    if verdict is None or verdict is True:
        return ""
    return verdict if isinstance(verdict, str) else f"{check.name} does not hold"
