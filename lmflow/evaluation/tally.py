"""What the rows of an evaluation add up to: numbers, which are held however many rows there are."""

from __future__ import annotations

import hashlib
import heapq
import math
from array import array
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import attrs

from lmflow.errors import MetricFailed
from lmflow.evaluation.packed import Numbers
from lmflow.evaluation.rows import Row, result_of
from lmflow.evaluation.spending import RowSpending
from lmflow.evaluation.stats import Estimate, mean
from lmflow.metrics import Counts
from lmflow.traces.results import Failed
from lmflow.values.canonical_text import text_form
from lmflow.values.record import canonical

_PREFIX = "v1:b2:"
_UNSCORED = Failed("unknown", "it gave no score")


@attrs.frozen(eq=False)
class Tally:
    """The scores of an evaluation by one metric.

    Attributes:
        values: The scores in the order of the rows; NaN for a row that has none.
        units: The unit of each row: rows of one unit belong together in the interval. ``None`` if
            each row is a unit of its own.
        failures: The number of failures of each kind.
        counts: The counts of all scores that have some, added up.
        counted: The number of those scores.
    """

    values: Sequence[float]
    units: Sequence[int] | None
    failures: Mapping[str, int]
    counts: Counts
    counted: int

    @property
    def failed(self) -> int:
        """The number of rows without a score."""
        return sum(self.failures.values())

    def places(self, *, scored: bool) -> Sequence[int]:
        """Return the positions of the rows that have a score, or of those that have none."""
        if not self.failures:
            return range(len(self.values) if scored else 0)
        places = enumerate(self.values)
        return array("L", (place for place, value in places if math.isnan(value) is not scored))

    def scores(self) -> Sequence[float]:
        """Return the scores of the rows that have one."""
        if not self.failures:
            return self.values
        return array("d", (value for value in self.values if not math.isnan(value)))

    def mean(self, failure: float | None = None) -> Estimate | None:
        """Return the mean with its interval; ``None`` if nothing counts.

        Args:
            failure: The score that a failed row counts as; failed rows are left out if ``None``.
        """
        values, units = self.scores(), self.units
        if failure is not None:
            values = array("d", (failure if math.isnan(own) else own for own in self.values))
        elif self.failures and units is not None:
            units = [units[place] for place in self.places(scored=True)]
        return mean(values, units) if values else None

    @property
    def micro(self) -> Estimate | None:
        """The F1 of all counts together, ``None`` if no score has counts."""
        if not self.counted:
            return None
        sizes = self.counts.found + self.counts.wanted
        f1 = 2 * self.counts.right / sizes if sizes else 1.0
        return Estimate(f1, None, None, None, self.counted, "micro F1")

    def worst(self, most: int) -> list[int]:
        """Return the positions of the first ``most`` rows, failed ones first, then the worst."""
        values = self.values
        return heapq.nsmallest(most, range(len(values)), lambda place: _order(values[place]))


@attrs.frozen(eq=False)
class Sums:
    """What the rows of an evaluation add up to.

    Attributes:
        tallies: The scores by each metric, by its name.
        roots: The roots of the evaluations by each metric, by its name.
        spending: What the rows took.
    """

    tallies: Mapping[str, Tally]
    roots: Mapping[str, str]
    spending: RowSpending


class Tallying:
    """Adds up the rows of one metric as they are scored, in whatever order.

    It holds a few numbers for each row, and more of those that wait for an earlier row.

    Args:
        write: Is called with the canonical form of each result, in the order of the rows.
    """

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write
        self._waiting: dict[int, _Result] = {}
        self._values, self._units = Numbers(), array("L")
        self._numbers: dict[Hashable, int] = {}
        self._failures: dict[str, int] = {}
        self._counts, self._counted = Counts(0, 0, 0), 0
        self._cause: Failed | None = None

    def add(self, position: int, row: Row, unit: Hashable = None) -> None:
        """Add the row at a position; ``unit`` is ``None`` if it is a unit of its own."""
        form = canonical(result_of(row)) if self._write else ""
        self._waiting[position] = _result(row, unit, form)
        while (result := self._waiting.pop(len(self._values), None)) is not None:
            self._take(result)

    def check(self, metric: str) -> None:
        """Raise ``MetricFailed`` if the metric failed on all outputs."""
        if self._cause is not None and len(self._values) == sum(self._failures.values()):
            raise MetricFailed(metric, self._cause.kind, self._cause.text)

    def tally(self) -> Tally:
        """Return what was added up."""
        units = self._units or None
        return Tally(self._values, units, self._failures, self._counts, self._counted)

    def _take(self, result: _Result) -> None:
        self._values.append(result.value)
        if result.unit is not None:
            self._units.append(self._numbers.setdefault(result.unit, len(self._numbers)))
        if math.isnan(result.value):
            kind = result.failure.kind if result.failure else _UNSCORED.kind
            self._failures[kind] = self._failures.get(kind, 0) + 1
        if result.has_outputs:
            self._cause = self._cause or result.failure or _UNSCORED
        if (own := result.counts) is not None:
            sums = self._counts
            self._counts = Counts(
                sums.right + own.right, sums.found + own.found, sums.wanted + own.wanted
            )
            self._counted += 1
        if self._write is not None:
            self._write(result.form)


@attrs.frozen
class _Result:
    """What is kept of a row that waits for an earlier one."""

    value: float
    unit: Hashable
    failure: Failed | None
    counts: Counts | None
    has_outputs: bool
    form: str


def _result(row: Row, unit: Hashable, form: str) -> _Result:
    score, has_outputs = row.score, row.outputs is not None
    if score is None:
        return _Result(math.nan, unit, row.failure, None, has_outputs, form)
    return _Result(score.value, unit, None, score.counts, has_outputs, form)


def tally_of(rows: Iterable[Row], unit_of: Callable[[Row], Hashable]) -> Tally:
    """Add up rows; ``unit_of`` names the unit of each."""
    tallying = Tallying()
    for position, row in enumerate(rows):
        tallying.add(position, row, unit_of(row))
    return tallying.tally()


def evaluation_root(run_root: str, metric: str, forms: Iterable[str]) -> str:
    """Return the root of an evaluation by one metric: the digest of the run's root, the metric's
    key and the results, of which the canonical forms are given in the order of the rows.
    """
    whole = hashlib.blake2b(b"evaluation\0", digest_size=32)
    whole.update(f"[{text_form(run_root)},{text_form(metric)},[".encode("ascii"))
    for place, form in enumerate(forms):
        whole.update((f",{form}" if place else form).encode("ascii"))
    whole.update(b"]]")
    return _PREFIX + whole.hexdigest()


def _order(value: float) -> float:
    return -math.inf if math.isnan(value) else value
