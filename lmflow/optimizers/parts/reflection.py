"""The material of reflection: minibatches of training examples, and reports of runs, their steps
and their verdicts for proposers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import count

from lmflow.optimizers.parts.instructions import LONGEST_TEXT
from lmflow.optimizers.parts.plan import Task
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import ScoredRollout
from lmflow.replays.steps import RecordedStep, all_steps
from lmflow.values.record import Record, pretty

RunSteps = tuple[ScoredRollout, tuple[RecordedStep, ...]]
"""A scored run with the steps that it took."""


def training_batches(task: Task, optimizer: str, size: int, seed: int) -> Iterator[list[Record]]:
    """Yield batches of ``size`` different training examples without end; the examples are shuffled
    anew each time all were used.
    """
    rows = list(task.data.train)
    size = min(size, len(rows))
    for epoch in count():
        randomness(task.version, optimizer, seed, epoch).shuffle(rows)
        whole_batches = rows + rows[: -len(rows) % size]
        yield from (whole_batches[at : at + size] for at in range(0, len(whole_batches), size))


def scored_steps(rows: Sequence[ScoredRollout]) -> list[RunSteps]:
    """Pair each row that has a value with the steps it took, failed steps with their failure."""
    return [
        (row, all_steps(row.trace, row.rollout.program)) for row in rows if row.value is not None
    ]


def report_step(runs: Sequence[RunSteps], step: str, rng: random.Random) -> str:
    """Report a step's part in each run that called it. Of several calls in one run a failed one is
    reported if there is one, else any.
    """
    reports: list[str] = []
    for row, steps in runs:
        calls = [call for call in steps if call.step == step]
        if calls:
            failures = [call for call in calls if call.failure]
            reports.append(report_call(row, rng.choice(failures or calls)))
    return "\n\n".join(f"Run {number}\n{text}" for number, text in enumerate(reports, 1))


def report_call(row: ScoredRollout, call: RecordedStep) -> str:
    """Report one call of a step in a run, and the verdict on the run: the score, the metric's
    words, the labels.
    """
    lines = [f"read: {pretty(call.inputs)}", _result_line(call), _score_line(row, call)]
    outputs = (field.name for field in row.rollout.program.signature.outputs)
    if labels := row.rollout.example.only(*outputs):
        lines.append(f"right: {pretty(labels)}")
    return "\n".join(line[:LONGEST_TEXT] for line in lines)


def _result_line(call: RecordedStep) -> str:
    if call.failure:
        return f"gave: nothing, it failed: {call.failure}"
    return f"gave: {pretty(call.outputs)}"


def _feedback(row: ScoredRollout, step: str) -> str:
    """Return the metric's words: those on the step first, then those on the whole run."""
    if row.score is None:
        return ""
    own = row.score.steps.get(step, "")
    return "; ".join(words for words in (own, row.score.feedback) if words)


def _score_line(row: ScoredRollout, call: RecordedStep) -> str:
    feedback = _feedback(row, call.step)
    if row.failure and not call.failure:
        feedback = f"the run failed later: {row.failure.text}"
    score = f"score: {row.value or 0:.2f}"
    return f"{score}, {feedback}" if feedback else score
