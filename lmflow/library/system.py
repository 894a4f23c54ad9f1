"""The abstract base of shipped systems: composed programs under a name of their own."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.library.composed import child_programs, field_values, identity_of
from lmflow.programs.program import NamedComposition, Program, check_named
from lmflow.signatures.signature import Signature


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class System(NamedComposition):
    """A named program whose fields are all that it is made of. Abstract: subclasses have a body."""

    @property
    def children(self) -> tuple[Program, ...]:
        """The programs in the system's fields, in order."""
        return child_programs(self)

    @property
    def identity(self) -> Any:
        """The class name, the signature and the identity of each field."""
        fields = map(identity_of, field_values(self))
        return [type(self).__name__, self.signature.identity, *fields]

    def named(self, name: str) -> Program:
        """Return the system under another name, so with parameters of its own.

        Args:
            name: The new name.

        Returns:
            The renamed system, with parameters ``name.step.slot``.

        Raises:
            BadSignature: The name is invalid.
        """
        return attrs.evolve(self, name=name)


def set_system_signature(system: System, signature: Signature) -> None:
    """Give a system its signature while it is made.

    Raises ``BadSignature`` if its name can't be a step's, ``DuplicateStep`` if two of its steps
    share a name.
    """
    object.__setattr__(system, "signature", signature)
    check_named(system)
