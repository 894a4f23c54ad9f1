"""The versions of a search between which score, cost and latency leave the choice open."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

import attrs

from lmflow.errors import short
from lmflow.execution.budget import NANO
from lmflow.execution.costs import spent_on
from lmflow.optimizers.parts.evidence import Evidence
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.versions.version import Version

FRONT_COLUMNS = ("version", "score", "rows", "tokens", "usd", "seconds", "note")

_FEWEST_ROWS = 5
_SAME_TOKENS, _SAME_SECONDS = 1.02, 1.2  # ratios within which two versions are alike
_NANOSECONDS = 1e9


@attrs.frozen
class FrontEntry:
    """A version of a search with what it scores and takes.

    Attributes:
        version: The version.
        score: The expected score, shrunk to the others: few rows promise little.
        rows: The number of examples that it was scored on.
        tokens: The mean tokens of an execution.
        usd: The mean cost of an execution in dollars, ``None`` if a price is unknown.
        seconds: The mean duration of an execution.
    """

    version: Version
    score: float
    rows: int
    tokens: float
    usd: float | None
    seconds: float

    @property
    def cells(self) -> dict[str, object]:
        """The entry as a row of a table."""
        return {
            "version": short(self.version.id),
            "score": f"{self.score:.3f}",
            "rows": self.rows,
            "tokens": round(self.tokens),
            "usd": None if self.usd is None else f"{self.usd:.6f}",
            "seconds": f"{self.seconds:.2f}",
            "note": self.version.note[:60],
        }


def front_of(
    evidence: Evidence, program: Program, traces: Iterable[Trace], answer: Version
) -> tuple[FrontEntry, ...]:
    """Return the versions of which no other is as good, as cheap and as fast, the best score first.

    The search's answer is always among them. A version that was scored on a few rows alone is not.
    """
    by_tree: dict[str, list[Trace]] = {}
    for trace in traces:
        if trace.program == program.key and trace.done:
            by_tree.setdefault(trace.version.tree, []).append(trace)
    entries = [
        _entry(version, score, rows, by_tree[version.tree])
        for version, score, rows in evidence.expectations()
        if version.tree in by_tree and (rows >= _FEWEST_ROWS or version.tree == answer.tree)
    ]
    best = [
        entry
        for entry in entries
        if entry.version.tree == answer.tree
        or not any(_dominates(other, entry) for other in entries if other is not entry)
    ]
    return tuple(sorted(best, key=lambda entry: -entry.score))


def front_cells(front: Sequence[FrontEntry]) -> list[Mapping[str, object]]:
    """Return the rows of a front's table."""
    return [entry.cells for entry in front]


def _entry(version: Version, score: float, rows: int, traces: Sequence[Trace]) -> FrontEntry:
    spent = [spent_on(trace.calls) for trace in traces]
    priced = not any(own.unknown for own in spent)
    return FrontEntry(
        version,
        score,
        rows,
        statistics.fmean(own.tokens for own in spent),
        statistics.fmean(own.cost for own in spent) / NANO if priced else None,
        statistics.fmean((trace.ended - trace.started) / _NANOSECONDS for trace in traces),
    )


def _dominates(one: FrontEntry, other: FrontEntry) -> bool:
    """Return whether a version is as good, as cheap and as fast as another, and better in one of
    them; durations and tokens that are alike count as equal.
    """
    as_good = one.score >= other.score
    as_cheap = one.tokens <= other.tokens * _SAME_TOKENS
    as_fast = one.seconds <= other.seconds * _SAME_SECONDS
    better = one.score > other.score or one.tokens * _SAME_TOKENS < other.tokens
    return as_good and as_cheap and as_fast and better
