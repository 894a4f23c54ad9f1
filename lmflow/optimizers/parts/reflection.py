"""What is reflected on: training examples, and what a proposer is told of a run, its steps and the
verdict on it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import count

from lmflow.optimizers.parts.instructions import LONGEST
from lmflow.optimizers.parts.plan import Task, randomness
from lmflow.optimizers.parts.scoring import Scored
from lmflow.replays.steps import Taken, all_steps
from lmflow.values.record import Record, pretty


def batches(task: Task, optimizer: str, size: int, seed: int) -> Iterator[list[Record]]:
    """Training examples without end, ``size`` different ones at a time, shuffled anew each time all
    were had.
    """
    rows = list(task.data.train)
    size = min(size, len(rows))
    for epoch in count():
        randomness(task.version, optimizer, seed, epoch).shuffle(rows)
        whole = rows + rows[: -len(rows) % size]
        yield from (whole[at : at + size] for at in range(0, len(whole), size))


def steps_of(rows: Sequence[Scored]) -> list[tuple[Scored, tuple[Taken, ...]]]:
    """Each row that counts, with the steps that it took; a step that failed with its failure."""
    return [
        (row, all_steps(row.trace, row.rollout.program)) for row in rows if row.value is not None
    ]


def reports(told: Sequence[tuple[Scored, tuple[Taken, ...]]], step: str, rng: random.Random) -> str:
    """A step's part in each of the runs in which it took part. Of several calls in a run one that
    failed, else any.
    """
    found: list[str] = []
    for row, steps in told:
        own = [it for it in steps if it.step == step]
        if own:
            found.append(report(row, rng.choice([it for it in own if it.failure] or own)))
    return "\n\n".join(f"Run {k}\n{text}" for k, text in enumerate(found, 1))


def report(row: Scored, taken: Taken) -> str:
    """One call of a step in a run, and the verdict on the run: the score, the metric's words, the
    labels.
    """
    gave = (
        f"gave: nothing, it failed: {taken.failure}"
        if taken.failure
        else f"gave: {pretty(taken.outputs)}"
    )
    words = row.score.feedback if row.score else ""
    if row.failure and not taken.failure:
        words = f"the run failed later: {row.failure.text}"
    score = f"score: {row.value or 0:.2f}" + (f", {words}" if words else "")
    right = row.rollout.example.only(
        *(field.name for field in row.rollout.program.signature.outputs)
    )
    lines = [
        f"read: {pretty(taken.inputs)}",
        gave,
        score,
        *([f"right: {pretty(right)}"] if right else []),
    ]
    return "\n".join(line[:LONGEST] for line in lines)
