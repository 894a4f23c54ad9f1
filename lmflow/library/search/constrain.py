"""Constraints: checks of outputs, cheap ones first, and retries that say what was wrong."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.errors import ConstraintFailed, UnknownInput
from lmflow.library.search.multi_chain import told
from lmflow.library.search.samples import Attempt, Judging, Search, Tried, judge_of, outputs_of
from lmflow.programs.environment import Added
from lmflow.programs.program import Program, check_programs, take
from lmflow.values.functions import Function
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Constrain(Search):
    """A program whose outputs are checked, and asked for again; see ``constrain``."""

    checks: tuple[Function | Program, ...]
    retries: int
    hard: bool
    step: str

    @property
    def runs(self) -> int:
        """The most runs of its part, and of each check."""
        return self.retries + 1

    async def body(self, inputs: Record) -> Record:
        """The first attempt that passes, else the one that passed most checks."""
        attempts: list[Attempt] = []
        passed: list[tuple[int, Record]] = []
        problems: list[str] = []
        advice: dict[str, Added] = {}
        for k in range(self.runs):
            pending = take(Tried(self.part), inputs).under(advice)
            attempts.append(await (pending.sampled(k) if k else pending))
            if (outputs := attempts[-1].outputs) is None:
                problems.append(f"it failed ({attempts[-1].error})")
                continue
            count, problem = await self._checked(inputs, outputs)
            if not problem:
                return outputs
            passed.append((count, outputs))
            problems.append(problem)
            advice = (
                {f"{self.step}.instruction": Added(_told(outputs, problem))} if self.step else {}
            )
        found = outputs_of(attempts)
        if self.hard and found:
            raise ConstraintFailed(str(self.part), tuple(problems))
        return max(passed, key=lambda pair: pair[0])[1]

    async def _checked(self, inputs: Record, outputs: Record) -> tuple[int, str]:
        """How many checks held, and what the first that doesn't hold says."""
        for count, check in enumerate(self.checks):
            said = (
                check.call(inputs, outputs)
                if isinstance(check, Function)
                else await take(check, inputs | outputs)
            )
            if problem := _problem(check, said):
                return count, problem
        return len(self.checks), ""


def constrain(
    program: Program, *checks: Judging | Program, retries: int = 1, hard: bool = True, step: str = "",
    version: str | None = None,
) -> Constrain:  # fmt: skip
    """The program's outputs once they pass all checks, asked for again up to ``retries`` times with
    what was wrong.

    Cost: at most ``retries + 1`` runs of the program and of each check that is a program; where the
    first outputs pass, one of each. A check is a pure function ``(inputs, outputs)`` that returns
    True or None where all is well, and False or the problem in words where it isn't; or a program
    with an output ``ok: bool`` and perhaps ``problem``, whose failure is raised. Functions are
    checked before programs, each in the given order, and the first check that doesn't hold is the
    last.

    What was wrong stands below the instruction of ``step``, by default the last predictor, when it
    asks again. After the last try a hard constraint raises ``ConstraintFailed``; with
    ``hard=False`` the attempt that passed most checks is given, the earlier where they tie.

    Singhvi et al. 2023, arXiv 2312.13382 (assertions and suggestions).
    """
    if retries < 0:
        msg = f"retries must be at least 0, found {retries}"
        raise ValueError(msg)
    check_programs(program)
    steps = tuple(program.predictors)
    if step and step not in steps:
        raise UnknownInput(f"constrain({program})", step, steps)
    judges = [judge_of(program, check, "ok", version) for check in checks]
    ordered = sorted(judges, key=lambda judge: isinstance(judge, Program))
    return Constrain(program, tuple(ordered), retries, hard, step or next(reversed(steps), ""))


def _problem(check: Function | Program, said: Any) -> str:
    if isinstance(check, Program):
        return "" if said["ok"] else str(said.get("problem", "")) or f"{check} says no"
    if said is None or said is True:
        return ""
    return said if isinstance(said, str) else f"{check.name} does not hold"


def _told(outputs: Record, problem: str) -> str:
    return f"A former reply was refused. It was: {told(outputs)}\nThe problem: {problem}\nGive one without it."
