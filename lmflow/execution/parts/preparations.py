"""Holds what an executor has prepared lately, so that `ex.run` in a loop prepares it once."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from lmflow.programs.environment import Env
from lmflow.programs.program import Program
from lmflow.values.record import Record
from lmflow.versions.version import Version

MOST = 32
"""The preparations that are held; the one that was used longest ago is let go first."""


@attrs.frozen(eq=False)
class Preparation:
    """The environment and the world in which a program runs under a version.

    The environment remembers the first messages of each step, which all executions share.
    """

    program: Program
    env: Env
    world: Record


class Preparations:
    """Holds the latest preparations, by program, version and the version's root ancestor."""

    # A program is known by its identity: two equal ones may differ in what isn't compared, such as
    # a helper of a tool's function. Each entry holds its program, so no other object has its id.
    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._entries: dict[tuple[int, Version, str], Preparation] = {}

    def get(
        self, program: Program, version: Version, first: Version, make: Callable[[], Preparation]
    ) -> Preparation:
        """Return the preparation of a program and a version; ``make`` makes it if none is held."""
        key = id(program), version, first.id
        entry = self._entries.pop(key, None) or make()
        self._entries[key] = entry
        if len(self._entries) > self._most:
            del self._entries[next(iter(self._entries))]
        return entry
