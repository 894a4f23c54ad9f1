"""Bootstrapping: demonstrations from a teacher's runs that went well (Khattab et al. 2023, arXiv
2310.03714, section 4).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.data.dataset import example_id
from lmflow.optimizers.parts.demos import Demo, DemoSet, Success, records_of, without_example
from lmflow.optimizers.parts.needs import Need, PlannedRollout
from lmflow.optimizers.parts.plan import Task
from lmflow.optimizers.parts.scoring import Best, ScoredRollout, score_rollouts
from lmflow.programs.parameters import complete_params, init
from lmflow.programs.program import Program
from lmflow.replays.steps import RecordedStep, completed_steps
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

HIGH_TEMPERATURE = 1.0
"""The temperature of a repeated try (Khattab et al. 2023, section 4)."""

_LAST_CALL_SHARE = 0.5  # how often the last of several calls of a step becomes its demonstration

TeacherSource = Version | Program | str | None
"""The teacher as a user names it: a version, a program, a model, or ``None`` for the start."""


@attrs.frozen
class Bootstrap:
    """Options of a bootstrap: the number of successes wanted, the tries an example gets, the score
    from which a run is a success, and the most examples that are tried (all if ``None``).
    """

    count: int
    rounds: int = 1
    threshold: float | None = None
    examples: int | None = None


@attrs.frozen
class Teacher:
    """A program under a version, with demonstrations that it is shown beside those of the
    version.
    """

    program: Program
    version: Version
    demos: DemoSet

    def rollout(self, example: Record, attempt: int) -> PlannedRollout:
        """Plan a run of the teacher on an example without demonstrations of that example; attempts
        after the first run at a high temperature.
        """
        shown = without_example(self.demos, example_id(example))
        changes: dict[str, Any] = {
            f"{step}.demos": records_of(demos) for step, demos in shown.items() if demos
        }
        if attempt:
            changes |= hot_options(self.program, self.version)
        if not changes:
            return PlannedRollout(self.program, self.version, example, attempt)
        version = adapt_version(self.program, self.version, changes, "teacher")
        return PlannedRollout(self.program, version, example, attempt)


def make_teacher(
    program: Program, start: Version, source: TeacherSource, demos: DemoSet
) -> Teacher:
    """Make the teacher that ``source`` names. A teacher whose version has demonstrations is given
    no others.
    """
    if isinstance(source, Program):
        return Teacher(source, init(source), {})
    version = source if isinstance(source, Version) else start
    if isinstance(source, str):
        models = {f"{step}.model": source for step in program.predictors}
        version = adapt_version(program, start, models, f"taught by {source}")
    params = complete_params(program, version)
    has_own = any(params[f"{step}.demos"] for step in program.predictors)
    return Teacher(program, version, {} if has_own else demos)


def adapt_version(
    program: Program, version: Version, changes: Mapping[str, Any], note: str
) -> Version:
    """Make a child version with changes, also of paths that the version leaves to the program's
    defaults.
    """
    return Version(
        params=complete_params(program, version) | changes, parents=(version.id,), note=note
    )


def hot_options(program: Program, version: Version) -> dict[str, Any]:
    """Return the changes that set the temperature of each step so high that runs differ."""
    params = complete_params(program, version)
    paths = [f"{step}.options" for step in program.predictors]
    return {path: params[path] | {"temperature": HIGH_TEMPERATURE} for path in paths}


def bootstrap_demos(  # noqa: PLR0913, PLR0917 - the state of a search
    task: Task,
    teacher: Teacher,
    train: Sequence[Record],
    options: Bootstrap,
    label: str,
    best: Best,
    rng: random.Random,
) -> Generator[Need, tuple[Trace, ...], tuple[Success, ...]]:
    """Find the first ``options.count`` examples on which the teacher succeeds, in order; each is
    tried at most ``options.rounds`` times.

    As many examples as are still wanted run side by side, which needs no more rollouts than one
    after the other (DSPy's bootstrap).
    """
    waiting = itertools.islice(train, options.examples)
    active: list[tuple[Record, int]] = []
    successes: dict[str, Success] = {}
    while len(successes) < options.count:
        free = options.count - len(successes) - len(active)
        active += [(example, 0) for example in itertools.islice(waiting, free)]
        if not active:
            break
        rollouts = [teacher.rollout(example, attempt) for example, attempt in active]
        rows = yield from score_rollouts(task, rollouts, label, best, "bootstrap")
        for row in rows:
            if is_success(row, options.threshold):
                name = example_id(row.rollout.example)
                successes[name] = success_of(task.program, row, rng)
        active = [
            (example, attempt + 1)
            for example, attempt in active
            if example_id(example) not in successes and attempt + 1 < options.rounds
        ]
    return in_order_of(train, successes)


def in_order_of(
    examples: Sequence[Record], successes: Mapping[str, Success]
) -> tuple[Success, ...]:
    """Order successes, given by example id, as their examples are."""
    names = map(example_id, examples)
    return tuple(successes[name] for name in names if name in successes)


def is_success(row: ScoredRollout, threshold: float | None) -> bool:
    """Return whether a score reaches the threshold; without a threshold, whether it is above 0."""
    if row.score is None:
        return False
    return row.score.value > 0 if threshold is None else row.score.value >= threshold


def success_of(program: Program, row: ScoredRollout, rng: random.Random) -> Success:
    """Make demonstrations of each of the program's steps from a run that went well; of several
    calls of a step one is chosen, half the time the last, else an earlier one.
    """
    example, steps = example_id(row.rollout.example), program.predictors
    calls_of: dict[str, list[RecordedStep]] = {}
    for call in completed_steps(row.trace, row.rollout.program):
        if call.step in steps:
            calls_of.setdefault(call.step, []).append(call)
    demos = {}
    for step, calls in calls_of.items():
        call = _choose_call(calls, rng)
        demos[step] = (Demo(call.inputs | call.outputs, example, row.rollout.key, call.address),)
    return Success(example, demos)


def bootstrap_note(successes: Sequence[Success]) -> str:
    """Say for a version's note how many examples its demonstrations come from."""
    return f"demonstrations from {len(successes)} examples that went well"


def _choose_call(calls: Sequence[RecordedStep], rng: random.Random) -> RecordedStep:
    if len(calls) == 1 or rng.random() < _LAST_CALL_SHARE:
        return calls[-1]
    return rng.choice(calls[:-1])
