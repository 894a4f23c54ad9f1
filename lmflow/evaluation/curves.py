"""The effect of more samples, computed from recorded runs alone."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import BadData
from lmflow.evaluation.charts import lines_svg
from lmflow.evaluation.rows import Row, value_or
from lmflow.evaluation.samples import (
    VoteKey,
    cost_text,
    mean_if_known,
    rows_by_example,
    vote_function,
)
from lmflow.evaluation.stats import Estimate, is_binary, mean, within
from lmflow.library.search.voting import elected, vote_of
from lmflow.metrics import Metric
from lmflow.traces.trace import Run
from lmflow.values.printing import printable
from lmflow.views.page import Block, Picture, Table, page_html, page_markdown
from lmflow.views.tables import text_table

_ALL_SIZES = 8  # up to so many samples each size is a point, beyond them powers of two
_BAR_WIDTH = 30

Sample = tuple[str | None, float]
"""A sample's vote, ``None`` if it failed, and its score."""


@attrs.frozen
class CurvePoint:
    """The scores and the mean cost an example with ``k`` samples.

    Attributes:
        k: The number of samples an example.
        best: The score of the best sample (pass@k).
        vote: The score of the samples' vote (vote@k).
        cost: Nano-dollars, ``None`` if a price is unknown.
        tokens: Tokens read and written, ``None`` if a count is unknown.
        calls: Calls.
    """

    k: int
    best: Estimate
    vote: Estimate
    cost: float | None
    tokens: float | None
    calls: float


@attrs.frozen(slots=False, repr=False)
class Curves:
    """pass@k and vote@k over the samples of a run.

    Attributes:
        name: The run's name.
        points: A point for each ``k``.
        exact: Whether every vote was counted over all subsets of its size.
    """

    name: str
    points: tuple[CurvePoint, ...]
    exact: bool

    def rows(self) -> list[dict[str, Any]]:
        """Return the points as mappings, with 95 % intervals over examples.

        Returns:
            For each ``k``: k, pass, pass_low, pass_high, vote, vote_low, vote_high, cost, tokens,
            calls.
        """
        return [
            {
                "k": point.k,
                **_bounds("pass", point.best),
                **_bounds("vote", point.vote),
                "cost": point.cost,
                "tokens": point.tokens,
                "calls": point.calls,
            }
            for point in self.points
        ]

    def enough(self, within: float = 0.01) -> int:
        """Return the least ``k`` whose vote is nearly as good as the best vote of any ``k``.

        Args:
            within: The most that its score may be below the best.

        Returns:
            The number of samples.
        """
        top = max(point.vote.value for point in self.points)
        return next(point.k for point in self.points if point.vote.value >= top - within)

    def plot(self) -> str:
        """Draw pass@k and vote@k as bars.

        Returns:
            Two lines of text for each ``k``.
        """
        lines = []
        for point in self.points:
            lines.append(_bar(f"pass@{point.k}", point.best))
            lines.append(_bar(f"vote@{point.k}", point.vote))
        return "\n".join(lines)

    def svg(self) -> str:
        """Draw both curves.

        Returns:
            An SVG picture.
        """
        lines = {
            "pass@k": [(point.k, point.best.value) for point in self.points],
            "vote@k": [(point.k, point.vote.value) for point in self.points],
        }
        return lines_svg(lines, f"{self.name}: samples")

    def __str__(self) -> str:
        return text_table(self._cells())

    def __repr__(self) -> str:
        return f"<{self._headline}>"

    def _repr_html_(self) -> str:
        return page_html((self._headline,), *self._blocks())

    def _repr_markdown_(self) -> str:
        return page_markdown((self._headline,), *self._blocks())

    @property
    def _headline(self) -> str:
        last = self.points[-1]
        scores = f"pass@{last.k} {last.best}, vote@{last.k} {last.vote}"
        return f"Curves {printable(self.name)}: {scores}"

    def _blocks(self) -> tuple[Block, ...]:
        table = Table(self._cells(), "Samples, with 95 % intervals", noun="size")
        return table, Picture(self.svg(), self.plot())

    def _cells(self) -> list[dict[str, str]]:
        return [
            {
                "k": str(point.k),
                "pass@k": str(point.best),
                "vote@k": str(point.vote),
                "tokens": cost_text(point.tokens),
                "calls": cost_text(point.calls),
            }
            for point in self.points
        ]


