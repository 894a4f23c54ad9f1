"""Rows of an evaluation whose executions and examples are read when a row is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from lmflow.evaluation.judges import Judge, verdict_of
from lmflow.evaluation.rows import Row, row_of, score_or_failure
from lmflow.metrics import Metric, Score
from lmflow.traces.trace import Failed, Trace
from lmflow.values.record import EMPTY, Record

Results = Mapping[str, Score | Failed | None]
"""What each metric says of an execution, the primary one first."""

NOT_JUDGED = -1


@attrs.frozen(eq=False)
class LongRows:
    """Makes the rows of an evaluation from its run and its examples.

    Metrics are pure, so that scoring an execution again gives the score that it had.

    Attributes:
        items: The executions of the run, in order: those of the program, then those of judges.
        examples: The examples.
        samples: The executions of each example.
        metrics: The metrics and judges by name, the primary one first.
        verdicts: By the name of a judge, the positions of its executions in ``items`` for each
            execution of the program; ``NOT_JUDGED`` if there is none.
    """

    items: Sequence[tuple[str, Trace]]
    examples: Sequence[Record]
    samples: int
    metrics: Mapping[str, Metric | Judge]
    verdicts: Mapping[str, Sequence[int]]

    def read(self, start: int, stop: int) -> list[Row]:
        """Return the rows from a position on, up to another."""
        first = start // self.samples
        examples = list(self.examples[first : (stop - 1) // self.samples + 1])
        judged = {name: self._judged(places[start:stop]) for name, places in self.verdicts.items()}
        rows = []
        for at, (label, trace) in enumerate(self.items[start:stop]):
            example = examples[(start + at) // self.samples - first]
            verdicts = {name: traces[at] for name, traces in judged.items()}
            results = results_of(self.metrics, example, trace, verdicts)
            rows.append(row_by(label, example, trace, results))
        return rows

    def _judged(self, places: Sequence[int]) -> list[Trace | None]:
        """Return the executions of a judge at positions, ``None`` for ``NOT_JUDGED``."""
        asked = [place for place in places if place != NOT_JUDGED]
        if not asked:
            return [None] * len(places)
        first = asked[0]
        traces = [trace for _, trace in self.items[first : asked[-1] + 1]]
        return [None if place == NOT_JUDGED else traces[place - first] for place in places]


def results_of(
    metrics: Mapping[str, Metric | Judge],
    example: Record,
    trace: Trace,
    verdicts: Mapping[str, Trace | None],
) -> dict[str, Score | Failed | None]:
    """Return what each metric says of an execution; ``verdicts`` are the judges' executions."""
    results: dict[str, Score | Failed | None] = {}
    for name, metric in metrics.items():
        if isinstance(metric, Judge):
            results[name] = verdict_of(metric, verdicts.get(name))
        else:
            results[name] = score_or_failure(metric, example, trace)
    return results


def row_by(label: str, example: Record, trace: Trace, results: Results) -> Row:
    """Make the row of an execution with what all metrics say of it."""
    (_, first), *others = results.items()
    row = row_of(label, example, trace, first)
    if not others or trace.outputs is None:
        return row
    scores = {name: result for name, result in others if isinstance(result, Score)}
    failures = {name: result for name, result in others if isinstance(result, Failed)}
    return attrs.evolve(row, scores=Record(scores) if scores else EMPTY, failures=Record(failures))
