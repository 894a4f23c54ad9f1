"""GEPA: instructions rewritten from what became of them, from parents that each lead on some
examples.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Generator, Mapping, Sequence
from itertools import zip_longest

import attrs

from lmflow.data.dataset import Data, example_id
from lmflow.library.proposers import reflector
from lmflow.library.search.samples import positive
from lmflow.optimizers.parts.instructions import (
    Proposal,
    Proposers,
    instruction,
    proposed,
    task_of,
    with_instructions,
)
from lmflow.optimizers.parts.pareto import ancestors, front
from lmflow.optimizers.parts.plan import (
    SELECT,
    Bound,
    Need,
    Plan,
    PlanOptimizer,
    Task,
    randomness,
    plan_optimizer,
)
from lmflow.optimizers.parts.reflection import batches, reports, steps_of
from lmflow.optimizers.parts.scoring import Best, Scores, concluded, scored
from lmflow.programs.program import Predict, Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

_GATE = 5  # selection examples on which a merged candidate has to hold its own
_TRIES = 10  # pairs that are drawn until two can be merged

Triple = tuple[int, int, int]
"""The places of two candidates and of their common ancestor."""


def gepa(  # noqa: PLR0913 - each is an option
    *, iterations: int = 20, minibatch: int = 3, merges: int = 5, perfect: float = 1.0,
    proposer: Predict | None = None, model: str = "", max_tokens: int = 0, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Instructions rewritten by a proposer that reads what a step did in a few runs, and the
    verdicts on them.

    Each of ``iterations`` picks a candidate that leads on some selection examples, the likelier the
    more they are; runs it on the next ``minibatch`` of training examples; has one step's
    instruction rewritten (the steps take turns); and keeps the child, with a full evaluation, if it
    does strictly better on those examples. After such a success two candidates with a common
    ancestor are merged instead, step by step the side that changed, until ``merges`` were kept. The
    best mean on the selection data wins; ties go to the earlier, so to the start version.

    A metric that returns ``Score(value, feedback)`` says what was wrong; labels are shown beside
    it, and failures where a reply couldn't be read. A minibatch on which every score reaches
    ``perfect`` has nothing to teach. ``model`` is the proposer's, which writes at most
    ``max_tokens`` where that is above 0. Asks for at most ``select + iterations * (max(2 *
    minibatch, 5) + select)`` rollouts, and ``iterations`` proposals.

    Agrawal et al. 2025, arXiv 2507.19457, section 3; DSPy's GEPA, which goes beyond its budget.
    """
    write, ask = proposer or reflector(), Proposers(model, max_tokens)

    def plan(task: Task) -> Plan:
        rng, rows = randomness(task.version, "gepa", seed), batches(task, "gepa", minibatch, seed)
        start = yield from scored(
            task, task.version, task.data.select, "start", Best(task.version), "start"
        )
        pool = Pool(task, write, ask, perfect, rng, [_candidate(Candidate(task.version), start)])
        due, left = False, merges
        for turn in range(iterations if start.values and task.data.train else 0):
            if pool.best.mean >= perfect:
                break
            label, phase = f"turn[{turn}]", f"turn {turn + 1} of {iterations}"
            cross = pool.crossing() if due and left else None
            if cross:
                child = yield from pool.merged(cross, label)
            else:
                child = yield from pool.reflected(next(rows), turn, label, phase)
            due = child is not None and cross is None
            left -= child is not None and cross is not None
            if child is not None:
                found = yield from scored(
                    task, child.version, task.data.select, f"{label}/full", pool.best, phase
                )
                pool.candidates.append(_candidate(child, found))
        return (yield from concluded(pool.best))

    def bound(program: Program, data: Data) -> Bound:
        del program
        return Bound(
            len(data.select) + iterations * (max(2 * minibatch, _GATE) + len(data.select)),
            iterations,
        )

    options = {
        "iterations": positive("iterations", iterations), "minibatch": positive("minibatch", minibatch),
        "merges": merges, "perfect": perfect, "proposer": write, "model": model, "max_tokens": max_tokens, "seed": seed,
    }  # fmt: skip
    return plan_optimizer("gepa", options, plan, bound, SELECT)


@attrs.frozen(eq=False)
class Candidate:
    """A version with its rewritten instructions, its score by selection example, its parents'
    places in the pool, and how many turns at rewriting its steps had.
    """

    version: Version
    texts: Mapping[str, Proposal] = attrs.field(factory=dict)
    scores: Mapping[str, float] = attrs.field(factory=dict)
    parents: tuple[int, ...] = ()
    turn: int = 0

    @property
    def mean(self) -> float:
        """The mean score, minus infinity where there is none."""
        return statistics.fmean(self.scores.values()) if self.scores else float("-inf")


