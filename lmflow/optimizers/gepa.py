"""GEPA: instructions rewritten from reports of their runs, from parents that each lead on some
examples.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Generator, Iterator, Mapping, Sequence

import attrs

from lmflow.data.dataset import Data, example_id
from lmflow.library.checks import check_positive
from lmflow.library.proposers import reflector
from lmflow.optimizers.parts.checks import check_proposer, runs_on
from lmflow.optimizers.parts.instructions import (
    Proposal,
    Proposers,
    describe_task,
    instruction_of,
    propose,
    with_instructions,
)
from lmflow.optimizers.parts.needs import Need, PlannedRollout
from lmflow.optimizers.parts.pareto import ancestors, front
from lmflow.optimizers.parts.plan import SELECT, Bound, Plan, PlanOptimizer, Task, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.reflection import report_step, scored_steps, training_batches
from lmflow.optimizers.parts.scoring import Best, VersionScores, conclude, score_version
from lmflow.programs.program import Predict, Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

_MERGE_EXAMPLES = 5  # selection examples on which a merged candidate has to hold its own
_PAIR_DRAWS = 10  # pairs that are drawn until two can be merged

Merge = tuple[int, int, int]
"""The positions of two candidates and of their common ancestor."""


def gepa(  # noqa: PLR0913 - each is an option
    *, iterations: int = 20, minibatch: int = 3, merges: int = 5, perfect: float = 1.0,
    proposer: Predict | None = None, model: str = "", max_tokens: int = 0, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Rewrite instructions by a proposer that reads what a step did in a few runs, and the verdicts
    on them.

    Each iteration picks a candidate that leads on some selection examples, the likelier the more
    they are; runs it on the next minibatch of training examples; has one step's instruction
    rewritten (the steps take turns); and keeps the child, with a full evaluation, if it does
    strictly better on those examples. After such a success two candidates with a common ancestor
    are merged instead: each step takes the instruction that changed since the ancestor. The best
    mean on the selection data wins; ties go to the earlier, so to the start version.

    A metric that returns ``Score(value, feedback)`` says what was wrong; labels are shown beside
    it, and failures if a reply could not be read. Needs at most ``select + iterations * (max(2 *
    minibatch, 5) + select)`` rollouts, and ``iterations`` proposals.
    Agrawal et al. 2025, arXiv 2507.19457, section 3; DSPy's GEPA, which goes beyond its budget.

    Args:
        iterations: The number of candidates that are tried.
        minibatch: The number of training examples that a proposer reads the runs of.
        merges: The most merged candidates that are kept.
        perfect: The score from which a run has nothing to teach; a minibatch on which every score
            reaches it is skipped, and a mean that reaches it ends the search.
        proposer: The program that writes instructions, instead of the shipped one.
        model: The proposer's model, instead of the program's own.
        max_tokens: The most tokens of a proposal; not bounded if 0.
        seed: The seed of all random choices.

    Returns:
        An optimizer that requires the data part ``select``.

    Raises:
        ValueError: ``iterations`` or ``minibatch`` is not positive.
    """
    writer, proposers = proposer or reflector(), Proposers(model, max_tokens)

    check_proposer("gepa", writer, "task", "present", "runs")

    def plan(task: Task) -> Plan:
        rng = randomness(task.version, "gepa", seed)
        batches = training_batches(task, "gepa", minibatch, seed)
        start = yield from score_version(
            task, task.version, task.data.select, "start", Best(task.version), "start"
        )
        root = Candidate(task.version, scores=_by_example(start))
        pool = Pool(task, writer, proposers, perfect, rng, [root])
        if start.values and task.data.train:
            yield from _evolve_pool(pool, batches, iterations, merges)
        return (yield from conclude(pool.best))

    def bound(program: Program, data: Data) -> Bound:
        del program
        turn = max(2 * minibatch, _MERGE_EXAMPLES) + len(data.select)
        return Bound(len(data.select) + iterations * turn, iterations)

    options = {
        "iterations": check_positive("iterations", iterations),
        "minibatch": check_positive("minibatch", minibatch), "merges": merges, "perfect": perfect,
        "proposer": writer, "model": model, "max_tokens": max_tokens, "seed": seed,
    }  # fmt: skip

    requires = runs_on("select", "train")
    return plan_optimizer("gepa", options, plan, bound, SELECT, requires=requires)


