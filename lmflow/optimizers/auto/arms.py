"""What a search chooses from: for each step and kind of parameter some arms, of which a version
takes one each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from lmflow.optimizers.auto.model import Weights
from lmflow.programs.decisions import OUTPUTS
from lmflow.programs.program import Predict, Program
from lmflow.values.record import Record
from lmflow.versions.version import Version

INSTRUCTION, DEMOS, FORMAT = "instruction", "demos", "format"
"""The kinds of parameters: words, demonstrations, and the form in which outputs are asked for."""

DESCRIPTIONS = "descriptions"
"""The kind of the descriptions of tools or outputs, of steps that have any."""

REFLECTION = "reflection"
"""The kind of an instruction that was rewritten from its runs. It shares the arms of instructions,
but its effect comes on top of that of the instruction that was rewritten.
"""

TOOLS = "tools"
"""The slot of the descriptions of a step's tools."""

Choice = tuple[int, ...]
"""One arm of each coordinate, by position; 0 is the start version's own."""

_NOTHING: Mapping[Any, Any] = MappingProxyType({})


@attrs.frozen(eq=False)
class Arm:
    """Some parameters of one step.

    Attributes:
        changes: The parameters that differ from the start version's, by path.
        origin: Where they come from, by path.
        weights: The arm's effect as a sum of the model's columns.
        hidden: The examples that the arm shows or was written from. They say nothing about it: it
            could copy their answers.
        note: The arm in words.
        is_drawn: Whether it is one of many that are alike, so that the mean of its kind tells of
            it.
    """

    changes: Mapping[str, Any] = _NOTHING
    origin: Mapping[str, Any] = _NOTHING
    weights: Weights = _NOTHING
    hidden: frozenset[str] = frozenset()
    note: str = ""
    is_drawn: bool = True


@attrs.define(eq=False)
class Coordinate:
    """The arms of one kind for one step, with the number of scores that each has on each row."""

    step: str
    kind: str
    arms: list[Arm] = attrs.field(factory=lambda: [Arm()])
    uses: list[dict[int, int]] = attrs.field(factory=lambda: [{}])

    def has(self, arm: Arm) -> bool:
        """Return whether there is an equal arm."""
        return any(arm.changes == other.changes for other in self.arms)

    def add(self, arm: Arm) -> int:
        """Add an arm; return its position."""
        self.arms.append(arm)
        self.uses.append({})
        return len(self.arms) - 1


@attrs.frozen(eq=False)
class Arms:
    """All coordinates of a search, and the versions that they make."""

    start: Version
    coordinates: Sequence[Coordinate]
    versions: dict[Choice, Version] = attrs.field(factory=dict)

    @property
    def zero(self) -> Choice:
        """The choice of the start version."""
        return (0,) * len(self.coordinates)

    def at(self, step: str, kind: str) -> int:
        """Return the position of a step's coordinate."""
        places = enumerate(self.coordinates)
        return next(at for at, own in places if (own.step, own.kind) == (step, kind))

    def chosen(self, choice: Choice) -> Iterator[Arm]:
        """Yield the arms of a choice."""
        for coordinate, position in zip(self.coordinates, choice, strict=True):
            yield coordinate.arms[position]

    def weights(self, choice: Choice) -> dict[int, float]:
        """Return a choice's effect as a sum of the model's columns."""
        total: dict[int, float] = {}
        for arm in self.chosen(choice):
            for column, weight in arm.weights.items():
                total[column] = total.get(column, 0.0) + weight
        return total

    def hidden(self, choice: Choice) -> frozenset[str]:
        """Return the examples that say nothing about a choice."""
        return frozenset[str]().union(*(arm.hidden for arm in self.chosen(choice)))

    def uses(self, choice: Choice) -> list[dict[int, int]]:
        """Return, for each arm of a choice that is not the start's, how often it was scored on each
        row.
        """
        pairs = zip(self.coordinates, choice, strict=True)
        return [own.uses[position] for own, position in pairs if position]

    def note_use(self, choice: Choice, rows: Iterable[int]) -> None:
        """Count the scores of a choice on rows."""
        for coordinate, position in zip(self.coordinates, choice, strict=True):
            uses = coordinate.uses[position]
            for row in rows:
                uses[row] = uses.get(row, 0) + 1

    def version(self, choice: Choice) -> Version:
        """Return the version of a choice, a child of the start version."""
        if choice not in self.versions:
            self.versions[choice] = self._make(choice)
        return self.versions[choice]

    def _make(self, choice: Choice) -> Version:
        changes: dict[str, Any] = {}
        origin: dict[str, Any] = {}
        notes: list[str] = []
        for coordinate, arm in zip(self.coordinates, self.chosen(choice), strict=True):
            if arm.changes:
                changes |= arm.changes
                origin |= arm.origin
                notes.append(f"{coordinate.step}: {arm.note}")
        if not changes:
            return self.start
        return Version(
            params=self.start.params | changes,
            parents=(self.start.id,),
            note="; ".join(notes),
            origin=Record(origin),
        )


def make_arms(program: Program, start: Version) -> Arms:
    """Make the coordinates of a program's steps, each with the start version's own arm."""
    coordinates = [
        Coordinate(step, kind)
        for step in program.predictors
        for kind in (INSTRUCTION, DEMOS, FORMAT)
    ]
    coordinates += [
        Coordinate(name, DESCRIPTIONS)
        for name, step in program.predictors.items()
        if described_slot(step)
    ]
    return Arms(start, coordinates)


def described_slot(step: Predict) -> str:
    """Return the slot of a step's descriptions: of its tools, or of its outputs if the signature
    describes any; empty if there is nothing to describe.
    """
    if TOOLS in step.slots:
        return TOOLS
    return OUTPUTS if any(field.description for field in step.signature.for_model.outputs) else ""