@attrs.frozen(eq=False)
class Pool:
    """The candidates so far, and how more are made of them."""

    task: Task
    write: Predict
    ask: Proposers
    perfect: float
    rng: random.Random
    candidates: list[Candidate]
    crossed: set[Triple] = attrs.field(factory=set)

    @property
    def best(self) -> Best:
        """The best on the selection data, the earlier of equals."""
        top = max(self.candidates, key=lambda it: it.mean)
        return Best(top.version, top.mean)

    def reflected(
        self, rows: Sequence[Record], turn: int, label: str, phase: str
    ) -> Generator[Need, tuple[Trace, ...], Candidate | None]:
        """A child of a candidate from the front, if reflection on these examples makes it better on
        them.
        """
        led = front([it.scores for it in self.candidates])
        (at,) = self.rng.choices([*led], [*led.values()])
        parent = self.candidates[at]
        before = yield from scored(
            self.task, parent.version, rows, f"{label}/parent", self.best, phase
        )
        if all(value >= self.perfect for value in before.values.values()):
            return None
        told, steps = steps_of(before.rows), self.task.program.predictors
        ran = [name for name in steps if any(it.step == name for _, taken in told for it in taken)]
        if not ran:
            return None
        name = ran[parent.turn % len(ran)]
        self.candidates[at] = attrs.evolve(parent, turn=parent.turn + 1)
        own = instruction(self.task.program, parent.version, name)
        inputs = {
            "task": task_of(steps[name]),
            "present": own,
            "runs": reports(told, name, self.rng),
        }
        rollouts = [self.ask.asked(self.write, inputs, turn)]
        for it in (yield from proposed(rollouts, f"{label}/reflect", self.best)):
            child = self._child(
                {**parent.texts, name: it}, (at,), f"instruction of {name} rewritten from its runs"
            )
            if child is None:
                continue
            after = yield from scored(
                self.task, child.version, rows, f"{label}/child", self.best, phase
            )
            if _gain(before, after) > 0:
                return child
        return None

    def crossing(self) -> Triple | None:
        """Two candidates of the front that can be merged, and their common ancestor; none that was
        tried before.
        """
        led = [*front([it.scores for it in self.candidates])]
        parents = [it.parents for it in self.candidates]
        for _ in range(_TRIES if len(led) > 1 else 0):
            one, other = sorted(self.rng.sample(led, 2))
            above = ancestors(parents, one) & ancestors(parents, other)
            if one in ancestors(parents, other) or not above:
                continue
            fit = [at for at in sorted(above) if self._apart(one, other, at)]
            if fit:
                weights = [max(self.candidates[at].mean, 0) + 1e-9 for at in fit]
                (at,) = self.rng.choices(fit, weights)
                self.crossed.add((one, other, at))
                return one, other, at
        return None

    def merged(
        self, cross: Triple, label: str
    ) -> Generator[Need, tuple[Trace, ...], Candidate | None]:
        """The merged candidate, if on a few selection examples it is no worse than the better of
        the two.
        """
        one, other, ancestor = (self.candidates[at] for at in cross)
        better, worse = (one, other) if one.mean >= other.mean else (other, one)
        texts = {**ancestor.texts, **_changed(ancestor, worse), **_changed(ancestor, better)}
        child = self._child(texts, cross[:2], "instructions of two candidates merged")
        names = self._gate(one.scores, other.scores)
        if child is None or not names:
            return None
        rows = [row for row in self.task.data.select if example_id(row) in names]
        found = yield from scored(
            self.task, child.version, rows, f"{label}/merged", self.best, "merge"
        )
        reached = _by_example(found)
        asked = [name for name in names if name in reached]
        mine, *theirs = (
            math.fsum(it[name] for name in asked) for it in (reached, one.scores, other.scores)
        )
        return child if asked and mine >= max(theirs) else None

    def _child(
        self, texts: Mapping[str, Proposal], parents: tuple[int, ...], note: str
    ) -> Candidate | None:
        """A candidate with these instructions; ``None`` where there is one like it."""
        version = with_instructions(self.task.version, texts, note)
        if any(version.tree == it.version.tree for it in self.candidates):
            return None
        return Candidate(
            version, texts, parents=parents, turn=max(self.candidates[at].turn for at in parents)
        )

    def _apart(self, one: int, other: int, ancestor: int) -> bool:
        """Whether two candidates are no worse than their ancestor, and differ from it in different
        steps.
        """
        a, b, old = (self.candidates[at] for at in (one, other, ancestor))
        changed = (_changed(old, a), _changed(old, b))
        new = (one, other, ancestor) not in self.crossed
        return new and old.mean <= min(a.mean, b.mean) and changed[0].keys() != changed[1].keys()

    def _gate(self, a: Mapping[str, float], b: Mapping[str, float]) -> list[str]:
        """Some of the selection examples, as far as there are from each of: one is better, the
        other is, neither.
        """
        kinds: dict[int, list[str]] = {}
        for name in [name for name in a if name in b]:
            kinds.setdefault((a[name] > b[name]) - (a[name] < b[name]), []).append(name)
        for names in kinds.values():
            self.rng.shuffle(names)
        turns = zip_longest(*(kinds[kind] for kind in sorted(kinds)))
        return [name for turn in turns for name in turn if name is not None][:_GATE]


def _changed(old: Candidate, new: Candidate) -> dict[str, Proposal]:
    """The instructions of a descendant that its ancestor hasn't."""
    return {
        step: it
        for step, it in new.texts.items()
        if step not in old.texts or old.texts[step].text != it.text
    }


def _candidate(found: Candidate, scores: Scores) -> Candidate:
    return attrs.evolve(found, scores=_by_example(scores))


def _by_example(scores: Scores) -> dict[str, float]:
    return {
        example_id(row.rollout.example): row.value for row in scores.rows if row.value is not None
    }


def _gain(before: Scores, after: Scores) -> float:
    """How much better the second is in all, on the examples on which both count."""
    old, new = before.values, after.values
    return math.fsum(new[label] - old[label] for label in old if label in new)
