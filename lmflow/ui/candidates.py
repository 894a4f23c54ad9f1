"""The candidates of a search: which versions ran, how well, and what was spent by then."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.evaluation.stats import mean

Row = Mapping[str, Any]
Ended = tuple[Row, tuple[int, float]]
"""An execution, and the calls and dollars that the whole run had spent when it ended."""

_EXAMPLE = re.compile(r"ex\[(.*?)\](?:/n\[\d+\])?$")
_HELD = ("held/", "guard/")
_FULLY = 0.5  # the part of the examples on which a candidate must have run to count as judged


@attrs.frozen(eq=False)
class Candidate:
    """A version that a search ran.

    Args:
        version: Its id.
        scores: Its scores by example: those that candidates are chosen by, or if it ran on none
            of them, all.
        executions: How many executions it had.
        failed: How many of them failed.
        calls: The calls that the whole run had sent when the last of these ended.
        usd: The dollars that the whole run had spent then.
        judged: Whether it ran on enough examples to be compared with the others.
    """

    version: str
    scores: Mapping[str, float]
    executions: int
    failed: int
    calls: int
    usd: float
    judged: bool

    def to_json(self) -> dict[str, Any]:
        """Return the candidate with the mean of its scores and the 95 % interval."""
        estimate = mean(list(self.scores.values())) if self.scores else None
        return {
            "version": self.version,
            "n": len(self.scores),
            "score": estimate.value if estimate else None,
            "low": estimate.low if estimate else None,
            "high": estimate.high if estimate else None,
            "executions": self.executions,
            "failed": self.failed,
            "calls": self.calls,
            "usd": self.usd,
            "judged": self.judged,
        }


def candidates_of(
    rows: Iterable[Row], scores: Mapping[str, float], program: str, select: Collection[str]
) -> list[Candidate]:
    """Return the versions of the optimized program in the order of their first executions.

    Args:
        rows: The executions of the run, in their order.
        scores: The score of each execution, by trace.
        program: The key of the program that is optimized.
        select: The ids of the examples that candidates are chosen by; all examples if empty.
    """
    own: dict[str, list[Ended]] = {}
    for row, spent in spent_by_row(rows):
        if row["program"] == program and not is_held(row["label"]):
            own.setdefault(row["version"], []).append((row, spent))
    found = [_candidate(version, each, scores, select) for version, each in own.items()]
    most = max((len(each.scores) for each in found if each.judged), default=0)
    return [
        attrs.evolve(each, judged=each.judged and most * _FULLY <= len(each.scores))
        for each in found
    ]


def curve_of(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Return the best judged candidate after each one that was better than all before it."""
    points: list[dict[str, Any]] = []
    judged = [each.to_json() for each in candidates if each.judged]
    for point in sorted(judged, key=_calls_of):
        if not points or point["score"] > points[-1]["score"]:
            points.append(point)
    return points


def spent_by_row(rows: Iterable[Row]) -> list[Ended]:
    """Pair each execution with the calls and dollars that were spent when it ended."""
    ended = sorted(rows, key=_end_of)
    calls, cost, pairs = 0, 0, []
    for row in ended:
        calls, cost = calls + row["sent"], cost + row["cost"]
        pairs.append((row, (calls, cost / 1e9)))
    return pairs


def is_held(label: str) -> bool:
    """Tell whether an execution judges the result on held-back examples."""
    return any(f"/{part}" in f"/{label}" for part in _HELD)


def example_of(label: str) -> str:
    """Return the id of the example that a label names; empty if it names none."""
    match = _EXAMPLE.search(label)
    return match[1] if match else ""


def _candidate(
    version: str, executions: Sequence[Ended], scores: Mapping[str, float], select: Collection[str]
) -> Candidate:
    chosen = [each for each in executions if _counts(each[0], scores, select)]
    scored = chosen or [each for each in executions if each[0]["trace"] in scores]
    values: dict[str, list[float]] = {}
    for row, _ in scored:
        values.setdefault(example_of(row["label"]), []).append(scores[row["trace"]])
    calls, usd = (scored or executions)[-1][1]
    means = {example: sum(each) / len(each) for example, each in values.items()}
    failed = sum(1 for row, _ in executions if row["status"] == "failed")
    return Candidate(version, means, len(executions), failed, calls, usd, judged=bool(chosen))


def _counts(row: Row, scores: Mapping[str, float], select: Collection[str]) -> bool:
    """Tell whether candidates are chosen by an execution: it has a score, on such an example."""
    return row["trace"] in scores and (not select or example_of(row["label"]) in select)


def _end_of(row: Row) -> int:
    return int(row["ended_ns"] or 2**63)


def _calls_of(point: Mapping[str, Any]) -> int:
    return int(point["calls"])
