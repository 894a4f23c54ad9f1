"""A pool of candidates whose instructions are rewritten and merged: GEPA's (Agrawal et al. 2025,
arXiv 2507.19457, section 3).
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Generator, Iterator, Mapping, Sequence

import attrs

from lmflow.data.dataset import example_id
from lmflow.optimizers.parts.instructions import (
    Proposal,
    Proposers,
    describe_task,
    instruction_of,
    proposal_of,
    with_instructions,
)
from lmflow.optimizers.parts.needs import Need, PlannedRollout, need_rollouts
from lmflow.optimizers.parts.pareto import ancestors, front
from lmflow.optimizers.parts.plan import Task
from lmflow.optimizers.parts.reflection import report_step, scored_steps
from lmflow.optimizers.parts.scoring import (
    Best,
    VersionScores,
    score_side_by_side,
    score_version,
)
from lmflow.programs.program import Predict
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

MERGE_EXAMPLES = 5
"""Selection examples on which a merged candidate has to hold its own."""

_PAIR_DRAWS = 10  # pairs that are drawn until two can be merged

Merge = tuple[int, int, int]
"""The positions of two candidates and of their common ancestor."""


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
class _Attempt:
    """A rewriting: the parent's position, the step, the proposer's run, and the runs that it reads
    with their examples.
    """

    label: str
    parent: int
    step: str
    rollout: PlannedRollout
    before: VersionScores
    rows: Sequence[Record]


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
        allowed = [candidate for candidate in self.candidates if not self._is_vetoed(candidate)]
        top = max(allowed, key=lambda candidate: candidate.mean)
        return Best(top.version, top.mean)

    def reflect(
        self, batches: Sequence[Sequence[Record]], turn: int, phase: str
    ) -> Generator[Need, tuple[Trace, ...], list[Candidate]]:
        """Have a candidate of the front rewritten from its runs for each batch of examples, side by
        side; return the children that do better on theirs.
        """
        # Parents come from the front, not only from the top: a candidate that alone solves some
        # examples holds a lesson that the best on average lacks, and the search would lose it.
        leads = self._front()
        parents = self.rng.choices([*leads], [*leads.values()], k=len(batches))
        labels = [f"turn[{turn + at}]" for at in range(len(batches))]
        jobs = [
            (f"{label}/parent", self.candidates[at].version, rows)
            for label, at, rows in zip(labels, parents, batches, strict=True)
        ]
        before = yield from score_side_by_side(self.task, jobs, self.best, phase)
        attempts = [
            attempt
            for number, (at, scores) in enumerate(zip(parents, before, strict=True))
            if (attempt := self._attempt(at, scores, turn + number, labels[number]))
        ]
        if not attempts:
            return []
        children = yield from self._rewrite(attempts)
        jobs = [
            (f"{attempt.label}/child", child.version, attempt.rows) for attempt, child in children
        ]
        after = yield from score_side_by_side(self.task, jobs, self.best, phase)
        return [
            child
            for (attempt, child), scores in zip(children, after, strict=True)
            if _gain(attempt.before, scores) > 0
        ]

    def _rewrite(
        self, attempts: Sequence[_Attempt]
    ) -> Generator[Need, tuple[Trace, ...], list[tuple[_Attempt, Candidate]]]:
        """Have the instructions of attempts written; return those that make a new candidate."""
        rollouts = [attempt.rollout for attempt in attempts]
        labels = [
            f"{attempt.label}/reflect/{label}"
            for attempt in attempts
            for label in need_rollouts("", [attempt.rollout], self.best.version).labels
        ]
        traces = yield Need(
            tuple(rollouts),
            tuple(label.replace("//", "/") for label in labels),
            self.best.version,
            self.best.score,
            "propose",
        )
        children: dict[str, tuple[_Attempt, Candidate]] = {}
        for attempt, trace in zip(attempts, traces, strict=True):
            proposal = proposal_of(attempt.rollout, trace)
            if proposal is None:
                continue
            texts = {**self.candidates[attempt.parent].texts, attempt.step: proposal}
            note = f"instruction of {attempt.step} rewritten from its runs"
            child = self._child(texts, (attempt.parent,), note)
            if child is not None:
                children.setdefault(child.version.tree, (attempt, child))
        return list(children.values())

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
        own = by_example(scores)
        common = [name for name in names if name in own]
        parents = [_total(first.scores, common), _total(second.scores, common)]
        return child if common and _total(own, common) >= max(parents) else None

    def add(
        self, children: Sequence[Candidate], label: str, phase: str
    ) -> Generator[Need, tuple[Trace, ...], None]:
        """Add children with their scores on the selection data."""
        rows = self.task.data.select
        jobs = [
            (f"{label}/full" if not at else f"{label}/full[{at}]", child.version, list(rows))
            for at, child in enumerate(children)
        ]
        results = yield from score_side_by_side(self.task, jobs, self.best, phase)
        for child, scores in zip(children, results, strict=True):
            self.candidates.append(attrs.evolve(child, scores=by_example(scores)))

    def _front(self) -> dict[int, int]:
        """Return the places of the leading candidates that nobody vetoed."""
        places = enumerate(self.candidates)
        allowed = [at for at, candidate in places if not self._is_vetoed(candidate)]
        leads = front([self.candidates[at].scores for at in allowed])
        return {allowed[at]: count for at, count in leads.items()}

    def _is_vetoed(self, candidate: Candidate) -> bool:
        """Return whether a person vetoed a candidate; the first one stays, as the last resort."""
        is_first = candidate.version.tree == self.task.version.tree
        return not is_first and candidate.version.tree in self.task.evidence.vetoed

    def _attempt(self, at: int, before: VersionScores, turn: int, label: str) -> _Attempt | None:
        """Plan the rewriting of the step of a candidate whose turn it is; ``None`` if no step ran,
        or if there is nothing to learn.
        """
        if all(value >= self.perfect for value in before.values.values()):
            return None
        parent = self.candidates[at]
        runs, steps = scored_steps(before.rows), self.task.program.predictors
        called = {call.step for _, calls in runs for call in calls}
        candidates = [name for name in steps if name in called]
        if not candidates:
            return None
        step = candidates[parent.turn % len(candidates)]
        self.candidates[at] = attrs.evolve(parent, turn=parent.turn + 1)
        inputs = {
            "task": describe_task(steps[step]),
            "present": instruction_of(self.task.program, parent.version, step),
            "runs": report_step(runs, step, self.rng),
        }
        rollout = self.proposers.rollout(self.writer, inputs, turn)
        rows = [row.rollout.example for row in before.rows]
        return _Attempt(label, at, step, rollout, before, rows)

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
        return [name for name in drawn if name is not None][:MERGE_EXAMPLES]


def evolve_pool(
    pool: Pool, batches: Iterator[list[Record]], iterations: int, merges: int, breadth: int
) -> Generator[Need, tuple[Trace, ...], None]:
    """Add candidates to the pool, ``breadth`` of them tried side by side: after a reflection that
    succeeds a merge is tried, until ``merges`` were kept.
    """
    merge_is_due, turn = False, 0
    while turn < iterations:
        if pool.best.mean >= pool.perfect:
            return
        label, phase = f"turn[{turn}]", f"turn {turn + 1} of {iterations}"
        merge = pool.pick_merge() if merge_is_due and merges else None
        if merge:
            child = yield from pool.merge(merge, label)
            children = [child] if child else []
            merges -= len(children)
            turn += 1
        else:
            several = list(itertools.islice(batches, min(breadth, iterations - turn)))
            children = yield from pool.reflect(several, turn, phase)
            turn += len(several)
        merge_is_due = bool(children) and merge is None
        if children:
            yield from pool.add(children, label, phase)


def _changed(old: Candidate, new: Candidate) -> dict[str, Proposal]:
    """Return the instructions of a descendant that its ancestor does not have."""
    return {
        step: proposal
        for step, proposal in new.texts.items()
        if step not in old.texts or old.texts[step].text != proposal.text
    }


def by_example(scores: VersionScores) -> dict[str, float]:
    """Return a version's scores by example."""
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
