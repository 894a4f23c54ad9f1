"""What an evaluation took, in words: price, tokens, latency."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence

import attrs

from lmflow.evaluation.rows import Row, price_paid, sum_if_known, tokens_used
from lmflow.messages.requests import ToolRequest
from lmflow.traces.trace import Trace
from lmflow.views.lines import took


@attrs.frozen
class Judging:
    """What the judges of an evaluation took.

    Attributes:
        cost: The price paid, in nano-dollars; ``None`` if the price of some call is unknown.
        tokens: The tokens read and written; ``None`` if the count of some call is unknown.
    """

    cost: int | None = 0
    tokens: int | None = 0

    def __add__(self, other: Judging) -> Judging:
        cost = sum_if_known((self.cost, other.cost))
        return Judging(cost, sum_if_known((self.tokens, other.tokens)))


NO_JUDGING = Judging()
"""What an evaluation without judges has."""


def judging_of(traces: Iterable[Trace]) -> Judging:
    """Add up what the traces of judges took."""
    calls = [
        call
        for trace in traces
        for call in trace.calls
        if not isinstance(call.request, ToolRequest)
    ]
    return Judging(sum_if_known(map(price_paid, calls)), sum_if_known(map(tokens_used, calls)))


@attrs.frozen(eq=False)
class RowSpending:
    """What the rows of an evaluation took.

    Attributes:
        cost: The price paid, in nano-dollars; ``None`` if the price of some call is unknown.
        unpriced: The number of rows with an unknown cost.
        tokens: The tokens read and written; ``None`` if the count of some call is unknown.
        seconds: The latencies of the rows that have one.
    """

    cost: int | None
    unpriced: int
    tokens: int | None
    seconds: array[float]


class RowSums:
    """Adds up what rows took, in any order; ``seconds`` holds their latencies."""

    def __init__(self, seconds: array[float]) -> None:
        self._seconds = seconds
        self._cost = self._unpriced = self._tokens = self._uncounted = 0

    def add(self, row: Row) -> None:
        """Add what a row took."""
        self._cost += row.cost or 0
        self._unpriced += row.cost is None
        self._tokens += row.tokens or 0
        self._uncounted += row.tokens is None
        if row.latency is not None:
            self._seconds.append(row.latency)

    def spending(self) -> RowSpending:
        """Return the sums so far."""
        cost = None if self._unpriced else self._cost
        tokens = None if self._uncounted else self._tokens
        return RowSpending(cost, self._unpriced, tokens, self._seconds)


def spending_of(rows: Iterable[Row]) -> RowSpending:
    """Add up what rows took."""
    sums = RowSums(array("d"))
    for row in rows:
        sums.add(row)
    return sums.spending()


def latency_of(latencies: Sequence[float]) -> tuple[float, float] | None:
    """Return the median and the 95th percentile of latencies, ``None`` if there are none."""
    ordered = sorted(latencies)
    if not ordered:
        return None
    return _quantile(ordered, 0.5), _quantile(ordered, 0.95)


def spending_lines(
    cost: int | None,
    judging: Judging,
    unpriced: str,
    tokens: int | None,
    latency: tuple[float, float] | None,
) -> Iterator[str]:
    """Say what an evaluation took; ``unpriced`` says of how many rows the price is unknown."""
    yield _price_text(cost, judging, unpriced)
    if tokens is not None:
        yield f"{tokens:,} tokens"
    if latency is not None:
        yield f"latency p50 {took(latency[0] * 1e9)}, p95 {took(latency[1] * 1e9)}"


def _price_text(cost: int | None, judging: Judging, unpriced: str) -> str:
    if cost is None:
        return f"cost unknown ({unpriced or 'a judge has no price'})"
    part = f", of which {_dollars(judging.cost)} on judging" if judging.cost else ""
    return f"cost {_dollars(cost)}{part}"


def _dollars(cost: int) -> str:
    dollars = cost / 1e9
    return f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:.2g}"


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return the least of the ordered values that at least ``share`` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
