"""SIMBA: what made runs of one example go better or worse, as demonstrations and as advice."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Generator, Mapping, Sequence

import attrs

from lmflow.data.dataset import Data, example_id
from lmflow.library.proposers import adviser
from lmflow.library.search.samples import positive
from lmflow.optimizers.parts.contrast import Bucket, buckets, ends, parting
from lmflow.optimizers.parts.demos import HOT, Demo, DemoSet, adapted, success
from lmflow.optimizers.parts.instructions import (
    Proposal,
    Proposers,
    assembled,
    instruction,
    proposal_of,
    task_of,
)
from lmflow.optimizers.parts.plan import (
    SELECT,
    Bound,
    Need,
    Plan,
    PlannedRollout,
    PlanOptimizer,
    Task,
    need_rollouts,
    randomness,
    plan_optimizer,
)
from lmflow.optimizers.parts.reflection import batches, report
from lmflow.optimizers.parts.scoring import Best, concluded, measured, scored, tried
from lmflow.programs.program import Predict, Program, completed
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version


def simba(  # noqa: PLR0913 - each is an option
    *, steps: int = 8, batch: int = 32, candidates: int = 6, max_demos: int = 4, temperature: float = 0.2,
    proposer: Predict | None = None, model: str = "", max_tokens: int = 0, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Demonstrations and advice from the examples whose outcome varies most.

    Each of ``steps`` takes the next ``batch`` of training examples and runs each ``candidates``
    times at temperature 1, under versions picked by their mean so far (a softmax at
    ``temperature``). From the examples whose runs differ most, at most ``candidates + 1`` children
    are made, each of a version picked like that: with the steps of the best run as demonstrations
    (at most ``max_demos``; older ones are dropped at random), or with advice below the instruction
    of the step at which the best and the worst run part, which a proposer writes from both. The
    best child on the batch is the step's winner. At last at most ``candidates + 1`` of the winners,
    the start among them, meet the selection data; the best mean wins, ties to the earlier, so to
    the start version.

    ``model`` is the proposer's, which writes at most ``max_tokens`` where that is above 0. Asks for
    at most ``steps * batch * (2 * candidates + 1) + (candidates + 1) * select`` rollouts and
    ``steps * (candidates + 1)`` proposals.

    DSPy's ``SIMBA``, of which there is no paper, without its defects: it chooses by what it learnt
    from, scores children on examples that they show and children that change nothing, and its start
    never gets a score.
    """
    write, ask = proposer or adviser(), Proposers(model, max_tokens)

    def plan(task: Task) -> Plan:
        rng = randomness(task.version, "simba", seed)
        climb = Climb(task, write, ask, rng, candidates, max_demos, temperature)
        turns = range(steps if task.data.train else 0)
        for turn, rows in zip(turns, batches(task, "simba", batch, seed), strict=False):
            yield from climb.stepped(rows, turn, f"step {turn + 1} of {steps}")
        best, last = climb.leader, len(climb.winners) - 1
        for at in sorted({round(k * last / candidates) for k in range(candidates + 1)}):
            _, best = yield from tried(
                task, climb.winners[at].version, f"winner[{at}]", best, "choose a winner"
            )
        return (yield from concluded(Best(task.version) if best.score is None else best))

    def bound(program: Program, data: Data) -> Bound:
        del program
        runs = steps * min(batch, len(data.train)) * (2 * candidates + 1)
        return Bound(runs + (candidates + 1) * len(data.select), steps * (candidates + 1))

    options = {
        "steps": positive("steps", steps), "batch": positive("batch", batch),
        "candidates": positive("candidates", candidates), "max_demos": max_demos, "temperature": temperature,
        "proposer": write, "model": model, "max_tokens": max_tokens, "seed": seed,
    }  # fmt: skip
    return plan_optimizer("simba", options, plan, bound, SELECT)


@attrs.frozen(eq=False)
class Member:
    """A version with what differs from the start, and all scores that it got while training."""

    version: Version
    texts: Mapping[str, Proposal] = attrs.field(factory=dict)
    demos: DemoSet = attrs.field(factory=dict)
    scores: list[float] = attrs.field(factory=list)

    @property
    def mean(self) -> float:
        """The mean score, 0 before there is one."""
        return statistics.fmean(self.scores) if self.scores else 0.0

    def shows(self, example: str) -> bool:
        """Whether one of its demonstrations comes from the example."""
        return any(demo.example == example for demos in self.demos.values() for demo in demos)


