"""Instructions that a model writes from the task and its data, or from runs with verdicts."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping, Sequence

import attrs

from lmflow.data.dataset import example_id
from lmflow.library.proposers import TIPS, grounder, observer, reflector
from lmflow.optimizers.auto.arms import DEMOS, INSTRUCTION, REFLECTION, Arm, Choice
from lmflow.optimizers.auto.material import open_arm
from lmflow.optimizers.auto.search import Search
from lmflow.optimizers.parts.demos import labelled_demos
from lmflow.optimizers.parts.instructions import (
    Proposal,
    Proposers,
    describe_examples,
    describe_task,
    instruction_of,
    proposal_of,
)
from lmflow.optimizers.parts.needs import Need, PlannedRollout, need_rollouts
from lmflow.optimizers.parts.reflection import report_step, scored_steps
from lmflow.optimizers.parts.scoring import ScoredRollout
from lmflow.programs.diagrams import diagram
from lmflow.traces.trace import Trace

_NOTED = 10  # training examples that the note on the data is made from
_SHOWN = 3  # examples of a step that its proposer is shown


@attrs.define(eq=False)
class Writer:
    """The proposers of a search: their settings, the note on the data, and the number of runs."""

    settings: Proposers
    temperature: float
    note: str | None = None
    turn: int = 0

    def next_turn(self) -> int:
        """Count one more run of a proposer; return its number."""
        self.turn += 1
        return self.turn - 1


@attrs.frozen
class Blamed:
    """A step whose parameters are rewritten, and the runs to learn from."""

    step: str
    rows: Sequence[ScoredRollout]


def propose_arms(
    search: Search, writer: Writer, coordinates: Sequence[int], label: str
) -> Generator[Need, tuple[Trace, ...], list[int | None]]:
    """Have an instruction written for each coordinate, side by side; return the positions of the
    new arms, ``None`` where nothing new was written.

    Opsahl-Ong et al. 2024, arXiv 2406.11695, section 3.1, with one note on the data instead of a
    summary of many, and without descriptions of program and step: they cost two calls a proposal.
    """
    if writer.note is None:
        writer.note = yield from _note_data(search, writer)
    rollouts = [_assignment(search, writer, at) for at in coordinates]
    traces = yield need_proposals(search, label, rollouts)
    positions: list[int | None] = []
    for at, rollout, trace in zip(coordinates, rollouts, traces, strict=True):
        proposal = proposal_of(rollout, trace)
        step = search.arms.coordinates[at].step
        arm = proposal and _instruction_arm(step, proposal, "a proposed instruction")
        positions.append(open_arm(search, at, arm) if arm else None)
    return positions


def reflect(
    search: Search, writer: Writer, choice: Choice, blamed: Blamed, label: str
) -> Generator[Need, tuple[Trace, ...], Choice | None]:
    """Have the instruction of the step that is to blame rewritten from runs of a choice; return
    the choice with the new arm, ``None`` if nothing new was written.

    Agrawal et al. 2025, arXiv 2507.19457, section 3.2.
    """
    step, rows = blamed.step, blamed.rows
    at = search.arms.at(step, INSTRUCTION)
    version = search.arms.version(choice)
    inputs = {
        "task": describe_task(search.task.program.predictors[step]),
        "present": instruction_of(search.task.program, version, step),
        "runs": report_step(scored_steps(rows), step, search.rng),
    }
    rollout = writer.settings.rollout(reflector(), inputs, writer.next_turn())
    (trace,) = yield need_proposals(search, label, [rollout])
    proposal = proposal_of(rollout, trace)
    if proposal is None:
        return None
    parent = search.arms.coordinates[at].arms[choice[at]]
    arm = attrs.evolve(
        _instruction_arm(step, proposal, "an instruction rewritten from its runs"),
        hidden=parent.hidden | read_examples(rows),
    )
    position = open_arm(search, at, arm, REFLECTION, parent.weights)
    return None if position is None else (*choice[:at], position, *choice[at + 1 :])


def read_examples(rows: Sequence[ScoredRollout]) -> frozenset[str]:
    """Return the examples of the runs that a proposer reads."""
    return frozenset(example_id(row.rollout.example) for row in rows)


def blamed_step(search: Search, choice: Choice, rows: Sequence[ScoredRollout]) -> str:
    """Return the step to rewrite: one that failed or that the metric names; else the one for which
    a draw of the model promises most.
    """
    steps = list(search.task.program.predictors)
    blame = _blame(rows, steps)
    if any(blame.values()):
        return max(steps, key=lambda step: blame[step])
    effects = search.fitted.posterior().draw(search.rng)

    def headroom(step: str) -> float:
        at = search.arms.at(step, INSTRUCTION)
        values = [
            sum(effects[column] * weight for column, weight in arm.weights.items())
            for arm in search.arms.coordinates[at].arms
        ]
        return max(values) - values[choice[at]] + 1e-9 * search.rng.random()

    return max(steps, key=headroom)


def _blame(rows: Sequence[ScoredRollout], steps: Sequence[str]) -> Mapping[str, int]:
    blame = dict.fromkeys(steps, 0)
    for row, calls in scored_steps([row for row in rows if (row.value or 0.0) < 1.0]):
        named = row.score.steps if row.score else {}
        failed = {call.step for call in calls if call.failure}
        for step in {*named, *failed} & blame.keys():
            blame[step] += 1
    return blame


def _note_data(search: Search, writer: Writer) -> Generator[Need, tuple[Trace, ...], str]:
    """Have some training examples described once."""
    rows = list(search.task.data.train)[:_NOTED]
    if not rows:
        return ""
    inputs = {"examples": describe_examples(rows)}
    (trace,) = yield need_proposals(
        search, "observe", [writer.settings.rollout(observer(), inputs)]
    )
    return str(next(iter(trace.outputs.values()))) if trace.outputs else ""


def _assignment(search: Search, writer: Writer, at: int) -> PlannedRollout:
    task, step = search.task, search.arms.coordinates[at].step
    predictor = task.program.predictors[step]
    inputs = {
        "data": writer.note or "",
        "program": str(diagram(task.program)),
        "purpose": "",
        "step": f"{step}: {predictor.signature}",
        "examples": _examples(search, step, search.rng),
        "tip": search.rng.choice(list(TIPS.values())),
        "present": instruction_of(task.program, task.version, step),
    }
    proposer = grounder(temperature=writer.temperature)
    return writer.settings.rollout(proposer, inputs, writer.next_turn())


def _examples(search: Search, step: str, rng: random.Random) -> list[str]:
    """Describe some demonstrations of a step that are among its arms, else labelled ones."""
    arms = search.arms.coordinates[search.arms.at(step, DEMOS)].arms
    shown = [demo for arm in arms for demos in arm.changes.values() for demo in demos]
    if not shown:
        labelled = labelled_demos(search.task.program, search.task.data.train)
        shown = [demo.record for demo in labelled[step]]
    return describe_examples(rng.sample(shown, min(_SHOWN, len(shown))))


def _instruction_arm(step: str, proposal: Proposal, note: str) -> Arm:
    path = f"{step}.instruction"
    origin = {path: {"proposal": proposal.rollout, "key": proposal.key}}
    return Arm({path: proposal.text}, origin, note=note)


def need_proposals(search: Search, label: str, rollouts: Sequence[PlannedRollout]) -> Need:
    """Return the need of runs of proposers."""
    return need_rollouts(label, rollouts, search.task.version, phase="propose")
