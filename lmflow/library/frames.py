"""What the shipped systems share: a named frame of steps, and a search program that they are given."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.errors import BadSignature
from lmflow.library.search.samples import fields_of, identity_of, programs_in
from lmflow.programs.program import Program
from lmflow.signatures.signature import Field, Signature, first_missing


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class System(Program):
    """What the systems share. Abstract: a program under a name, with parameters ``name.step.slot``."""

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def frame(self) -> str:
        """Its name."""
        return self.name

    @property
    def prefix(self) -> str:
        """Its name and a dot."""
        return f"{self.name}."

    @property
    def children(self) -> tuple[Program, ...]:
        """Its steps, and the programs that it is given."""
        return tuple(found for value in fields_of(self) for found in programs_in(value))

    @property
    def identity(self) -> Any:
        """All that it is made of."""
        return [
            type(self).__name__,
            self.signature.identity,
            *(identity_of(value) for value in fields_of(self)),
        ]

    def named(self, name: str) -> Program:
        """The same system under another name, so with parameters of its own, ``name.step.slot``."""
        return attrs.evolve(self, name=name)


def signed(system: System, signature: Signature) -> None:
    """Give a system its signature while it is made. ``BadSignature``, ``DuplicateStep`` where it
    can't be.
    """
    Signature((), (Field(name=system.name),))
    object.__setattr__(system, "signature", signature)
    _ = system.steps


def searching(search: Program) -> Program:
    """A search program: ``query -> context: list[str], sources: list[str]``. ``BadSignature`` where
    it isn't one.
    """
    text = str(search.signature)
    fix = 'Give lf.retrieve(corpus), or lf.tool("search", "query -> context: list[str], sources: list[str]", ...).'
    if missing := first_missing(search.signature.inputs, ["query"]):
        raise BadSignature(text, f"a search takes a query alone, this one needs {missing!r}", fix)
    made = {field.name for field in search.signature.outputs}
    if lacking := sorted({"context", "sources"} - made) or "query" not in {
        f.name for f in search.signature.inputs
    }:
        raise BadSignature(
            text, f"a search reads query and gives context and sources; it lacks {lacking}", fix
        )
    return search