@attrs.frozen(eq=False)
class Climb:
    """The versions so far and the winners among them, both from the start on, and how more are made
    of them.
    """

    task: Task
    write: Predict
    ask: Proposers
    rng: random.Random
    candidates: int
    max_demos: int
    temperature: float
    members: list[Member] = attrs.field(factory=list)
    winners: list[Member] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        full, steps = completed(self.task.program, self.task.version), self.task.program.predictors
        demos = {
            step: tuple(Demo(record, "") for record in full[f"{step}.demos"]) for step in steps
        }
        self.members.append(Member(self.task.version, {}, demos))
        self.winners.append(self.members[0])

    @property
    def leader(self) -> Best:
        """The winner that did best on what it was trained on: the answer of a search that is
        stopped here.
        """
        return Best(max(self.winners, key=lambda it: it.mean).version)

    def stepped(
        self, rows: Sequence[Record], turn: int, phase: str
    ) -> Generator[Need, tuple[Trace, ...], None]:
        """Run the examples again and again, make children, score them on the same examples; the
        best is a winner.
        """
        label, first = f"step[{turn}]", turn * self.candidates
        asked = [
            (self._picked(row), row, first + k) for k in range(self.candidates) for row in rows
        ]
        rollouts = [
            PlannedRollout(self.task.program, self._hot(it.version), row, sample)
            for it, row, sample in asked
        ]
        found = yield from measured(
            self.task.metric, rollouts, f"{label}/sample", self.leader, phase
        )
        for (it, _, _), row in zip(asked, found, strict=True):
            it.scores.extend([] if row.value is None else [row.value])
        children = yield from self._children(buckets(found), turn, label)
        for at, child in enumerate(children):
            unseen = [row for row in rows if not child.shows(example_id(row))]
            scores = yield from scored(
                self.task, child.version, unseen, f"{label}/cand[{at}]", self.leader, phase
            )
            child.scores.extend(scores.values.values())
        self.winners.extend(sorted(children, key=lambda it: -it.mean)[:1])
        self.members.extend(children)

    def _children(
        self, made: Sequence[Bucket], turn: int, label: str
    ) -> Generator[Need, tuple[Trace, ...], list[Member]]:
        """One child of a member from each of the buckets that teach most; what proposers say is
        asked for together.
        """
        children: dict[str, Member] = {}
        advised: list[tuple[Member, str, PlannedRollout]] = []
        low, high = ends(made)
        for bucket in made:
            if len(children) + len(advised) > self.candidates:
                break
            best, worst = bucket.values[0], bucket.values[-1]
            teaches = best > max(low, worst) and worst < high
            apart = parting(bucket.best, bucket.worst, self.task.program) if teaches else None
            ways = ["show"] * (self.max_demos > 0 and best > low) + ["advise"] * (apart is not None)
            if not ways:
                continue
            source = self._thinned(self._picked(bucket.best.rollout.example))
            if self.rng.choice(ways) == "show":
                found = success(self.task.program, bucket.best, self.rng).demos
                demos = {step: (*held, *found.get(step, ())) for step, held in source.demos.items()}
                self._bear(children, source.texts, demos, "a run that went well shown")
            elif apart:
                step = apart[0].step
                inputs = {
                    "task": task_of(self.task.program.predictors[step]), "present": self._text(source, step),
                    "better": report(bucket.best, apart[0]), "worse": report(bucket.worst, apart[1]),
                }  # fmt: skip
                advised.append((source, step, self.ask.asked(self.write, inputs, turn)))
        asked = [rollout for _, _, rollout in advised]
        traces = yield need_rollouts(f"{label}/advise", asked, self.leader.version, phase="propose")
        for (source, step, rollout), trace in zip(advised, traces, strict=True):
            if it := proposal_of(rollout, trace):
                text = f"{self._text(source, step)}\n\n{it.text}".strip()
                texts = {**source.texts, step: Proposal(text, it.rollout, it.key)}
                self._bear(children, texts, source.demos, f"advice for {step}")
        return list(children.values())

    def _bear(
        self, children: dict[str, Member], texts: Mapping[str, Proposal], demos: DemoSet, note: str
    ) -> None:
        """Add a child, by its parameters' hash, unless there is one like it."""
        own = self.members[0].demos
        changed = {step: held for step, held in demos.items() if held != own[step]}
        version = assembled(self.task.version, texts, changed, note)
        if all(version.tree != it.version.tree for it in self.members):
            children.setdefault(version.tree, Member(version, texts, demos))

    def _picked(self, example: Record) -> Member:
        """One of those with the highest means, or the start: the likelier the higher; none that
        shows the example.
        """
        start, name = self.members[0], example_id(example)
        top = sorted(self.members[1:], key=lambda it: -it.mean)[: self.candidates]
        able = [start, *(it for it in top if not it.shows(name))]
        peak = max(it.mean for it in able)
        weights = [math.exp((it.mean - peak) / max(self.temperature, 1e-9)) for it in able]
        return self.rng.choices(able, weights)[0]

    def _thinned(self, member: Member) -> Member:
        """The member with some of its demonstrations dropped, the same places in each step; one at
        least where it is full.
        """
        count = max((len(held) for held in member.demos.values()), default=0)
        if not count or not self.max_demos:
            return member
        wanted = max(_poisson(count / self.max_demos, self.rng), count - self.max_demos + 1)
        gone = set(self.rng.sample(range(count), min(count, wanted)))
        left = {
            step: tuple(it for at, it in enumerate(held) if at not in gone)
            for step, held in member.demos.items()
        }
        return attrs.evolve(member, demos=left)

    def _text(self, member: Member, step: str) -> str:
        return instruction(self.task.program, member.version, step)

    def _hot(self, version: Version) -> Version:
        """The version at a temperature at which runs differ."""
        full = completed(self.task.program, version)
        paths = [f"{step}.options" for step in self.task.program.predictors]
        changes = {path: full[path] | {"temperature": HOT} for path in paths}
        return adapted(self.task.program, version, changes, "samples")


def _poisson(mean: float, rng: random.Random) -> int:
    """A draw from the Poisson distribution (Knuth 1969, section 3.4.1)."""
    count, left = 0, rng.random()
    while left > math.exp(-mean):
        count, left = count + 1, left * rng.random()
    return count
