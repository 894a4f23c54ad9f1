"""Outputs that hold reasoning, which several steps side by side may have under one name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs
import toolz

from lmflow.programs.program import Program
from lmflow.signatures.fields import Field, Reasoning, metadata_kind

STEP_BY_STEP = "think step by step, briefly"
"""The description of the output that a chain of thought adds to a step."""


def is_reasoning(field: Field) -> bool:
    """Tell whether an output holds how a step came to its others."""
    return field.description == STEP_BY_STEP or metadata_kind(field.type) is Reasoning


def names_of_reasoning(parts: Sequence[Program]) -> tuple[Mapping[str, str], ...]:
    """The new names, per part, of reasoning that other parts have under the same name.

    They are ``step_name``: ``outline_reasoning`` for the reasoning of the step ``outline``.
    """
    names = [field.name for part in parts for field in part.signature.outputs]
    counts = toolz.frequencies(names)
    return tuple(
        {
            field.name: f"{_writer(part, field.name)}_{field.name}"
            for field in part.signature.outputs
            if is_reasoning(field) and counts[field.name] > 1
        }
        for part in parts
    )


def renamed(part: Program, names: Mapping[str, str]) -> list[Field]:
    """The outputs of a part under their new names."""
    outputs = part.signature.outputs
    return [attrs.evolve(field, name=names.get(field.name, field.name)) for field in outputs]


def _writer(part: Program, output: str) -> str:
    """The name of the part, or of the last of its steps that writes the output."""
    steps = [name for name, step in part.steps.items() if output in _outputs(step)]
    name = part.frame or (steps[-1] if steps else str(part))
    return re.sub(r"\W+", "_", name).strip("_").lower()


def _outputs(program: Program) -> set[str]:
    return {field.name for field in program.signature.outputs}
