"""Demonstrations for the steps of a program: making them from labelled examples, choosing among
them, and putting them into versions.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from lmflow.data.dataset import example_id
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Predict, Program
from lmflow.values.record import Record
from lmflow.versions.version import Version


@attrs.frozen
class Demo:
    """A demonstration for one step, and its origin: the example, and the rollout and address if it
    shows a recorded call.
    """

    record: Record
    example: str
    rollout: str = ""
    address: str = ""

    @property
    def origin(self) -> dict[str, str]:
        """The origin as a version records it."""
        return attrs.asdict(
            self, filter=lambda field, value: field.name != "record" and bool(value)
        )


DemoSet = Mapping[str, tuple[Demo, ...]]
"""The demonstrations of each step."""


@attrs.frozen
class Success:
    """An example that went well, with a demonstration from each step's own call."""

    example: str
    demos: DemoSet


def labelled_demos(program: Program, examples: Iterable[Record]) -> dict[str, tuple[Demo, ...]]:
    """Make demonstrations of each step from the examples that have at least one of its inputs and
    one of its outputs.
    """
    rows = list(examples)
    return {name: tuple(_step_demos(step, rows)) for name, step in program.predictors.items()}


def with_demos(
    version: Version,
    chosen: DemoSet,
    note: str,
    *,
    slot: str = "demos",
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Version:
    """Make a child version with these demonstrations, their origins, and the changes in ``more``;
    ``slot`` is ``demos`` or ``pool``.
    """
    changes: dict[str, Any] = {
        f"{step}.{slot}": records_of(demos) for step, demos in chosen.items()
    }
    return version.put({**changes, **more}, note=note, origin=demo_origins(chosen, slot))


def records_of(demos: Iterable[Demo]) -> tuple[Record, ...]:
    """Return the demonstrations as a version holds them."""
    return tuple(demo.record for demo in demos)


def demo_origins(chosen: DemoSet, slot: str = "demos") -> dict[str, Any]:
    """Return the origins of each step's demonstrations, by path."""
    return {
        f"{step}.{slot}": tuple(demo.origin for demo in demos) for step, demos in chosen.items()
    }


def without_demos(program: Program, version: Version, note: str) -> Version:
    """Remove all demonstrations; a version that has none is returned itself."""
    params = complete_params(program, version)
    steps = [step for step in program.predictors if params[f"{step}.demos"]]
    return with_demos(version, dict.fromkeys(steps, ()), note) if steps else version


def without_example(chosen: DemoSet, example: str) -> DemoSet:
    """Remove the demonstrations that come from an example, which must not be shown its own
    answer.
    """
    return {
        step: tuple(demo for demo in demos if demo.example != example)
        for step, demos in chosen.items()
    }


def sample_demos(rng: random.Random, pool: DemoSet, k: int) -> DemoSet:
    """Choose at most ``k`` of each step's demonstrations at random."""
    return {step: tuple(rng.sample(demos, min(k, len(demos)))) for step, demos in pool.items()}


def fill_with_labelled(
    successes: Sequence[Success], pool: DemoSet, most: int, rng: random.Random
) -> DemoSet:
    """Take each step's demonstrations from the successes, then from labelled examples that are not
    among them, up to ``most`` in all.
    """
    used = {success.example for success in successes}
    return {step: _fill_step(step, successes, pool[step], used, most, rng) for step in pool}


def _fill_step(  # noqa: PLR0913, PLR0917 - the parts of one step's list
    step: str,
    successes: Sequence[Success],
    labelled: Sequence[Demo],
    used: set[str],
    most: int,
    rng: random.Random,
) -> tuple[Demo, ...]:
    bootstrapped = [demo for success in successes for demo in success.demos.get(step, ())]
    unused = [demo for demo in labelled if demo.example not in used]
    count = max(0, min(most - len(bootstrapped), len(unused)))
    return (*bootstrapped, *rng.sample(unused, count))


def _step_demos(step: Predict, examples: Sequence[Record]) -> Iterator[Demo]:
    inputs = [field.name for field in step.signature.inputs]
    outputs = [field.name for field in step.signature.outputs]
    for example in examples:
        has_input = any(name in example for name in inputs)
        has_output = any(name in example for name in outputs)
        if has_input and has_output:
            yield Demo(example.only(*inputs, *outputs), example_id(example))
