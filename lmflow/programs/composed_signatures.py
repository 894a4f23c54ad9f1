"""Signatures of composed programs: what a pipe, or programs side by side, need and return."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from lmflow.errors import MissingInput
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import HasSignature, Signature


def piped(parts: Iterable[HasSignature]) -> Signature:
    """The signature of parts one after the other: outputs feed the inputs of later parts.

    ``MissingInput`` if a required input has nearly, but not exactly, the name of an earlier output:
    that is a typo rather than one more input of the pipe.
    """
    inputs: dict[str, Field] = {}
    outputs: dict[str, Field] = {}
    for part in parts:
        for field in part.signature.inputs:
            if field.name in outputs:
                continue
            others = [name for name in outputs if _stem(name) != _stem(field.name)]
            if field.required and difflib.get_close_matches(field.name, others, n=1, cutoff=0.85):
                raise MissingInput(str(part), field.name, (*inputs, *outputs))
            add_needed(inputs, field)
        outputs |= {field.name: field for field in part.signature.outputs}
    return Signature(tuple(inputs.values()), tuple(outputs.values()))


def needed(parts: Iterable[HasSignature]) -> tuple[Field, ...]:
    """The inputs of parts that all read the same record."""
    inputs: dict[str, Field] = {}
    for part in parts:
        for field in part.signature.inputs:
            add_needed(inputs, field)
    return tuple(inputs.values())


def add_needed(inputs: dict[str, Field], field: Field) -> None:
    """Add an input by name; of two fields with one name a required one takes precedence."""
    if field.name not in inputs or (field.required and not inputs[field.name].required):
        inputs[field.name] = field


def merged(fields: tuple[Field, ...], others: tuple[Field, ...]) -> tuple[Field, ...]:
    """Both tuples of fields; of two fields with one name that of ``others`` takes precedence."""
    names = {field.name for field in others}
    return (*(field for field in fields if field.name not in names), *others)


def _stem(name: str) -> str:
    """The name without numbers and plural s: names that differ only in them are both meant."""
    return re.sub(r"_?\d+", "", name).removesuffix("s")