@attrs.frozen(eq=False)
class Candidate:
    """A version with its rewritten instructions, its score by selection example, its parents'
    positions in the pool, and the number of rewrites so far in its line.
    """

    version: Version
    texts: Mapping[str, Proposal] = attrs.field(factory=dict)
    scores: Mapping[str, float] = attrs.field(factory=dict)
    parents: tuple[int, ...] = ()
    turn: int = 0

    @property
    def mean(self) -> float:
        """The mean score, minus infinity if there is none."""
        return statistics.fmean(self.scores.values()) if self.scores else float("-inf")


@attrs.frozen(eq=False)
class Pool:
    """The candidates so far, and how more are made of them."""

    task: Task
    writer: Predict
    proposers: Proposers
    perfect: float
    rng: random.Random
    candidates: list[Candidate]
    merged: set[Merge] = attrs.field(factory=set)

    @property
    def best(self) -> Best:
        """The best on the selection data, the earlier of equals."""
        top = max(self.candidates, key=lambda candidate: candidate.mean)
        return Best(top.version, top.mean)

    def reflect(
        self, rows: Sequence[Record], turn: int, label: str, phase: str
    ) -> Generator[Need, tuple[Trace, ...], Candidate | None]:
        """Have a candidate of the front rewritten from its runs on these examples; return the child
        if it does better on them.
        """
        # Parents come from the front, not only from the top: a candidate that alone solves some
        # examples holds a lesson that the best on average lacks, and the search would lose it.
        leads = self._front()
        (at,) = self.rng.choices([*leads], [*leads.values()])
        parent = self.candidates[at]
        before = yield from score_version(
            self.task, parent.version, rows, f"{label}/parent", self.best, phase
        )
        if all(value >= self.perfect for value in before.values.values()):
            return None
        rollout, step = self._reflection(at, before, turn)
        if rollout is None:
            return None
        proposals = yield from propose([rollout], f"{label}/reflect", self.best)
        for proposal in proposals:
            note = f"instruction of {step} rewritten from its runs"
            child = self._child({**parent.texts, step: proposal}, (at,), note)
            if child is None:
                continue
            after = yield from score_version(
                self.task, child.version, rows, f"{label}/child", self.best, phase
            )
            if _gain(before, after) > 0:
                return child
        return None

    def pick_merge(self) -> Merge | None:
        """Draw two candidates of the front that can be merged, with their common ancestor; ``None``
        if only merges that were tried before are found.
        """
        leading = [*self._front()]
        parents = [candidate.parents for candidate in self.candidates]
        for _ in range(_PAIR_DRAWS if len(leading) > 1 else 0):
            first, second = sorted(self.rng.sample(leading, 2))
            common = ancestors(parents, first) & ancestors(parents, second)
            if first in ancestors(parents, second) or not common:
                continue
            fitting = [at for at in sorted(common) if self._can_merge(first, second, at)]
            if fitting:
                weights = [max(self.candidates[at].mean, 0) + 1e-9 for at in fitting]
                (at,) = self.rng.choices(fitting, weights)
                self.merged.add((first, second, at))
                return first, second, at
        return None

    def merge(
        self, merge: Merge, label: str
    ) -> Generator[Need, tuple[Trace, ...], Candidate | None]:
        """Merge two candidates; return the child if on a few selection examples it is not worse
        than the better of the two.
        """
        first, second, ancestor = (self.candidates[at] for at in merge)
        better, worse = (first, second) if first.mean >= second.mean else (second, first)
        texts = {**ancestor.texts, **_changed(ancestor, worse), **_changed(ancestor, better)}
        child = self._child(texts, merge[:2], "instructions of two candidates merged")
        names = self._merge_examples(first.scores, second.scores)
        if child is None or not names:
            return None
        rows = [row for row in self.task.data.select if example_id(row) in names]
        scores = yield from score_version(
            self.task, child.version, rows, f"{label}/merged", self.best, "merge"
        )
        own = _by_example(scores)
        common = [name for name in names if name in own]
        parents = [_total(first.scores, common), _total(second.scores, common)]
        return child if common and _total(own, common) >= max(parents) else None

    def add(
        self, child: Candidate, label: str, phase: str
    ) -> Generator[Need, tuple[Trace, ...], None]:
        """Add a child with its scores on the selection data."""
        scores = yield from score_version(
            self.task, child.version, self.task.data.select, f"{label}/full", self.best, phase
        )
        self.candidates.append(attrs.evolve(child, scores=_by_example(scores)))

    def _front(self) -> dict[int, int]:
        return front([candidate.scores for candidate in self.candidates])

    def _reflection(
        self, at: int, before: VersionScores, turn: int
    ) -> tuple[PlannedRollout | None, str]:
        """Plan the rewriting of the step of a candidate whose turn it is; no rollout if no step
        ran.
        """
        parent = self.candidates[at]
        runs, steps = scored_steps(before.rows), self.task.program.predictors
        called = {call.step for _, calls in runs for call in calls}
        candidates = [name for name in steps if name in called]
        if not candidates:
            return None, ""
        step = candidates[parent.turn % len(candidates)]
        self.candidates[at] = attrs.evolve(parent, turn=parent.turn + 1)
        inputs = {
            "task": describe_task(steps[step]),
            "present": instruction_of(self.task.program, parent.version, step),
            "runs": report_step(runs, step, self.rng),
        }
        return self.proposers.rollout(self.writer, inputs, turn), step

    def _child(
        self, texts: Mapping[str, Proposal], parents: tuple[int, ...], note: str
    ) -> Candidate | None:
        """Make a candidate with these instructions; ``None`` if the pool has an equal one."""
        version = with_instructions(self.task.version, texts, note)
        if any(version.tree == candidate.version.tree for candidate in self.candidates):
            return None
        turn = max(self.candidates[at].turn for at in parents)
        return Candidate(version, texts, parents=parents, turn=turn)

    def _can_merge(self, first: int, second: int, ancestor: int) -> bool:
        """Return whether two candidates are not worse than their ancestor, differ from it in
        different steps, and were not merged before.
        """
        a, b, old = (self.candidates[at] for at in (first, second, ancestor))
        different_steps = _changed(old, a).keys() != _changed(old, b).keys()
        not_worse = old.mean <= min(a.mean, b.mean)
        return (first, second, ancestor) not in self.merged and not_worse and different_steps

    def _merge_examples(self, a: Mapping[str, float], b: Mapping[str, float]) -> list[str]:
        """Draw selection examples in turns from those on which the first is better, the second is
        better, and both are equal.
        """
        kinds: dict[int, list[str]] = {}
        for name in a:
            if name in b:
                kinds.setdefault(_sign(a[name] - b[name]), []).append(name)
        for names in kinds.values():
            self.rng.shuffle(names)
        turns = itertools.zip_longest(*(kinds[kind] for kind in sorted(kinds)))
        drawn = itertools.chain.from_iterable(turns)
        return [name for name in drawn if name is not None][:_MERGE_EXAMPLES]


