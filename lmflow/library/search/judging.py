"""Judges of outputs: functions or programs that score, accept or refuse them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lmflow.errors.composing import BadSignature, MissingInput
from lmflow.library.search.sampling import Tried
from lmflow.metrics.base import as_score
from lmflow.programs.effects import Fork
from lmflow.programs.program import Program, check_programs, pending_of
from lmflow.signatures.signature import first_missing
from lmflow.values.functions import Function, check_takes, function_of
from lmflow.values.record import Record

JudgeFunction = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
"""A pure function of a part's inputs and outputs."""


def check_judge(
    part: Program, judge: JudgeFunction | Program, output: str, version: str | None = None
) -> Function | Program:
    """Return a judge of a part's outputs that can be called on them.

    Args:
        part: The program whose outputs are judged.
        judge: A function ``(inputs, outputs)``, or a program that reads both by name.
        output: The output that a judging program must have.
        version: Identifies a function whose source doesn't.

    Raises:
        TypeError: The function takes other arguments.
        BadSignature: The program doesn't have the output.
        MissingInput: The program needs a field that the part neither reads nor gives.
    """
    check_programs(part)
    if not isinstance(judge, Program):
        function = function_of(judge, version)
        check_takes(function, "inputs", "outputs")
        return function
    names = [field.name for field in (*part.signature.inputs, *part.signature.outputs)]
    if missing := first_missing(judge.signature.inputs, names):
        raise MissingInput(str(judge), missing, tuple(names))
    if output not in [field.name for field in judge.signature.outputs]:
        problem = f"it judges, and has no output {output!r}"
        raise BadSignature(str(judge.signature), problem, f'Write "... -> {output}".')
    return judge


async def judge_outputs(
    judge: Function | Program, inputs: Record, candidates: Sequence[Record]
) -> list[Any]:
    """Return the judge's verdict on each candidate; ``None`` if a judging program failed.

    Judging programs run side by side.
    """
    if isinstance(judge, Function):
        return [judge.call(inputs, outputs) for outputs in candidates]
    pendings = tuple(pending_of(Tried(judge), inputs | outputs) for outputs in candidates)
    return [attempt.outputs for attempt in await Fork(pendings, name="judge")]


async def score_outputs(
    judge: Function | Program, inputs: Record, candidates: Sequence[Record]
) -> list[tuple[float, Record]]:
    """Return the candidates with their scores, in order, without those that couldn't be judged.

    Raises ``BadScore`` if a function returns what isn't a score.
    """
    verdicts = await judge_outputs(judge, inputs, candidates)
    scored = []
    for verdict, outputs in zip(verdicts, candidates, strict=True):
        if verdict is not None:
            scored.append((_score(judge, verdict), outputs))
    return scored


def best_outputs(scored: Sequence[tuple[float, Record]]) -> Record:
    """Return the outputs with the highest score, the earlier if scores are equal."""
    return max(scored, key=lambda pair: pair[0])[1]


def _score(judge: Function | Program, verdict: Any) -> float:
    if isinstance(judge, Program):
        return float(verdict["score"])
    return as_score(judge.name, verdict).value
