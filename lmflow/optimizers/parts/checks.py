"""Checks of options, proposers, teachers and examples, made before anything is paid."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lmflow.data.dataset import Dataset, example_id
from lmflow.errors import BadData, MissingInput
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Predict, Program, pending_of
from lmflow.versions.version import Version

Requirement = Callable[[Program, Any], None]
"""Raises an error if a program, or the traces that an optimizer is given, lack what it needs."""

_COUNTS = frozenset(
    {
        "attempts", "batch", "block", "breadth", "calls", "candidates", "count", "depth",
        "examples", "factor", "finalists", "folds", "full_every", "instructions", "iterations", "k",
        "max_bootstrapped", "max_calls", "max_demos", "max_labeled", "max_tokens", "merges",
        "minibatch", "reserved", "rounds", "rules", "select", "sets", "size", "steps", "tokens",
        "trials", "invented", "rank", "epochs", "longest",
    }
)  # fmt: skip
_POSITIVE = frozenset({"block", "full_every", "instructions", "minibatch", "sets"})
_NAMES = frozenset({("bootstrap_finetune", "steps")})  # those of steps of a program
_NUMBERS = frozenset({"headroom", "perfect", "stop_at", "temperature", "theta", "threshold", "usd"})


def check_option(optimizer: str, option: str, value: Any) -> None:
    """Raise ``TypeError`` if a count or a number is something else, ``ValueError`` if a count is
    too small.
    """
    name = f"{optimizer}({option}=...)"
    if option in _COUNTS and value is not None and (optimizer, option) not in _NAMES:
        _require(isinstance(value, int) and not isinstance(value, bool), name, "a count", value)
        least = 1 if option in _POSITIVE else 0
        if value < least:
            msg = f"{name} must be {least} or more, found {value}"
            raise ValueError(msg)
    if option in _NUMBERS and value is not None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        _require(is_number and math.isfinite(value), name, "a number", value)


def check_proposer(optimizer: str, proposer: Predict, *names: str) -> None:
    """Raise ``MissingInput`` if a proposer requires another input than those it is given."""
    for field in proposer.signature.inputs:
        if field.required and field.name not in names:
            raise MissingInput(f"the proposer {proposer} of {optimizer}", field.name, names)


def check_examples(program: Program, examples: Dataset, part: str) -> None:
    """Raise ``BadData`` if an example lacks an input of the program that will run on it."""
    for example in examples:
        try:
            pending_of(program, example)
        except MissingInput as missing:
            problem = f"the example {example_id(example)!r} in `{part}`: {missing}"
            fix = "Each example needs the inputs of the program."
            raise BadData("the data", problem, fix) from None


def runs_on(
    *parts: str, teacher: Any = None, extra: Callable[[], Any] | None = None
) -> Requirement:
    """Make the check of a plan that runs the program on examples of these parts, and needs an
    extra; the training data is run by the teacher.
    """

    def requires(program: Program, traces: Any) -> None:
        if extra is not None:
            extra()
        for part in parts:
            if part == "train":
                check_teacher(program, traces.data.train, teacher)
            else:
                check_examples(program, getattr(traces.data, part), part)

    return requires


def check_teacher(program: Program, train: Dataset, teacher: Any) -> None:
    """Raise ``ForeignPaths`` if the program lacks a path of a teacher's version, ``BadData`` if a
    training example lacks an input of the program that teaches.
    """
    check_examples(teacher if isinstance(teacher, Program) else program, train, "train")
    if isinstance(teacher, Version):
        complete_params(program, teacher)


def checked_version(program: Program, version: Version) -> Version:
    """Return the version if the program has all of its paths, else raise ``ForeignPaths``."""
    complete_params(program, version)
    return version


def _require(holds: bool, name: str, kind: str, value: Any) -> None:  # noqa: FBT001 - a condition
    if not holds:
        msg = f"{name} is {kind}, found {value!r}"
        raise TypeError(msg)