def _evolve_pool(
    pool: Pool, batches: Iterator[list[Record]], iterations: int, merges: int
) -> Generator[Need, tuple[Trace, ...], None]:
    """Add candidates to the pool: after each reflection that succeeds a merge is tried, until
    ``merges`` were kept.
    """
    merge_is_due = False
    for turn in range(iterations):
        if pool.best.mean >= pool.perfect:
            return
        label, phase = f"turn[{turn}]", f"turn {turn + 1} of {iterations}"
        merge = pool.pick_merge() if merge_is_due and merges else None
        if merge:
            child = yield from pool.merge(merge, label)
        else:
            child = yield from pool.reflect(next(batches), turn, label, phase)
        merge_is_due = child is not None and merge is None
        if child is not None:
            if merge:
                merges -= 1
            yield from pool.add(child, label, phase)


def _changed(old: Candidate, new: Candidate) -> dict[str, Proposal]:
    """Return the instructions of a descendant that its ancestor does not have."""
    return {
        step: proposal
        for step, proposal in new.texts.items()
        if step not in old.texts or old.texts[step].text != proposal.text
    }


def _by_example(scores: VersionScores) -> dict[str, float]:
    return {
        example_id(row.rollout.example): row.value for row in scores.rows if row.value is not None
    }


def _sign(value: float) -> int:
    if value == 0:
        return 0
    return 1 if value > 0 else -1


def _total(scores: Mapping[str, float], names: Sequence[str]) -> float:
    return math.fsum(scores[name] for name in names)


def _gain(before: VersionScores, after: VersionScores) -> float:
    """Return the sum of the improvements on the examples that have both scores."""
    old, new = before.values, after.values
    return math.fsum(new[label] - old[label] for label in old if label in new)
