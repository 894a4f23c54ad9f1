"""Evaluations as values: the rows of a scored run, their mean with its interval, failures apart
from zeros.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import toolz

from lmflow.errors import BadData, near, short
from lmflow.evaluation.charts import histogram
from lmflow.evaluation.rows import Row, cells, row_from_json, sum_if_known
from lmflow.evaluation.stats import Estimate, mean
from lmflow.evaluation.tables import (
    columns_of,
    html_table,
    html_text,
    markdown_table,
    markdown_text,
)
from lmflow.values.attributes import uncached
from lmflow.values.printing import printable
from lmflow.values.record import digest, plain

SHOWN = 20


@attrs.frozen(slots=False, repr=False)
class Evaluation:
    """A program under a version on examples, scored by a metric.

    ``program``, ``version`` and ``metric`` are keys, ``dataset`` a digest; ``name`` and
    ``metric_name`` are for people. ``run`` and ``run_root`` name the run whose traces were scored.
    ``cluster`` is a field of the examples whose equal values go together (questions on one
    document): they count as one in the interval.
    """

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
        """The rows that have none. They are no zeros: ``mean`` leaves them out and the words name
        them.
        """
        return tuple(row for row in self.rows if row.score is None)

    @functools.cached_property
    def mean(self) -> Estimate | None:
        """The mean over the scored rows with its 95 % interval; ``None`` where nothing was scored."""
        return self._estimate(self.scored, 0.0)

    def mean_with_failures_as(self, value: float) -> Estimate | None:
        """The mean with each failed row counted as ``value``."""
        return self._estimate(self.rows, value)

    @property
    def micro(self) -> Estimate | None:
        """The F1 of the counts added up over all examples, for metrics that count (``set_f1``,
        ``slot_f1``); without an interval. ``None`` where the scores carry no counts.
        """
        counts = [row.score.counts for row in self.scored if row.score and row.score.counts]
        if not counts:
            return None
        right, sizes = sum(c.right for c in counts), sum(c.found + c.wanted for c in counts)
        return Estimate(
            2 * right / sizes if sizes else 1.0, None, None, None, len(counts), "micro F1"
        )

    @property
    def cost(self) -> int | None:
        """What was paid, in nano-dollars; ``None`` where a price is unknown."""
        return sum_if_known(row.cost for row in self.rows)

    @property
    def unpriced(self) -> int:
        """How many rows have an unknown cost."""
        return sum(row.cost is None for row in self.rows)

    @property
    def tokens(self) -> int | None:
        """The tokens read and written; ``None`` where a provider didn't say."""
        return sum_if_known(row.tokens for row in self.rows)

    @property
    def latency(self) -> tuple[float, float] | None:
        """The median and the 95th percentile of seconds a row, over the rows that say."""
        known = sorted(row.latency for row in self.rows if row.latency is not None)
        return (_quantile(known, 0.5), _quantile(known, 0.95)) if known else None

    @functools.cached_property
    def root(self) -> str:
        """The hash of the run's root and the scores: equal roots, equal evaluations."""
        scores = [[row.label, row.score, None if row.score else row.failure] for row in self.rows]
        return digest("evaluation", [self.run_root, self.metric, scores])

    @property
    def failures(self) -> Mapping[str, int]:
        """How often each kind of failure happened."""
        found: dict[str, int] = toolz.frequencies(
            row.failure.kind if row.failure else "unknown" for row in self.failed
        )
        return found

    @property
    def headline(self) -> str:
        """The metric, its mean with the interval, how many rows count and failed."""
        found = self.mean
        score = "nothing was scored" if found is None else f"{found} ({found.method}, n {found.n})"
        return f"{self.metric_name or 'score'} {score}; {self._failures()}"

    def clustered(self, field: str) -> Evaluation:
        """The same with an interval that takes examples of one value of ``field`` as going
        together.
        """
        for row in self.rows:
            if field not in row.example:
                hint = (
                    near(field, row.example).strip() or f"Its fields are {', '.join(row.example)}."
                )
                raise BadData(
                    self.name, f"the example {short(row.id)!r} has no field {field!r}", hint
                )
        return attrs.evolve(self, cluster=field)

    def cluster_of(self, row: Row) -> str:
        """What a row's score goes together with: the value of the cluster's field, else the
        example.
        """
        return digest("cluster", row.example[self.cluster]) if self.cluster else row.id

    def __str__(self) -> str:
        return "\n".join(self._words())

    def __repr__(self) -> str:
        return f"<Evaluation {self.name}: {self.headline}>"

    def histogram(self, bins: int = 10, width: int = 40) -> str:
        """The scores as bars, a line a bin; scores that are only 0 and 1 have two bins."""
        return histogram([row.score.value for row in self.scored if row.score], bins, width)

    def table(self) -> list[dict[str, Any]]:
        """One mapping a row, worst scores first, failures before them: id, score, feedback,
        outputs, failure.
        """
        worst = sorted(
            self.rows, key=lambda row: -math.inf if row.score is None else row.score.value
        )
        return [cells(row) for row in worst]

    def to_json(self) -> dict[str, Any]:
        """The evaluation as JSON values; ``evaluation_of`` reads it back."""
        found: dict[str, Any] = plain(
            {field.name: getattr(self, field.name) for field in attrs.fields(Evaluation)}
        )
        return found

    def _repr_markdown_(self) -> str:
        rows = self.table()[:SHOWN]
        lines = "  \n".join(markdown_text(line, 400) for line in self._words())
        return f"{lines}\n\n{markdown_table(rows, columns_of(rows))}"

    def _repr_html_(self) -> str:
        rows = self.table()[:SHOWN]
        lines = "<br>".join(html_text(line, 400) for line in self._words())
        bars = "\n".join(html_text(line, 400) for line in self.histogram().splitlines())
        return f"<p>{lines}</p><pre>{bars}</pre>{html_table(rows, columns_of(rows))}"

    def _estimate(self, rows: Sequence[Row], failure: float) -> Estimate | None:
        values = [row.score.value if row.score else failure for row in rows]
        return mean(values, [self.cluster_of(row) for row in rows]) if values else None

    def _failures(self) -> str:
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.failures.items())
        return (
            f"{len(self.scored)} scored, {len(self.failed)} failed{f' ({kinds})' if kinds else ''}"
        )

    def _words(self) -> Iterable[str]:
        yield printable(
            f"{self.name}, version {short(self.version)}, data {short(self.dataset)}", 400
        )
        yield printable(self.headline, 400)
        if (micro := self.micro) is not None:
            yield f"micro F1 {micro}"
        yield "; ".join(part for part in (_money(self), _tokens(self), _seconds(self)) if part)


def evaluation_from_json(data: Mapping[str, Any]) -> Evaluation:
    """The evaluation that was stored as JSON values."""
    return Evaluation(**{**data, "rows": tuple(map(row_from_json, data["rows"]))})


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The value that at least ``share`` of the ordered values don't exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _money(found: Evaluation) -> str:
    if found.cost is None:
        return f"cost unknown ({found.unpriced} of {len(found)} rows without a price)"
    dollars = found.cost / 1e9
    return f"cost ${dollars:,.2f}" if dollars >= 1 else f"cost ${dollars:.2g}"


def _tokens(found: Evaluation) -> str:
    return "" if found.tokens is None else f"{found.tokens:,} tokens"


def _seconds(found: Evaluation) -> str:
    return (
        ""
        if found.latency is None
        else f"latency p50 {found.latency[0]:.2f} s, p95 {found.latency[1]:.2f} s"
    )
