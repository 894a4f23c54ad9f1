"""Evaluations as values: the rows of a scored run, and their mean with its interval; failures are
not zeros.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import BadData, near, short
from lmflow.errors.missing_attributes import ExplainsAttributes
from lmflow.evaluation.charts import histogram
from lmflow.evaluation.exports import COMPUTED, WRITTEN, EvaluationRows
from lmflow.evaluation.metric_kinds import check_metric
from lmflow.evaluation.rows import (
    Row,
    each_row,
    result_of,
    row_cells,
    rows_at,
    rows_from_json,
    short_cells,
    sum_if_known,
)
from lmflow.evaluation.spending import (
    NO_JUDGING,
    Judging,
    RowSpending,
    latency_of,
    spending_lines,
    spending_of,
)
from lmflow.evaluation.stats import Estimate
from lmflow.evaluation.tally import Sums, Tally, evaluation_root, tally_of
from lmflow.traces.json_form import read_json
from lmflow.values.attributes import uncached
from lmflow.values.printing import clean, printable
from lmflow.values.record import EMPTY, Record, canonical, digest
from lmflow.views.page import ROWS_SHOWN, WIDEST_LINE, Block, Table, Text, page_html, page_markdown
from lmflow.views.tables import columns_of, left_table, same_columns


@attrs.frozen(slots=False, repr=False)
class Evaluation(ExplainsAttributes, EvaluationRows):
    """A program under a version on examples, scored by a metric, or by several of which the first
    is the primary one: it is what ``mean``, ``scored`` and ``failed`` speak of. ``by(name)`` is the
    evaluation by another one.

    Attributes:
        name: The evaluation's name, for people.
        rows: A row for each example and sample. Of a long evaluation in a store they are read, and
            scored again by the metric, when they are looked at; what follows from them is held.
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
    rows: Sequence[Row]
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
    def scored(self) -> Sequence[Row]:
        """The rows that have a score."""
        return rows_at(self.rows, self._tally.places(scored=True))

    @functools.cached_property
    def failed(self) -> Sequence[Row]:
        """The rows that have no score. They are not zeros: ``mean`` leaves them out, and the
        printed evaluation counts them.
        """
        return rows_at(self.rows, self._tally.places(scored=False))

    @functools.cached_property
    def mean(self) -> Estimate | None:
        """The mean over the scored rows with its 95 % interval; ``None`` if no row has a score."""
        return self._tally.mean()

    def mean_with_failures_as(self, value: float) -> Estimate | None:
        """Compute the mean with failed rows counted.

        Args:
            value: The score that a failed row counts as.

        Returns:
            The mean over all rows with its 95 % interval; ``None`` without rows.
        """
        return self._tally.mean(value)

    @property
    def micro(self) -> Estimate | None:
        """The F1 of the counts added up over all examples, for metrics that count (``set_f1``,
        ``slot_f1``), without an interval; ``None`` if the scores carry no counts.
        """
        return self._tally.micro

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
        key, change = self.metric, Row.by_primary
        if metric != self.metric_name:
            key, change = self.others[metric], functools.partial(Row.by, metric=metric)
        rows = each_row(self.rows, change)
        alone = attrs.evolve(self, rows=rows, metric=key, metric_name=metric, others=EMPTY)
        return alone.with_sums(self._sums) if self._sums else alone

    @property
    def cost(self) -> int | None:
        """The price paid, judging included, in nano-dollars; ``None`` if the price of some call is
        unknown.
        """
        return sum_if_known([self._spending.cost, self.judging.cost])

    @property
    def unpriced(self) -> int:
        """The number of rows with an unknown cost."""
        return self._spending.unpriced

    @property
    def tokens(self) -> int | None:
        """The tokens read and written, judging included; ``None`` if the count of some call is
        unknown.
        """
        return sum_if_known([self._spending.tokens, self.judging.tokens])

    @property
    def latency(self) -> tuple[float, float] | None:
        """The median and the 95th percentile of the seconds a row took, over the rows that have a
        latency.
        """
        return latency_of(self._spending.seconds)

    @functools.cached_property
    def root(self) -> str:
        """The hash of the run's root and the scores: equal roots, equal evaluations. That of
        several metrics is made of the roots by each.
        """
        if self.others:
            return digest("evaluations", [self.by(name).root for name in self.metrics])
        if self._sums:
            return self._sums.roots[self.metric_name]
        results = (canonical(result_of(row)) for row in self.rows)
        return evaluation_root(self.run_root, self.metric, results)

    @property
    def failures(self) -> Mapping[str, int]:
        """The number of failures of each kind."""
        return self._tally.failures

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
        shown = list(map(short_cells, self._worst_cells()))
        more = len(self) - ROWS_SHOWN
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
        return histogram(self._tally.scores(), bins, width)

    def table(self) -> list[dict[str, Any]]:
        """Return the rows as mappings.

        Returns:
            A mapping for each row (id, score, feedback, outputs, failure; ``score.NAME`` and
            ``feedback.NAME`` for each other metric): failures first, then from the worst score to
            the best.
        """
        cells = [row_cells(row, self.others) for row in self.rows]
        return [cells[place] for place in self._tally.worst(len(self))]

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
        return bars, Table(self._worst_cells(), "Rows, the worst first", len(self))

    def with_sums(self, sums: Sums) -> Evaluation:
        """Return this evaluation, which knows the sums of its rows, so that nobody has to read
        the rows for them. They aren't fields: one with other rows adds up its own.
        """
        vars(self)["_sums"] = sums
        return self

    @functools.cached_property
    def _sums(self) -> Sums | None:
        return None

    @functools.cached_property
    def _tally(self) -> Tally:
        if self._sums:
            return self._sums.tallies[self.metric_name]
        return tally_of(self.rows, self.cluster_of)

    @functools.cached_property
    def _spending(self) -> RowSpending:
        return self._sums.spending if self._sums else spending_of(self.rows)

    def _worst_cells(self) -> list[dict[str, Any]]:
        rows = rows_at(self.rows, self._tally.worst(ROWS_SHOWN))
        return [row_cells(row, self.others) for row in rows]

    def _counts_text(self) -> str:
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.failures.items())
        failed = self._tally.failed
        text = f"{len(self) - failed} scored, {failed} failed"
        return f"{text} ({kinds})" if kinds else text

    def _lines(self) -> Iterator[str]:
        title = f"{self.name}, version {short(self.version)}, data {short(self.dataset)}"
        yield printable(title, WIDEST_LINE)
        for each in (self, *map(self.by, self.others)):
            yield printable(each.headline, WIDEST_LINE)
            if (micro := each.micro) is not None:
                yield f"micro F1 {micro}"
        yield "; ".join(self._spending_lines())

    def _spending_lines(self) -> Iterator[str]:
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
