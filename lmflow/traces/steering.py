"""Acts by which people steer a search that runs: their kinds, and the store that hands them over.

A person's act is appended to the store by whatever process the person uses. The process that runs
the search reads it at its next need, and records that it took it as an execution of its run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import attrs

from lmflow.traces.events import SearchSteered
from lmflow.traces.trace import Trace

ActKind = Literal["pause", "resume", "stop", "veto", "pin", "release", "note"]

OF_VERSIONS = ("veto", "pin", "release")
"""The kinds of acts that name a version."""

STEER = "steer"
"""The name of the executions by which a run records the acts that its search took."""


@attrs.frozen
class GivenAct:
    """An act with its number in the store, which grows."""

    id: int
    event: SearchSteered


@runtime_checkable
class SteeredStore(Protocol):
    """A store that hands the acts of people to the searches that they steer."""

    def acts(self, run: str, after: int = 0) -> Sequence[GivenAct]:
        """Return the acts that people gave to a run, those after a number, oldest first."""
        ...

    def acts_taken(self, run: str) -> tuple[bool, Sequence[tuple[str, Trace]]]:
        """Return whether a run ended, and the executions with their labels by which it recorded the
        acts that it took; nothing if there is no such run.
        """
        ...
