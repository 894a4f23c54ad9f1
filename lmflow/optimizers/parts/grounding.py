"""Grounded proposals: instructions written from a summary of the data, the program, the step's
purpose and its good runs.

Opsahl-Ong et al. 2024, arXiv 2406.11695, section 3.1, with the prompts of DSPy's MIPROv2.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Generator, Sequence

import attrs

from lmflow.data.dataset import Data
from lmflow.library.proposers import TIPS, describer, grounder, observer, summarizer
from lmflow.optimizers.parts.demos import DemoSet
from lmflow.optimizers.parts.instructions import (
    Proposal,
    Proposers,
    describe_examples,
    instruction_of,
    proposal_of,
)
from lmflow.optimizers.parts.needs import Need, PlannedRollout, need_rollouts
from lmflow.optimizers.parts.plan import Task
from lmflow.optimizers.parts.scoring import Best
from lmflow.programs.diagrams import diagram
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.values.batches import batches

_BATCH_SIZE = 10  # training examples that one note is made from
_BATCHES = 10  # the most notes on the data
_ENOUGH = 5  # notes that add nothing until the data counts as described
_EXAMPLES_SHOWN = 3  # demonstrations that a proposer is shown


@attrs.frozen
class Grounding:
    """The settings of grounded proposals: those of the proposers, and the temperature."""

    proposers: Proposers
    temperature: float = 1.0


@attrs.frozen
class _Assignment:
    """An instruction to be written: the step, the demonstrations shown, and the tip."""

    step: str
    signature: str
    instruction: str
    examples: list[str]
    tip: str


def propose_grounded(
    task: Task, sets: Sequence[DemoSet], count: int, grounding: Grounding, rng: random.Random
) -> Generator[Need, tuple[Trace, ...], dict[str, list[Proposal]]]:
    """Return ``count`` instructions for each step, the present one first.

    The k-th instruction is grounded in the k-th set of demonstrations, starting over if there are
    fewer sets. ``grounded_proposals`` counts the proposers' runs that this needs.
    """
    best, settings = Best(task.version), grounding.proposers
    data = yield from _summarize_data(task, settings, best)
    picture = str(diagram(task.program))
    assignments = _assignments(task, sets, count, rng)
    describe = describer()
    programs = yield from _answers(
        [settings.rollout(describe, {"program": picture}) for _ in assignments],
        "describe/program",
        best,
    )
    purposes = yield from _answers(
        [settings.rollout(describe, _purpose_inputs(picture, job)) for job in assignments],
        "describe/step",
        best,
    )
    write = grounder(temperature=grounding.temperature)
    rollouts = [
        settings.rollout(write, _writer_inputs(data, program, purpose, assignment), sample)
        for sample, (assignment, program, purpose) in enumerate(
            zip(assignments, programs, purposes, strict=True)
        )
    ]
    traces = yield need_rollouts("propose", rollouts, best.version, phase="propose")
    return _pools(task, assignments, rollouts, traces)


def grounded_proposals(program: Program, data: Data, count: int) -> int:
    """Return the most proposers' runs that ``propose_grounded`` needs: a note for each of at most
    ten batches of ten training examples, their summary, and three runs for each instruction.
    """
    notes = min(_BATCHES, math.ceil(len(data.train) / _BATCH_SIZE))
    return notes + 1 + 3 * len(program.predictors) * count


def _assignments(
    task: Task, sets: Sequence[DemoSet], count: int, rng: random.Random
) -> list[_Assignment]:
    assignments = []
    for name, step in task.program.predictors.items():
        instruction = instruction_of(task.program, task.version, name)
        for k in range(count):
            demos = sets[k % len(sets)].get(name, ())[:_EXAMPLES_SHOWN]
            examples = describe_examples(demo.record for demo in demos)
            tip = rng.choice(list(TIPS.values()))
            assignments.append(_Assignment(name, str(step.signature), instruction, examples, tip))
    return assignments


def _purpose_inputs(picture: str, assignment: _Assignment) -> dict[str, object]:
    return {"program": picture, "step": assignment.step, "examples": assignment.examples}


def _writer_inputs(
    data: str, program: str, purpose: str, assignment: _Assignment
) -> dict[str, object]:
    return {
        "data": data,
        "program": program,
        "purpose": purpose,
        "step": f"{assignment.step}: {assignment.signature}",
        "examples": assignment.examples,
        "tip": assignment.tip,
        "present": assignment.instruction,
    }


def _pools(
    task: Task,
    assignments: Sequence[_Assignment],
    rollouts: Sequence[PlannedRollout],
    traces: Sequence[Trace],
) -> dict[str, list[Proposal]]:
    """Collect each step's instructions. The present instruction takes the first place, and the
    place of each proposal that failed.
    """
    pools: dict[str, list[Proposal]] = {step: [] for step in task.program.predictors}
    for assignment, rollout, trace in zip(assignments, rollouts, traces, strict=True):
        pool, present = pools[assignment.step], Proposal(assignment.instruction)
        pool.append((proposal_of(rollout, trace) or present) if pool else present)
    return pools


def _summarize_data(
    task: Task, settings: Proposers, best: Best
) -> Generator[Need, tuple[Trace, ...], str]:
    """Have the training data noted batch by batch until there is nothing to add, and the notes
    summed up in two or three sentences.
    """
    notes, complete = "", 0
    observe = observer()
    shown = itertools.islice(batches(task.data.train, _BATCH_SIZE), _BATCHES)
    for turn, rows in enumerate(shown):
        inputs: dict[str, object] = {"examples": describe_examples(rows)}
        if notes:
            inputs["noted"] = notes
        rollouts = [settings.rollout(observe, inputs)]
        (observation,) = yield from _answers(rollouts, f"observe[{turn}]", best)
        if observation.strip().upper().startswith("COMPLETE"):
            complete += 1
        else:
            notes = f"{notes}\n{observation}".strip()
        if complete >= _ENOUGH:
            break
    rollouts = [settings.rollout(summarizer(), {"observations": notes})]
    (summary,) = yield from _answers(rollouts, "summarize", best)
    return summary


def _answers(
    rollouts: Sequence[PlannedRollout], label: str, best: Best
) -> Generator[Need, tuple[Trace, ...], list[str]]:
    """Run proposers; return their texts in order, an empty text for each that failed."""
    traces = yield need_rollouts(label, rollouts, best.version, phase="propose")
    return [_first_output(trace) for trace in traces]


def _first_output(trace: Trace) -> str:
    return str(next(iter(trace.outputs.values()))) if trace.outputs else ""
