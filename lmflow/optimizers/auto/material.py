"""Candidates that cost no proposal: demonstrations from labels and from good runs, another form of
the outputs, a shorter instruction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.optimizers.auto.arms import DEMOS, FORMAT, INSTRUCTION, Arm, Choice
from lmflow.optimizers.auto.model import Weights
from lmflow.optimizers.auto.search import Search
from lmflow.optimizers.parts.bootstrap import success_of
from lmflow.optimizers.parts.demos import Demo, DemoSet, labelled_demos, records_of, sample_demos
from lmflow.programs.parameters import complete_params

SIZES = (8, 4, 16)
"""The numbers of labelled demonstrations that are tried at first."""

HARVESTED = 4
"""The most demonstrations a step from good runs."""

_LABELLED_IN_POOL = 8
_DRAWS = 5
_OTHER_FORM = {"json": "chat"}
_NEAREST_POOL = 200
_MORE_DRAWS = 3

Bundle = Mapping[int, Arm]
"""Arms of several coordinates that are tried together."""


def free_bundles(search: Search) -> Iterator[Bundle]:
    """Yield the candidates that cost no proposal, the likeliest to help first."""
    labelled = labelled_demos(search.task.program, search.task.data.train)
    if len(search.task.program.predictors) > 1:
        # The labels of the examples are demonstrations of the last step alone.
        yield _harvested(search)
        yield _labelled(search, labelled, SIZES[0])
    else:
        yield _labelled(search, labelled, SIZES[0])
        yield _harvested(search)
    yield _labelled(search, labelled, SIZES[1])
    yield _nearest(search, labelled)
    yield _other_form(search)
    yield _labelled(search, labelled, SIZES[2])
    yield _shorter(search)
    yield _without_demos(search)
    for _ in range(_MORE_DRAWS):
        yield _labelled(search, labelled, SIZES[1])


def open_bundle(search: Search, bundle: Bundle) -> Choice:
    """Open the arms of a bundle; return the choice that takes all of those that are new."""
    choice = list(search.arms.zero)
    for at, arm in bundle.items():
        position = open_arm(search, at, arm)
        if position is not None:
            choice[at] = position
    return tuple(choice)


def open_arm(
    search: Search, at: int, arm: Arm, kind: str = "", parent: Weights | None = None
) -> int | None:
    """Open an arm with a column of its own kind, beside the effect of its parent, if it has one;
    return its position, ``None`` if there is an equal arm.
    """
    coordinate = search.arms.coordinates[at]
    if coordinate.has(arm):
        return None
    model, kind = search.fitted.model, kind or coordinate.kind
    weights = dict(parent or {})
    if arm.is_drawn and kind in model.mean_of:
        mean = model.mean_of[kind]
        weights[mean] = weights.get(mean, 0.0) + 1.0
    weights[model.add_column(kind)] = 1.0
    return coordinate.add(attrs.evolve(arm, weights=weights))


def demos_arm(step: str, demos: Sequence[Demo], note: str) -> Arm:
    """Make the arm that shows demonstrations."""
    path = f"{step}.demos"
    return Arm(
        {path: records_of(demos)},
        {path: tuple(demo.origin for demo in demos)},
        hidden=frozenset(demo.example for demo in demos),
        note=note,
    )


def draw_demos(search: Search, step: str, size: int) -> Sequence[Demo]:
    """Draw demonstrations of a step from good runs and from a few labelled examples."""
    task = search.task
    successes = [demo for demos in _good_runs(search) for demo in demos.get(step, ())]
    used = {demo.example for demo in successes}
    labelled = [
        demo
        for demo in labelled_demos(task.program, task.data.train)[step]
        if demo.example not in used
    ]
    some = search.rng.sample(labelled, min(_LABELLED_IN_POOL, len(labelled)))
    pool = [*successes, *some]
    return search.rng.sample(pool, min(size, len(pool)))


def new_demos(search: Search, at: int) -> int | None:
    """Open an arm with other demonstrations; return its position, ``None`` if there is nothing
    new.
    """
    coordinate = search.arms.coordinates[at]
    for _ in range(_DRAWS):
        size = search.rng.choice([HARVESTED, HARVESTED, SIZES[0]])
        demos = draw_demos(search, coordinate.step, size)
        known = [arm.changes.get(f"{coordinate.step}.demos") for arm in coordinate.arms]
        if demos and records_of(demos) not in known:
            arm = demos_arm(coordinate.step, demos, f"{len(demos)} demonstrations")
            return open_arm(search, at, arm)
    return None


def _good_runs(search: Search) -> list[DemoSet]:
    """Return what the steps did in each run that went well; a run is driven again but once."""
    for example, row in search.successes.items():
        if example not in search.mined:
            search.mined[example] = success_of(search.task.program, row, search.rng).demos
    return list(search.mined.values())


def _labelled(search: Search, labelled: Mapping[str, Sequence[Demo]], size: int) -> Bundle:
    chosen = sample_demos(
        search.rng, {step: tuple(demos) for step, demos in labelled.items()}, size
    )
    return {
        search.arms.at(step, DEMOS): demos_arm(step, demos, f"{len(demos)} labelled demonstrations")
        for step, demos in chosen.items()
        if demos
    }


def _harvested(search: Search) -> Bundle:
    """Show what the steps did in runs that went well."""
    runs = _good_runs(search)
    demos_of: dict[str, list[Demo]] = {}
    for run in search.rng.sample(runs, min(HARVESTED, len(runs))):
        for step, demos in run.items():
            demos_of.setdefault(step, []).extend(demos)
    return {
        search.arms.at(step, DEMOS): demos_arm(
            step, demos, f"{len(demos)} demonstrations from runs that went well"
        )
        for step, demos in demos_of.items()
    }


def _nearest(search: Search, labelled: Mapping[str, Sequence[Demo]]) -> Bundle:
    """Fill the pools of steps that choose their demonstrations by the words of their inputs."""
    bundle: dict[int, Arm] = {}
    for name, step in search.task.program.predictors.items():
        pool = list(labelled[name])[:_NEAREST_POOL]
        if step.nearest and not step.similar and pool:
            arm = demos_arm(name, pool, f"a pool of {len(pool)} labelled demonstrations")
            path = f"{name}.pool"
            changes = {path: records_of(pool)}
            origin = {path: arm.origin[f"{name}.demos"]}
            bundle[search.arms.at(name, DEMOS)] = attrs.evolve(arm, changes=changes, origin=origin)
    return bundle


def _other_form(search: Search) -> Bundle:
    """Ask for the outputs of all steps in another form."""
    program, bundle = search.task.program, dict[int, Arm]()
    params = complete_params(program, search.task.version)
    for step in program.predictors:
        path = f"{step}.adapter"
        if path in params:
            form = _OTHER_FORM.get(params[path], "json")
            arm = Arm({path: form}, note=f"outputs as {form}")
            bundle[search.arms.at(step, FORMAT)] = arm
    return bundle


def _shorter(search: Search) -> Bundle:
    """Give each step the first sentence of its instruction alone."""
    program, bundle = search.task.program, dict[int, Arm]()
    params = complete_params(program, search.task.version)
    for step in program.predictors:
        path = f"{step}.instruction"
        first, *rest = re.split(r"(?<=[.!?])\s+", str(params[path]).strip(), maxsplit=1)
        if rest:
            # It is no proposal, so the mean of proposals says nothing about it.
            arm = Arm({path: first}, note="the first sentence alone", is_drawn=False)
            bundle[search.arms.at(step, INSTRUCTION)] = arm
    return bundle


def _without_demos(search: Search) -> Bundle:
    """Take away the demonstrations that the start version has."""
    program = search.task.program
    params: Any = complete_params(program, search.task.version)
    return {
        search.arms.at(step, DEMOS): demos_arm(step, (), "no demonstrations")
        for step in program.predictors
        if params[f"{step}.demos"]
    }
