"""Demonstrations for the steps of a program: from labelled examples, and from runs that went well."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from lmflow.data.dataset import example_id
from lmflow.optimizers.parts.plan import Need, PlannedRollout, Task
from lmflow.optimizers.parts.scoring import Best, Scored, measured
from lmflow.programs.program import Predict, Program, completed
from lmflow.replays.steps import Taken, completed_steps
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

HOT = 1.0  # the temperature of another try (Khattab et al. 2023, section 4)


@attrs.frozen
class Demo:
    """A demonstration for one step, and where it comes from: the example, the rollout and the
    address in it.
    """

    record: Record
    example: str
    rollout: str = ""
    address: str = ""

    @property
    def origin(self) -> dict[str, str]:
        """Where it comes from, as a version keeps it."""
        return attrs.asdict(
            self, filter=lambda field, value: field.name != "record" and bool(value)
        )


DemoSet = Mapping[str, tuple[Demo, ...]]


@attrs.frozen
class Success:
    """An example that the teacher did well, with what each step did."""

    example: str
    demos: DemoSet


@attrs.frozen
class Bootstrap:
    """How many good runs are wanted, how often an example is tried, and from which score on a run
    is good.
    """

    want: int
    rounds: int = 1
    threshold: float | None = None


def labelled(program: Program, examples: Iterable[Record]) -> dict[str, tuple[Demo, ...]]:
    """Per step the examples that show it something: at least one of its inputs and one of its
    outputs.
    """
    rows = list(examples)
    return {name: tuple(_shown(step, rows)) for name, step in program.predictors.items()}


def with_demos(
    version: Version,
    chosen: DemoSet,
    note: str,
    *,
    slot: str = "demos",
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Version:
    """A child version with these demonstrations, each with its origin, and ``more``; ``slot`` is
    ``demos`` or ``pool``.
    """
    changes: dict[str, Any] = {
        f"{step}.{slot}": tuple(demo.record for demo in demos) for step, demos in chosen.items()
    }
    origin = {
        f"{step}.{slot}": tuple(demo.origin for demo in demos) for step, demos in chosen.items()
    }
    return version.put({**changes, **more}, note=note, origin=origin)


def bare(program: Program, version: Version, note: str) -> Version:
    """The version without demonstrations; itself where it has none."""
    full = completed(program, version)
    has = [step for step in program.predictors if full[f"{step}.demos"]]
    return with_demos(version, dict.fromkeys(has, ()), note) if has else version


def without(chosen: DemoSet, example: str) -> DemoSet:
    """The demonstrations that don't come from an example: it may not be shown its own answer."""
    return {
        step: tuple(demo for demo in demos if demo.example != example)
        for step, demos in chosen.items()
    }


def sampled(rng: random.Random, pool: DemoSet, k: int) -> DemoSet:
    """At most ``k`` of each step's demonstrations, at random."""
    return {step: tuple(rng.sample(demos, min(k, len(demos)))) for step, demos in pool.items()}


def filled(boot: Sequence[Success], pool: DemoSet, labels: int, rng: random.Random) -> DemoSet:
    """Per step what the successes show, then labelled examples that are not among them, up to
    ``labels`` in all.
    """
    used = {success.example for success in boot}
    first = {
        step: tuple(d for success in boot for d in success.demos.get(step, ())) for step in pool
    }
    rest = {
        step: tuple(demo for demo in demos if demo.example not in used)
        for step, demos in pool.items()
    }
    more = {
        step: rng.sample(rest[step], max(0, min(labels - len(first[step]), len(rest[step]))))
        for step in pool
    }
    return {step: (*first[step], *more[step]) for step in pool}


@attrs.frozen
class Teacher:
    """Who shows how it is done: a program and a version of it, with demonstrations of its own
    beside the version's.
    """

    program: Program
    version: Version
    demos: DemoSet

    def rollout(self, example: Record, attempt: int) -> PlannedRollout:
        """The teacher on an example, without demonstrations of that example; later attempts at a
        high temperature.
        """
        shown = {
            step: demos for step, demos in without(self.demos, example_id(example)).items() if demos
        }
        changes: dict[str, Any] = {
            f"{step}.demos": tuple(d.record for d in demos) for step, demos in shown.items()
        }
        if attempt:
            full = completed(self.program, self.version)
            paths = [f"{step}.options" for step in self.program.predictors]
            changes |= {path: full[path] | {"temperature": HOT} for path in paths}
        version = (
            adapted(self.program, self.version, changes, "teacher") if changes else self.version
        )
        return PlannedRollout(self.program, version, example, attempt)


def adapted(program: Program, version: Version, changes: Mapping[str, Any], note: str) -> Version:
    """A child version with changes also of paths that it leaves to the program's defaults."""
    return Version(params=completed(program, version) | changes, parents=(version.id,), note=note)


def bootstrapped(  # noqa: PLR0913, PLR0917 - the state of a search
    task: Task,
    teacher: Teacher,
    train: Sequence[Record],
    how: Bootstrap,
    label: str,
    best: Best,
    rng: random.Random,
) -> Generator[Need, tuple[Trace, ...], tuple[Success, ...]]:
    """The first ``how.want`` examples that the teacher does well, in order, each tried at most
    ``how.rounds`` times.

    As many as are still wanted are asked for side by side: no more rollouts than one by one (DSPy's
    bootstrap).
    """
    waiting = iter(train)
    active: list[tuple[Record, int]] = []
    found: dict[str, Success] = {}
    while len(found) < how.want:
        while len(active) < how.want - len(found) and (example := next(waiting, None)) is not None:
            active.append((example, 0))
        if not active:
            break
        asked = [teacher.rollout(example, attempt) for example, attempt in active]
        rows = yield from measured(task.metric, asked, label, best, "bootstrap")
        for row in rows:
            if succeeded(row, how.threshold):
                found[example_id(row.rollout.example)] = success(task.program, row, rng)
        again = [
            (example, attempt + 1)
            for example, attempt in active
            if example_id(example) not in found
        ]
        active = [(example, attempt) for example, attempt in again if attempt < how.rounds]
    return tuple(found[name] for example in train if (name := example_id(example)) in found)


def succeeded(row: Scored, threshold: float | None) -> bool:
    """Whether a score is at least the threshold; without one, whether it is more than 0."""
    if row.score is None:
        return False
    return row.score.value > 0 if threshold is None else row.score.value >= threshold


def success(program: Program, row: Scored, rng: random.Random) -> Success:
    """What each of the program's steps did in a run that went well; of several calls of one step
    one is kept, half the time the last, else an earlier one.
    """
    name, steps = example_id(row.rollout.example), program.predictors
    calls: dict[str, list[Taken]] = {}
    for call in completed_steps(row.trace, row.rollout.program):
        if call.step in steps:
            calls.setdefault(call.step, []).append(call)
    kept = {step: _one(found, rng) for step, found in calls.items()}
    return Success(
        name,
        {
            step: (Demo(it.inputs | it.outputs, name, row.rollout.key, it.address),)
            for step, it in kept.items()
        },
    )


def _one(found: Sequence[Taken], rng: random.Random) -> Taken:
    return found[-1] if len(found) == 1 or rng.random() < 0.5 else rng.choice(found[:-1])  # noqa: PLR2004 - a half


def _shown(step: Predict, examples: Sequence[Record]) -> Generator[Demo, Any, None]:
    sides = [
        [field.name for field in side] for side in (step.signature.inputs, step.signature.outputs)
    ]
    for example in examples:
        if all(any(name in example for name in side) for side in sides):
            yield Demo(example.only(*sides[0], *sides[1]), example_id(example))
