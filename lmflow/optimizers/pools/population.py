"""A population of versions that learns from runs of one example that went better or worse
(SIMBA).
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Generator, Mapping, Sequence

import attrs

from lmflow.data.dataset import example_id
from lmflow.optimizers.parts.bootstrap import adapt_version, hot_options, success_of
from lmflow.optimizers.parts.contrast import (
    ExampleRuns,
    first_difference,
    make_buckets,
    outer_scores,
)
from lmflow.optimizers.parts.demos import Demo, DemoSet
from lmflow.optimizers.parts.instructions import (
    Proposal,
    Proposers,
    assemble,
    describe_task,
    instruction_of,
    proposal_of,
)
from lmflow.optimizers.parts.needs import Need, PlannedRollout, need_rollouts
from lmflow.optimizers.parts.plan import Task
from lmflow.optimizers.parts.reflection import report_call
from lmflow.optimizers.parts.scoring import (
    Best,
    add_evidence,
    score_rollouts,
    score_version,
)
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Predict
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version


@attrs.frozen(eq=False)
class Member:
    """A version with its differences from the start, and all scores that it got while training."""

    version: Version
    texts: Mapping[str, Proposal] = attrs.field(factory=dict)
    demos: DemoSet = attrs.field(factory=dict)
    scores: list[float] = attrs.field(factory=list)

    @property
    def mean(self) -> float:
        """The mean score, 0 before there is one."""
        return statistics.fmean(self.scores) if self.scores else 0.0

    def shows(self, example: str) -> bool:
        """Return whether one of its demonstrations comes from the example."""
        return any(demo.example == example for demos in self.demos.values() for demo in demos)


@attrs.frozen
class _Advice:
    """Advice that a proposer is to write for a step of a member."""

    member: Member
    step: str
    rollout: PlannedRollout


@attrs.frozen(eq=False)
class Population:
    """The versions so far and the winners among them, both beginning with the start version, and
    how more are made of them.
    """

    task: Task
    writer: Predict
    proposers: Proposers
    rng: random.Random
    candidates: int
    max_demos: int
    temperature: float
    members: list[Member] = attrs.field(factory=list)
    winners: list[Member] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        params = complete_params(self.task.program, self.task.version)
        demos = {
            step: tuple(Demo(record, "") for record in params[f"{step}.demos"])
            for step in self.task.program.predictors
        }
        self.members.append(Member(self.task.version, {}, demos))
        self.winners.append(self.members[0])

    @property
    def leader(self) -> Best:
        """The winner with the best mean on the training examples: the answer of a search that is
        stopped here.
        """
        return Best(max(self.winners, key=lambda member: member.mean).version)

    def step(
        self, rows: Sequence[Record], turn: int, phase: str
    ) -> Generator[Need, tuple[Trace, ...], None]:
        """Run the examples several times, make children, and score them on the same examples; the
        best child becomes a winner.
        """
        label, first = f"step[{turn}]", turn * self.candidates
        samples = [(row, first + k) for k in range(self.candidates) for row in rows]
        picked = [self._pick(row) for row, _ in samples]
        rollouts = [
            PlannedRollout(self.task.program, self._at_high_temperature(member), row, sample)
            for member, (row, sample) in zip(picked, samples, strict=True)
        ]
        runs = yield from score_rollouts(self.task, rollouts, f"{label}/sample", self.leader, phase)
        for member, run in zip(picked, runs, strict=True):
            if run.value is not None:
                member.scores.append(run.value)
                add_evidence(self.task, member.version, [run])
        children = yield from self._make_children(make_buckets(runs), turn, label)
        for at, child in enumerate(children):
            # An example that a child shows would score the copying of its answer.
            unseen = [row for row in rows if not child.shows(example_id(row))]
            scores = yield from score_version(
                self.task, child.version, unseen, f"{label}/cand[{at}]", self.leader, phase
            )
            child.scores.extend(scores.values.values())
        if children:
            self.winners.append(max(children, key=lambda child: child.mean))
        self.members.extend(children)

    def _make_children(
        self, buckets: Sequence[ExampleRuns], turn: int, label: str
    ) -> Generator[Need, tuple[Trace, ...], list[Member]]:
        """Make one child of a member from each of the buckets that teach most; all advice is
        written side by side.
        """
        children: dict[str, Member] = {}
        advice: list[_Advice] = []
        low, high = outer_scores(buckets)
        for bucket in buckets:
            if len(children) + len(advice) > self.candidates:
                break
            self._use_bucket(bucket, low, high, turn, children, advice)
        rollouts = [item.rollout for item in advice]
        traces = yield need_rollouts(
            f"{label}/advise", rollouts, self.leader.version, phase="propose"
        )
        for item, trace in zip(advice, traces, strict=True):
            if proposal := proposal_of(item.rollout, trace):
                member, step = item.member, item.step
                text = f"{self._instruction(member, step)}\n\n{proposal.text}".strip()
                texts = {**member.texts, step: Proposal(text, proposal.rollout, proposal.key)}
                self._add_child(children, texts, member.demos, f"advice for {step}")
        return list(children.values())

    def _use_bucket(  # noqa: PLR0913, PLR0917 - the state of a step
        self,
        bucket: ExampleRuns,
        low: float,
        high: float,
        turn: int,
        children: dict[str, Member],
        advice: list[_Advice],
    ) -> None:
        """Make a child from a bucket's best run, or plan advice from its best and worst run; do
        nothing if neither teaches anything.
        """
        best, worst = bucket.values[0], bucket.values[-1]
        difference = None
        if best > max(low, worst) and worst < high:
            difference = first_difference(bucket.best, bucket.worst, self.task.program)
        ways = []
        if self.max_demos > 0 and best > low:
            ways.append("show")
        if difference is not None:
            ways.append("advise")
        if not ways:
            return
        member = self._drop_demos(self._pick(bucket.best.rollout.example))
        if self.rng.choice(ways) == "show":
            shown = success_of(self.task.program, bucket.best, self.rng).demos
            demos = {step: (*own, *shown.get(step, ())) for step, own in member.demos.items()}
            self._add_child(children, member.texts, demos, "a run that went well shown")
        elif difference:
            better, worse = difference
            inputs = {
                "task": describe_task(self.task.program.predictors[better.step]),
                "present": self._instruction(member, better.step),
                "better": report_call(bucket.best, better),
                "worse": report_call(bucket.worst, worse),
            }
            rollout = self.proposers.rollout(self.writer, inputs, turn)
            advice.append(_Advice(member, better.step, rollout))

    def _add_child(
        self, children: dict[str, Member], texts: Mapping[str, Proposal], demos: DemoSet, note: str
    ) -> None:
        """Add a child, by the hash of its parameters, unless there is an equal member."""
        own = self.members[0].demos
        changed = {step: shown for step, shown in demos.items() if shown != own[step]}
        version = assemble(self.task.version, texts, changed, note)
        if all(version.tree != member.version.tree for member in self.members):
            children.setdefault(version.tree, Member(version, texts, demos))

    def _pick(self, example: Record) -> Member:
        """Draw a member from those with the highest means and the start, the likelier the higher
        its mean; none that shows the example.
        """
        start, name = self.members[0], example_id(example)
        vetoed = self.task.evidence.vetoed
        others = [member for member in self.members[1:] if member.version.tree not in vetoed]
        ranked = sorted(others, key=lambda member: -member.mean)
        top = ranked[: self.candidates]
        able = [start, *(member for member in top if not member.shows(name))]
        # Subtracting the highest mean keeps exp() within range at any temperature.
        peak = max(member.mean for member in able)
        scale = max(self.temperature, 1e-9)
        weights = [math.exp((member.mean - peak) / scale) for member in able]
        return self.rng.choices(able, weights)[0]

    def _drop_demos(self, member: Member) -> Member:
        """Drop some demonstrations at random, the same places in each step; at least one if the
        member has as many as it may.
        """
        count = max((len(shown) for shown in member.demos.values()), default=0)
        if not count or not self.max_demos:
            return member
        drops = max(_poisson(count / self.max_demos, self.rng), count - self.max_demos + 1)
        dropped = set(self.rng.sample(range(count), min(count, drops)))
        remaining = {
            step: tuple(demo for at, demo in enumerate(shown) if at not in dropped)
            for step, shown in member.demos.items()
        }
        return attrs.evolve(member, demos=remaining)

    def _instruction(self, member: Member, step: str) -> str:
        return instruction_of(self.task.program, member.version, step)

    def _at_high_temperature(self, member: Member) -> Version:
        changes = hot_options(self.task.program, member.version)
        return adapt_version(self.task.program, member.version, changes, "samples")


def _poisson(mean: float, rng: random.Random) -> int:
    """Draw from the Poisson distribution (Knuth 1969, section 3.4.1)."""
    count, product = 0, rng.random()
    while product > math.exp(-mean):
        count, product = count + 1, product * rng.random()
    return count
