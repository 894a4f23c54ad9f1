"""What was rescued from a damaged store, and what was lost, by name."""

from __future__ import annotations

import attrs

MOST = 1000
"""Losses that are named; the others are counted."""


@attrs.frozen
class Rescue:
    """The result of a rescue.

    Args:
        path: The damaged file.
        new: The store that was made.
        runs: The number of runs in it.
        traces: The number of traces.
        calls: The number of calls.
        versions: The number of versions.
        blobs: The number of blobs.
        lost: What is lost or incomplete, each by name; empty if nothing is.
        more: The number of losses that are not named.
    """

    path: str
    new: str
    runs: int
    traces: int
    calls: int
    versions: int
    blobs: int
    lost: tuple[str, ...]
    more: int = 0


class Losses:
    """Gathers what is lost, each thing once."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}

    def note(self, line: str) -> None:
        """Add a loss."""
        self._lines.setdefault(line)

    @property
    def lines(self) -> tuple[str, ...]:
        """The losses that are named, in order."""
        return tuple(self._lines)[:MOST]

    @property
    def more(self) -> int:
        """The number of losses that are not named."""
        return max(0, len(self._lines) - MOST)
