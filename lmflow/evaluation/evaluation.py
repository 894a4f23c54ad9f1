"""Evaluations as values: the rows of a scored run, and their mean with its interval; failures are
not zeros.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import toolz

from lmflow.errors import BadData, near, short
from lmflow.errors.missing_attributes import ExplainsAttributes
from lmflow.evaluation.charts import histogram
from lmflow.evaluation.exports import COMPUTED, WRITTEN, EvaluationRows
from lmflow.evaluation.rows import (
    Row,
    result_of,
    row_cells,
    rows_from_json,
    sum_if_known,
    value_or,
)
from lmflow.evaluation.spending import NO_JUDGING, Judging, latency_of, spending_lines
from lmflow.evaluation.stats import Estimate, mean
from lmflow.traces.json_form import read_json
from lmflow.values.attributes import uncached
from lmflow.values.printing import clean, printable
from lmflow.values.record import EMPTY, Record, digest, pretty
from lmflow.views.page import ROWS_SHOWN, WIDEST_LINE, Block, Table, Text, page_html, page_markdown
from lmflow.views.tables import columns_of, left_table, same_columns

_CELL_WIDTH = 40


@attrs.frozen(slots=False, repr=False)
class Evaluation(ExplainsAttributes, EvaluationRows):
    """A program under a version on examples, scored by a metric, or by several of which the first
    is the primary one: it is what ``mean``, ``scored`` and ``failed`` speak of. ``by(name)`` is the
    evaluation by another one.

    Attributes:
        name: The evaluation's name, for people.
        rows: A row for each example and sample.
        program: The program's key.
        version: The version's id.
        metric: The key of the (primary) metric.
        metric_name: The name of that metric, for people.
        dataset: The digest of the examples.
        run: The id of the run whose traces were scored.
        run_root: The root of that run.
        cluster: A field of the examples whose equal values belong together (questions on one
            document): they count as one unit in the interval.
        others: The keys of the other metrics by their names.
        judging: What judges took; a part of ``cost`` and ``tokens``.
    """

    json_fields = WRITTEN

    name: str
    rows: tuple[Row, ...]
    program: str = ""
    version: str = ""
    metric: str = ""
    metric_name: str = ""
    dataset: str = ""
    run: str = ""
    run_root: str = ""
    cluster: str = ""
    others: Record = EMPTY
    judging: Judging = NO_JUDGING

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return uncached(self)

    @functools.cached_property
    def scored(self) -> tuple[Row, ...]:
        """The rows that have a score."""
        return tuple(row for row in self.rows if row.score is not None)

    @functools.cached_property
    def failed(self) -> tuple[Row, ...]:
        """The rows that have no score. They are not zeros: ``mean`` leaves them out, and the
        printed evaluation counts them.
        """
        return tuple(row for row in self.rows if row.score is None)

    @functools.cached_property
    def mean(self) -> Estimate | None:
        """The mean over the scored rows with its 95 % interval; ``None`` if no row has a score."""
        return self._estimate(self.scored, 0.0)

    def mean_with_failures_as(self, value: float) -> Estimate | None:
        """Compute the mean with failed rows counted.

        Args:
            value: The score that a failed row counts as.

        Returns:
            The mean over all rows with its 95 % interval; ``None`` without rows.
        """
        return self._estimate(self.rows, value)

    @property
    def micro(self) -> Estimate | None:
        """The F1 of the counts added up over all examples, for metrics that count (``set_f1``,
        ``slot_f1``), without an interval; ``None`` if the scores carry no counts.
        """
        counts = [row.score.counts for row in self.scored if row.score and row.score.counts]
        if not counts:
            return None
        right = sum(count.right for count in counts)
        sizes = sum(count.found + count.wanted for count in counts)
        f1 = 2 * right / sizes if sizes else 1.0
        return Estimate(f1, None, None, None, len(counts), "micro F1")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics, the primary one first."""
        return (self.metric_name, *self.others)

    @property
    def means(self) -> Mapping[str, Estimate | None]:
        """The mean by each metric with its 95 % interval, by the metric's name."""
        return {name: self.by(name).mean for name in self.metrics}

    def by(self, metric: str) -> Evaluation:
        """Return the evaluation by one of its metrics alone.

        Args:
            metric: The metric's name.

        Returns:
            The evaluation that this metric alone would have made: the same root, rows, interval.

        Raises:
            BadData: There is no metric of that name.
        """
        check_metric(self.name, metric, self.metrics)
        if metric == self.metric_name:
            rows = tuple(attrs.evolve(row, scores=EMPTY, failures=EMPTY) for row in self.rows)
            return attrs.evolve(self, rows=rows, others=EMPTY)
        rows = tuple(row.by(metric) for row in self.rows)
        return attrs.evolve(
            self, rows=rows, metric=self.others[metric], metric_name=metric, others=EMPTY
        )

    @property
    def cost(self) -> int | None:
        """The price paid, judging included, in nano-dollars; ``None`` if the price of some call is
        unknown.
        """
        return sum_if_known([*(row.cost for row in self.rows), self.judging.cost])

    @property
    def unpriced(self) -> int:
        """The number of rows with an unknown cost."""
        return sum(row.cost is None for row in self.rows)

    @property
    def tokens(self) -> int | None:
        """The tokens read and written, judging included; ``None`` if the count of some call is
        unknown.
        """
        return sum_if_known([*(row.tokens for row in self.rows), self.judging.tokens])

    @property
    def latency(self) -> tuple[float, float] | None:
        """The median and the 95th percentile of the seconds a row took, over the rows that have a
        latency.
        """
        return latency_of([row.latency for row in self.rows if row.latency is not None])

    @functools.cached_property
    def root(self) -> str:
        """The hash of the run's root and the scores: equal roots, equal evaluations. That of
        several metrics is made of the roots by each.
        """
        if self.others:
            return digest("evaluations", [self.by(name).root for name in self.metrics])
        results = list(map(result_of, self.rows))
        return digest("evaluation", [self.run_root, self.metric, results])

    @property
    def failures(self) -> Mapping[str, int]:
        """The number of failures of each kind."""
        counts: dict[str, int] = toolz.frequencies(
            row.failure.kind if row.failure else "unknown" for row in self.failed
        )
        return counts

    @property
    def headline(self) -> str:
        """The metric, its mean with the interval, and how many rows are scored and failed."""
        estimate = self.mean
        score = "nothing was scored"
        if estimate is not None:
            score = f"{estimate} ({estimate.basis})"
        return f"{self.metric_name or 'score'} {score}; {self._counts_text()}"

    def clustered(self, field: str) -> Evaluation:
        """Take examples with equal values of a field as one unit in the interval.

        Args:
            field: A field of every example.

        Returns:
            A copy with that cluster.

        Raises:
            BadData: An example has no such field.
        """
        for row in self.rows:
            if field not in row.example:
                fix = near(field, row.example).strip()
                fix = fix or f"Its fields are {', '.join(row.example)}."
                problem = f"the example {short(row.id)!r} has no field {field!r}"
                raise BadData(self.name, problem, fix)
        return attrs.evolve(self, cluster=field)

    def cluster_of(self, row: Row) -> str:
        """Name the unit that a row belongs to.

        Args:
            row: A row of this evaluation.

        Returns:
            The hash of the cluster field's value; the example's id without a cluster field.
        """
        return digest("cluster", row.example[self.cluster]) if self.cluster else row.id

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return the evaluation as ``lmflow evaluate`` prints it.

        Returns:
            What ran, the mean with its interval and what it cost; the scores as bars; the worst
            rows.
        """
        rows = self.table()
        shown = [_short_cells(row) for row in rows[:ROWS_SHOWN]]
        more = len(rows) - ROWS_SHOWN
        rest = f"\n… {more} more rows, the better ones" if more > 0 else ""
        worst = left_table(same_columns(shown), columns_of(shown))
        lines = "\n".join(self._lines())
        return clean(f"{lines}\n\n{self.histogram()}\n\n{worst}{rest}")

    def __repr__(self) -> str:
        return f"<Evaluation {printable(f'{self.name}: {self.headline}', WIDEST_LINE)}>"

    def histogram(self, bins: int = 10, width: int = 40) -> str:
        """Draw the scores as bars.

        Args:
            bins: The number of bins; scores that are only 0 and 1 have two.
            width: The characters of the longest bar.

        Returns:
            A line of text for each bin.
        """
        return histogram([row.score.value for row in self.scored if row.score], bins, width)

    def table(self) -> list[dict[str, Any]]:
        """Return the rows as mappings.

        Returns:
            A mapping for each row (id, score, feedback, outputs, failure; ``score.NAME`` and
            ``feedback.NAME`` for each other metric): failures first, then from the worst score to
            the best.
        """
        return [row_cells(row, self.others) for row in sorted(self.rows, key=_order)]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """Make the evaluation from the JSON values of ``to_dict``. ``ForeignFile`` if they are not,
        or were changed.
        """
        return read_json("evaluation", data, lambda fields: cls(**_fields_of_json(fields)))

    def _repr_markdown_(self) -> str:
        return page_markdown(self._lines(), *self._blocks())

    def _repr_html_(self) -> str:
        return page_html(self._lines(), *self._blocks())

    def _blocks(self) -> tuple[Block, ...]:
        bars = Text(self.histogram())
        return bars, Table(self.table(), "Rows, the worst first")

    def _estimate(self, rows: Sequence[Row], failure_value: float) -> Estimate | None:
        values = [value_or(row, failure_value) for row in rows]
        return mean(values, [self.cluster_of(row) for row in rows]) if values else None

    def _counts_text(self) -> str:
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.failures.items())
        text = f"{len(self.scored)} scored, {len(self.failed)} failed"
        return f"{text} ({kinds})" if kinds else text

    def _lines(self) -> Iterator[str]:
        title = f"{self.name}, version {short(self.version)}, data {short(self.dataset)}"
        yield printable(title, WIDEST_LINE)
        for each in (self, *map(self.by, self.others)):
            yield printable(each.headline, WIDEST_LINE)
            if (micro := each.micro) is not None:
                yield f"micro F1 {micro}"
        yield "; ".join(self._spending())

    def _spending(self) -> Iterator[str]:
        unpriced, count = self.unpriced, len(self)
        text = f"{unpriced} of {count} rows without a price" if unpriced else ""
        return spending_lines(self.cost, self.judging, text, self.tokens, self.latency)


def _fields_of_json(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: item for name, item in fields.items() if name not in COMPUTED},
        "rows": rows_from_json(fields["rows"], fields.get("cluster", "")),
        "others": Record(fields.get("others", {})),
        "judging": Judging(**fields.get("judging", {})),
    }


def check_metric(name: str, metric: str, known: Sequence[str]) -> None:
    """Raise ``BadData`` unless an evaluation of that name has the metric."""
    if metric not in known:
        fix = near(metric, known).strip() or f"Its metrics: {', '.join(known)}."
        raise BadData(f"evaluation {name}", f"it has no metric {short(metric)!r}", fix)


def _short_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's cells with objects cut shorter than texts, which say more."""
    cells = dict(row)
    for name, value in row.items():
        if isinstance(value, Mapping):
            cells[name] = printable(pretty(value), _CELL_WIDTH)
    return cells


def _order(row: Row) -> float:
    return -math.inf if row.score is None else row.score.value
