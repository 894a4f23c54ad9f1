"""The abstract base of shipped programs: children and identity are read off the fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from lmflow.programs.program import Program
from lmflow.signatures.signature import Signature
from lmflow.values.functions import Function
from lmflow.versions.version import Version


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Composed(Program):
    """A program whose fields are all that it is made of. Abstract: subclasses have a ``body``."""

    @property
    def children(self) -> tuple[Program, ...]:
        """The programs in its fields, in order."""
        return child_programs(self)

    @property
    def identity(self) -> Any:
        """The class name and the identity of each field, as JSON values."""
        return [type(self).__name__, *map(identity_of, field_values(self))]


def set_signature(program: Program, signature: Signature) -> None:
    """Give a program its signature while it is made.

    Raises ``DuplicateStep`` if two of its steps share a name.
    """
    object.__setattr__(program, "signature", signature)
    _ = program.steps


def child_programs(program: Program) -> tuple[Program, ...]:
    """Return the programs in a program's fields, in order."""
    return tuple(child for value in field_values(program) for child in programs_in(value))


def field_values(program: Program) -> list[Any]:
    """Return the values that a program was made with, in order."""
    return [getattr(program, field.name) for field in attrs.fields(type(program)) if field.init]


def programs_in(value: Any) -> Iterator[Program]:
    """Yield the programs in a field's value."""
    if isinstance(value, Program):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from programs_in(item)


def identity_of(value: Any) -> Any:
    """Return what a field's value adds to a program's key, as JSON values."""
    if isinstance(value, (Program, Function)):
        return value.identity
    if isinstance(value, Version):
        return value.tree
    return [identity_of(item) for item in value] if isinstance(value, tuple) else value
