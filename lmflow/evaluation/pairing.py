"""Pairs of an example's rows in two evaluations."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
import toolz

from lmflow.errors import NotComparable, short
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.rows import Row, value_or
from lmflow.values.record import Record, digest


@attrs.frozen
class Pair:
    """An example under both evaluations: the mean scores of its samples, and the outputs of its
    first samples.
    """

    id: str
    example: Record
    a: float
    b: float
    a_outputs: Record | None = None
    b_outputs: Record | None = None

    @property
    def difference(self) -> float:
        """The score of b minus that of a."""
        return self.b - self.a


def rows_by_id(side: Evaluation) -> dict[str, list[Row]]:
    """Group the rows of an evaluation by the ids of their examples."""
    groups: dict[str, list[Row]] = toolz.groupby(lambda row: row.id, side.rows)
    return groups


def check_same_example(a: Evaluation, b: Evaluation, row_a: Row, row_b: Row) -> None:
    """Raise ``NotComparable`` if one id stands for two examples."""
    if row_a.example != row_b.example:
        problem = f"the example {short(row_a.id)!r} differs between them"
        fix = (
            "Score the older run on the examples of today: lf.scores_from(run, examples, metric)"
            " costs nothing."
        )
        raise NotComparable(title_of(a), title_of(b), problem, fix)


def mean_score(rows: Iterable[Row], failure: float | None) -> float | None:
    """Return the mean score of an example's samples, failed ones counted as ``failure`` if that is
    a number; ``None`` if nothing counts.
    """
    counted = [row for row in rows if row.score is not None or failure is not None]
    return statistics.fmean(value_or(row, failure or 0.0) for row in counted) if counted else None


def pairs_of(
    rows_a: Mapping[str, Sequence[Row]],
    rows_b: Mapping[str, Sequence[Row]],
    scores_a: Mapping[str, float | None],
    scores_b: Mapping[str, float | None],
) -> Iterator[Pair]:
    """Make the pairs of the examples that have a score under both."""
    for name, score_a in scores_a.items():
        score_b = scores_b[name]
        if score_a is not None and score_b is not None:
            first_a, first_b = rows_a[name][0], rows_b[name][0]
            outputs = (first_a.outputs, first_b.outputs)
            yield Pair(name, first_a.example, score_a, score_b, *outputs)


def clusters_of(pairs: Iterable[Pair], field: str) -> list[str] | None:
    """Return the cluster of each pair, ``None`` without a cluster field."""
    return [digest("cluster", pair.example[field]) for pair in pairs] if field else None


def title_of(side: Evaluation) -> str:
    """Return the name and version of an evaluation."""
    return f"{side.name} {short(side.version)}".strip()