def curves(  # noqa: PLR0913 - each is a choice of its own
    run: Run,
    examples: Iterable[Mapping[str, Any]],
    metric: Metric,
    *,
    key: VoteKey = "",
    subsets: int = 1000,
    seed: int = 0,
) -> Curves:
    """Compute pass@k and vote@k of a run with samples, without a call.

    pass@k is the expected best score of ``k`` of the ``n`` samples, without bias: for scores of 0
    and 1 it is ``1 - C(n - c, k) / C(n, k)`` (Chen et al. 2021, arXiv 2107.03374, section 2.1).
    vote@k is the mean score of the answer that ``self_consistency`` with that ``key`` would give,
    over all subsets of ``k`` samples in their order, or over ``subsets`` drawn ones if there are
    more. A row without a score counts as 0. Intervals are over examples.

    Args:
        run: A run with samples: ``ex.map(program, rows, samples=n)``.
        examples: The examples that were run.
        metric: Scores an example's outputs.
        key: The output by which samples agree, or a function of the outputs; all outputs if empty.
        subsets: The most subsets of a size that votes are counted over.
        seed: The seed of drawn subsets.

    Returns:
        The curves up to ``n`` samples; from 9 on at powers of two, and at ``n``.

    Raises:
        BadData: Examples have different numbers of samples, or the run holds none.
        MetricFailed: The metric fails on all outputs.
    """
    by = vote_function(key)
    groups = rows_by_example(run, examples, metric)
    n = _samples_each(run, groups)
    rows = [row for group in groups.values() for row in group]
    calls = sum(len(trace.calls) for trace in run) / len(run)
    cost = mean_if_known([row.cost for row in rows])
    tokens = mean_if_known([row.tokens for row in rows])
    samples = {label: [_sample(row, by) for row in group] for label, group in groups.items()}
    scores_of = {label: [score for _, score in group] for label, group in samples.items()}
    is_share = is_binary(value_or(row, 0.0) for row in rows)
    average = _mean_share if is_share else mean
    points = [
        CurvePoint(
            k,
            average([best_at(scores, k) for scores in scores_of.values()]),
            average(
                [vote_at(group, k, subsets, f"{seed}/{name}") for name, group in samples.items()]
            ),
            _times(k, cost),
            _times(k, tokens),
            k * calls,
        )
        for k in _sizes(n)
    ]
    return Curves(run.name, tuple(points), all(math.comb(n, k) <= subsets for k in _sizes(n)))


def best_at(values: Sequence[float], k: int) -> float:
    """Return the expected greatest of ``k`` of the values, drawn without putting back: exact."""
    # The i-th smallest value is the greatest of C(i - 1, k - 1) subsets.
    n, ordered = len(values), sorted(values)
    total = math.fsum(ordered[i - 1] * math.comb(i - 1, k - 1) for i in range(k, n + 1))
    return total / math.comb(n, k)


def vote_at(samples: Sequence[Sample], k: int, subsets: int, seed: str) -> float:
    """Return the mean score of the vote of ``k`` of the samples, over all subsets, or over
    ``subsets`` drawn ones if there are more.
    """
    drawn = _subsets(len(samples), k, subsets, seed)
    scores = [_vote_score([samples[at] for at in subset]) for subset in drawn]
    return math.fsum(scores) / len(scores)


def _samples_each(run: Run, groups: Mapping[str, Sequence[Row]]) -> int:
    sizes = {len(rows) for rows in groups.values()}
    if len(sizes) == 1:
        return sizes.pop()
    problem = "it holds no samples"
    if sizes:
        problem = f"it holds from {min(sizes)} to {max(sizes)} samples an example"
    raise BadData(f"run {run.id}", problem, "Run each example equally often: samples=n.")


def _sample(row: Row, by: Any) -> Sample:
    return None if row.outputs is None else vote_of(row.outputs, by), value_or(row, 0.0)


def _vote_score(samples: Sequence[Sample]) -> float:
    cast = [(vote, score) for vote, score in samples if vote is not None]
    if not cast:
        return 0.0
    winner, _ = elected([vote for vote, _ in cast])
    return cast[winner][1]


def _subsets(n: int, k: int, most: int, seed: str) -> Iterator[Sequence[int]]:
    if math.comb(n, k) <= most:
        yield from itertools.combinations(range(n), k)
        return
    # The size is part of the seed: with one generator for all sizes, a run with more samples would
    # draw other subsets for the sizes that it shares with a smaller one.
    rng = random.Random(f"{seed}/{k}")  # noqa: S311 - no secret
    for _ in range(most):
        yield sorted(rng.sample(range(n), k))


def _sizes(n: int) -> list[int]:
    if n <= _ALL_SIZES:
        return list(range(1, n + 1))
    return sorted({*(2**exponent for exponent in range(n.bit_length())), n})


def _mean_share(values: Sequence[float]) -> Estimate:
    """Return the mean of the shares of right answers, none of which can pass 1."""
    return within(mean(values), 0.0, 1.0)


def _times(k: int, cost: float | None) -> float | None:
    return None if cost is None else k * cost


def _bounds(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _bar(name: str, estimate: Estimate) -> str:
    share = max(0.0, min(1.0, estimate.value))
    return f"{name:>9} {'█' * round(_BAR_WIDTH * share):<{_BAR_WIDTH}} {estimate}"
