"""Acts by which a person steers a search, as values that a plan is given between its needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.traces.events import STEER
from lmflow.traces.trace import Trace
from lmflow.versions.version import Version

_PLACE = re.compile(rf"{STEER}\[(\d+)\]/act\[(\d+)\]")


@attrs.frozen
class SearchAct:
    """What a person did to a search.

    Attributes:
        kind: ``pause``, ``resume``, ``stop``, ``veto``, ``pin``, ``release`` or ``note``.
        version: The version that is vetoed, pinned or released; ``None`` for other acts.
        note: The reason, or the words of a note.
        who: The person.
    """

    kind: str
    version: Version | None = None
    note: str = ""
    who: str = ""

    def __str__(self) -> str:
        by = f" by {self.who}" if self.who else ""
        why = f": {self.note}" if self.note else ""
        return f"{self.kind}{by}{why}"

    @classmethod
    def from_outputs(cls, taken: Mapping[str, Any]) -> SearchAct:
        """Read the act that an execution of the steering tool recorded."""
        stored = taken["version"]
        version = None if stored is None else Version.from_dict(stored)
        return cls(taken["kind"], version, taken["note"], taken["who"])


@attrs.frozen
class Acts:
    """What a plan is sent at a need in place of traces: it takes the acts and yields the need
    anew, or returns if they stop it.
    """

    acts: tuple[SearchAct, ...]


def place_of_act(need: int, number: int) -> str:
    """Return the label of an act: the need of the plan at which it was taken, and its number."""
    return f"{STEER}[{need}]/act[{number}]"


def need_of_act(label: str) -> int | None:
    """Return the need at which the act with a label was taken, ``None`` if it labels no act."""
    match = _PLACE.fullmatch(label)
    return None if match is None else int(match[1])


def acts_by_need(items: Iterable[tuple[str, Trace]]) -> dict[int, tuple[SearchAct, ...]]:
    """Return the acts that the executions of a run recorded, by the need at which the plan took
    them, in their order.
    """
    taken: dict[int, tuple[SearchAct, ...]] = {}
    for label, trace in items:
        need = need_of_act(label)
        if need is not None and (act := taken_act(trace)) is not None:
            taken[need] = (*taken.get(need, ()), act)
    return taken


def taken_act(trace: Trace) -> SearchAct | None:
    """Return the act that an execution recorded; ``None`` if it was refused or never recorded."""
    taken = None if trace.outputs is None else trace.outputs["taken"]
    return SearchAct.from_outputs(taken) if taken is not None and not taken["problem"] else None
