"""Flows: async functions that await programs."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import attrs

from lmflow.errors import UndeclaredProgram
from lmflow.programs.program import Body, NamedProgram, Program, check_named
from lmflow.signatures.signature import Signature
from lmflow.values.functions import Function
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Flow(NamedProgram):
    """An async function that awaits the programs in ``uses``, and nothing else."""

    name: str
    signature: Signature
    function: Function
    uses: tuple[Program, ...] = ()

    def __attrs_post_init__(self) -> None:
        check_named(self)

    @property
    def children(self) -> tuple[Program, ...]:
        """The programs that the function declares to use."""
        return self.uses

    @property
    def identity(self) -> Any:
        """Name, signature, source and the programs in ``uses``."""
        used = [child.identity for child in self.uses]
        return ["Flow", self.name, self.signature.identity, self.function.identity, used]

    @functools.cached_property
    def members(self) -> frozenset[Program]:
        """The programs that the function may await: those in ``uses`` and their parts."""
        return frozenset(part for used in self.uses for part in walk(used))

    def body(self, inputs: Record) -> Body:
        """Start the function."""
        coroutine: Body = self.function.call(**inputs)
        return coroutine

    def check(self, program: Program) -> None:
        """Raise ``UndeclaredProgram`` if a program isn't composed of declared ones."""
        if program in self.members:
            return
        if program.frame or not program.children:
            raise UndeclaredProgram(self.name, str(program))
        for child in program.children:
            self.check(child)


def walk(program: Program) -> Iterator[Program]:
    """Visit the program and all its parts, depth first, in program order."""
    yield program
    for child in program.children:
        yield from walk(child)
