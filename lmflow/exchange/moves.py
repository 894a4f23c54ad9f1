"""Merges the states of a name that moves, such as a ref, in two stores: the later one counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

Side = Literal["ours", "theirs"]


@attrs.frozen(order=True)
class Move:
    """A name was moved from one target to another; an empty target is none.

    Moves are ordered by time. Two that differ only in where they began are one: a store that is
    merged by events notes where the name stood there.
    """

    at: int
    before: str = attrs.field(eq=False, order=False)
    after: str
    why: str = ""
    who: str = ""


@attrs.frozen
class MovedName:
    """What a name points at, empty if nothing, and its moves, oldest first."""

    name: str
    target: str = ""
    moves: tuple[Move, ...] = ()

    @property
    def log(self) -> tuple[Move, ...]:
        """The moves; of a name that has none on record, the move that must have been."""
        return self.moves or ((Move(0, "", self.target),) if self.target else ())


@attrs.frozen
class Decision:
    """Which side counts if two stores disagree, and who decided when, why."""

    side: Side
    why: str
    at: int
    who: str = ""


def merged_name(
    ours: MovedName, theirs: MovedName, decision: Decision | None = None
) -> MovedName | None:
    """Merge the states of a name.

    The side that knows all moves of the other is the later one. If each has moves of its own and
    both point at the same target, their moves are joined, by time.

    Args:
        ours: The state here.
        theirs: The state there.
        decision: Decides if the sides disagree; it is the last move then.

    Returns:
        The merged state; ``None`` if the sides disagree and nothing decides.
    """
    known_here, known_there = set(ours.log), set(theirs.log)
    if known_here == known_there and ours.target == theirs.target:
        return ours
    if known_there < known_here:
        return ours
    if known_here < known_there:
        return theirs
    joined = tuple(sorted(known_here | known_there))
    if ours.target == theirs.target:
        return MovedName(ours.name, ours.target, joined)
    if decision is None:
        return None
    chosen, other = (ours, theirs) if decision.side == "ours" else (theirs, ours)
    last = Move(decision.at, other.target, chosen.target, decision.why, decision.who)
    return MovedName(ours.name, chosen.target, (*joined, last))


def disagreements(
    ours: Mapping[str, MovedName], theirs: Mapping[str, MovedName]
) -> list[tuple[MovedName, MovedName]]:
    """Return the names on which two stores disagree, as both have them."""
    pairs = [(ours[name], theirs[name]) for name in sorted(ours.keys() & theirs.keys())]
    return [pair for pair in pairs if merged_name(*pair) is None]
