"""The paths that a version may have and that have no default: those by which steps choose, and the
descriptions of outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lmflow.errors import BadParameter
from lmflow.signatures.choices import THRESHOLD, WEIGHTS, choice_of, decision_slots

OUTPUTS = "outputs"
"""The slot by which a version may describe a step's outputs: name -> description."""

_MOST = 1e12
_LEAST = 1e-12


# The programs are not typed here: their module imports this one.
def optional_paths(program: Any) -> tuple[str, ...]:
    """Return the paths of the decisions of a program's steps."""
    return tuple(
        f"{name}.{slot}"
        for name, step in program.predictors.items()
        for slot in decision_slots(step.signature)
    )


def description_paths(program: Any) -> tuple[str, ...]:
    """Return the paths of the descriptions of outputs; a step that calls tools has none."""
    steps = program.predictors.items()
    return tuple(f"{name}.{OUTPUTS}" for name, step in steps if "tools" not in step.slots)


def known_paths(program: Any) -> tuple[str, ...]:
    """Return all paths that a version of a program's parameters may have."""
    return (*program.paths, *optional_paths(program), *description_paths(program))


def check_decisions(program: Any, params: Mapping[str, Any]) -> None:
    """Raise ``BadParameter`` if a threshold or weights can't decide, or descriptions describe no
    output.
    """
    for path in description_paths(program):
        _check_descriptions(program, path, params.get(path))
    for path in optional_paths(program):
        value = params.get(path)
        if value is None:
            continue
        name, _, slot = path.rpartition(".")
        choice = choice_of(program.predictors[name].signature)
        labels = choice.labels if choice else ()
        if slot == THRESHOLD and not _is_number(value, 0.0, 1.0):
            raise BadParameter(path, value, "a number from 0 to 1, or None for none")
        if slot == WEIGHTS and not _are_weights(value, labels):
            expected = f"numbers above 0 by some of the values {', '.join(labels)}"
            raise BadParameter(path, value, expected)


def _check_descriptions(program: Any, path: str, value: Any) -> None:
    name, _, _ = path.rpartition(".")
    outputs = [field.name for field in program.predictors[name].signature.outputs]
    is_map = isinstance(value, Mapping) and set(value) <= set(outputs)
    if value is None or (is_map and all(isinstance(text, str) for text in value.values())):
        return
    raise BadParameter(path, value, f"texts by some of the outputs {', '.join(outputs)}")


def _is_number(value: Any, low: float, high: float) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and low <= value <= high


def _are_weights(value: Any, labels: Iterable[str]) -> bool:
    if not isinstance(value, Mapping) or not set(value) <= set(labels):
        return False
    return all(_is_number(weight, _LEAST, _MOST) for weight in value.values())
