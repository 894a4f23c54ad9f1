"""The base of search operators, and samples whose failure is a value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors.calling import CallError
from lmflow.library.composed import Composed, set_signature
from lmflow.programs.effects import Fork
from lmflow.programs.program import Program, pending_of
from lmflow.values.record import EMPTY, Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Search(Composed):
    """A program made of a ``part``, with its signature. Abstract. It opens no frame of its own."""

    part: Program

    def __attrs_post_init__(self) -> None:
        set_signature(self, self.part.signature)

    def __str__(self) -> str:
        return f"{_snake_case(type(self).__name__)}({self.part})"


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Sampler(Search):
    """A search operator that is its ``part`` if it may run it only once. Abstract.

    Subclasses have ``runs`` and ``search``.
    """

    @property
    def runs(self) -> int:
        """The most runs of the part."""
        raise NotImplementedError

    async def body(self, inputs: Record) -> Record:
        """Run the part itself if one run is all, else search."""
        if self.runs == 1:
            outputs: Record = await pending_of(self.part, inputs)
            return outputs
        return await self.search(inputs)

    async def search(self, inputs: Record) -> Record:
        """Return the best outputs of several runs of the part."""
        raise NotImplementedError


@attrs.frozen(eq=False)
class Attempt:
    """The outcome of a run of a part: its outputs, or the error that it failed with."""

    outputs: Record | None
    error: CallError | None = None


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Tried(Search):
    """Runs ``part`` and returns an ``Attempt``, so a failed call becomes a value."""

    def __str__(self) -> str:
        return str(self.part)

    async def body(self, inputs: Record) -> Attempt:
        """Return the part's outputs or its failure."""
        try:
            return Attempt(await pending_of(self.part, inputs))
        except CallError as error:
            return Attempt(None, error)


def draw_samples(
    part: Program,
    inputs: Mapping[str, Any],
    start: int,
    stop: int,
    overlay: Mapping[str, Any] = EMPTY,
) -> Fork:
    """Return the fork that draws samples ``start`` to ``stop`` of a part, each an ``Attempt``.

    ``overlay`` replaces parameters of the part, by its own paths.
    """
    pending = pending_of(Tried(part), inputs)
    pending = pending.under(overlay) if overlay else pending
    numbers = range(start, stop)
    return Fork(
        tuple(pending.sampled(number) for number in numbers),
        keys=tuple(map(str, numbers)),
        name="sample",
    )


def successes(attempts: Sequence[Attempt]) -> list[Record]:
    """Return the outputs of the attempts that succeeded; raise the first failure if none did."""
    outputs = [attempt.outputs for attempt in attempts if attempt.outputs is not None]
    if not outputs and attempts and attempts[0].error is not None:
        raise attempts[0].error
    return outputs


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
