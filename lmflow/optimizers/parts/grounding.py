"""Grounded proposals: instructions written from what is known of the data, the program, the step
and its good runs.

Opsahl-Ong et al. 2024, arXiv 2406.11695, section 3.1, as DSPy's MIPROv2 asks for them.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence

import attrs

from lmflow.library.proposers import TIPS, describer, grounder, observer, summarizer
from lmflow.optimizers.parts.demos import DemoSet
from lmflow.optimizers.parts.instructions import (
    Proposal,
    Proposers,
    instruction,
    proposal_of,
    shown,
)
from lmflow.optimizers.parts.plan import Need, PlannedRollout, Task, need_rollouts
from lmflow.optimizers.parts.scoring import Best
from lmflow.programs.diagrams import diagram
from lmflow.programs.program import Predict
from lmflow.traces.trace import Trace
from lmflow.values.record import Record

_BATCH, _BATCHES, _ENOUGH, _SHOWN = 10, 10, 5, 3


@attrs.frozen
class Grounded:
    """How proposals are grounded: who writes, and at which temperature."""

    ask: Proposers
    temperature: float = 1.0


def grounded(
    task: Task, sets: Sequence[DemoSet], count: int, how: Grounded, rng: random.Random
) -> Generator[Need, tuple[Trace, ...], dict[str, list[Proposal]]]:
    """Per step ``count`` instructions, the present one first. The k-th is grounded in the k-th set
    of demonstrations, from the first on again where there are fewer.

    Asks for ``2 + min(9, ceil(train / 10) - 1)`` proposals for the data and three for each
    instruction.
    """
    best, steps = Best(task.version), task.program.predictors
    data = yield from _summary(task, how, best)
    picture = str(diagram(task.program))
    jobs = [
        (name, leaf, sets[k % len(sets)], rng.choice(list(TIPS.values())))
        for name, leaf in steps.items()
        for k in range(count)
    ]
    drawn = describer()
    programs = yield from _said(
        [how.ask.asked(drawn, {"program": picture}) for _ in jobs], "describe/program", best
    )
    purposes = yield from _said(
        [
            how.ask.asked(drawn, {"program": picture, "step": name, "examples": _examples(demos, name)})
            for name, _, demos, _ in jobs
        ],
        "describe/step", best,
    )  # fmt: skip
    asked = [
        how.ask.asked(
            grounder(temperature=how.temperature),
            {
                "data": data, "program": program, "purpose": purpose, "step": f"{name}: {leaf.signature}",
                "examples": _examples(demos, name), "tip": tip,
                "present": instruction(task.program, task.version, name),
            },
            sample,
        )
        for sample, (job, program, purpose) in enumerate(zip(jobs, programs, purposes, strict=True))
        for name, leaf, demos, tip in [job]
    ]  # fmt: skip
    traces = yield need_rollouts("propose", asked, best.version, phase="propose")
    return {name: list(_pool(task, name, jobs, asked, traces)) for name in steps}


def _pool(
    task: Task, name: str, jobs: Sequence[tuple[str, Predict, DemoSet, str]], asked: Sequence[PlannedRollout],
    traces: Sequence[Trace],
) -> Generator[Proposal, None, None]:  # fmt: skip
    """The step's instructions; the first is the present one, as is one whose proposal failed."""
    own = Proposal(instruction(task.program, task.version, name))
    mine = [
        (rollout, trace)
        for job, rollout, trace in zip(jobs, asked, traces, strict=True)
        if job[0] == name
    ]
    for at, (rollout, trace) in enumerate(mine):
        yield own if at == 0 else proposal_of(rollout, trace) or own


def _summary(task: Task, how: Grounded, best: Best) -> Generator[Need, tuple[Trace, ...], str]:
    """What the training data is like, noted batch by batch until there is nothing to add, in two or
    three sentences.
    """
    noted, complete = "", 0
    write = observer()
    for turn, rows in enumerate(list(_batches(task.data.train, _BATCH))[:_BATCHES]):
        inputs = {"examples": shown(rows), **({"noted": noted} if noted else {})}
        (said,) = yield from _said([how.ask.asked(write, inputs)], f"observe[{turn}]", best)
        complete += said.strip().upper().startswith("COMPLETE")
        noted = noted if said.strip().upper().startswith("COMPLETE") else f"{noted}\n{said}".strip()
        if complete >= _ENOUGH:
            break
    (summary,) = yield from _said(
        [how.ask.asked(summarizer(), {"observations": noted})], "summarize", best
    )
    return summary


def _said(
    rollouts: Sequence[PlannedRollout], label: str, best: Best
) -> Generator[Need, tuple[Trace, ...], list[str]]:
    """What proposers answered, in order; nothing where one failed."""
    traces = yield need_rollouts(label, rollouts, best.version, phase="propose")
    return [str(next(iter(trace.outputs.values()))) if trace.outputs else "" for trace in traces]


def _examples(demos: DemoSet, step: str) -> list[str]:
    return shown(demo.record for demo in demos.get(step, ())[:_SHOWN])


def _batches(rows: Sequence[Record], size: int) -> Generator[Sequence[Record], None, None]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
