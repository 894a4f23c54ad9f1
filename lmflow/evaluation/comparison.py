"""Two evaluations compared on the same examples: the difference, whether it can be told from
chance, and how many examples would decide it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from lmflow.errors import NotComparable, check_kind, short
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.metric_kinds import check_metric
from lmflow.evaluation.pairing import (
    Pair,
    check_same_example,
    clusters_of,
    mean_score,
    pairs_of,
    rows_by_id,
    title_of,
)
from lmflow.evaluation.stats import (
    EQUAL,
    Estimate,
    Test,
    detectable_difference,
    format_score,
    paired_test,
    sample_size_needed,
)
from lmflow.values.json_fields import JsonFields
from lmflow.values.printing import clean, printable
from lmflow.views.lines import counted
from lmflow.views.page import ROWS_SHOWN, WIDEST_LINE, Table, page_html, page_markdown
from lmflow.views.tables import columns_of, left_table, same_columns

SIGNIFICANT = 0.05
"""The p below which a difference counts as real."""

_LEAST_P = 0.001  # below it more digits say nothing
_EQUAL_DIFFERENCES_NEEDED = 6  # 2 ** (1 - n), the p of the sign test, is below 0.05


@attrs.frozen(slots=False, repr=False)
class Comparison(JsonFields):
    """The comparison of evaluation ``b`` with evaluation ``a``.

    Attributes:
        a: The first evaluation's name and version.
        b: The second evaluation's name and version.
        metric: The metric's name.
        pairs: The examples that have a score under both.
        test: The mean of b - a with its interval and p.
        only_a: Ids of examples that were run under a alone.
        only_b: Ids of examples that were run under b alone.
        failed_a: Ids of examples run under both that have no score under a. Like those of
            ``failed_b`` they are left out of the difference and counted when printed.
        failed_b: Ids of examples run under both that have no score under b.
        others: The comparisons by the other metrics that both evaluations have.
    """

    json_fields = (
        *("a", "b", "metric", "verdict", "better", "difference", "p", "pairs"),
        *("only_a", "only_b", "failed_a", "failed_b", "others"),
    )

    a: str
    b: str
    metric: str
    pairs: tuple[Pair, ...]
    test: Test
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    failed_a: tuple[str, ...] = ()
    failed_b: tuple[str, ...] = ()
    others: tuple[Comparison, ...] = ()

    @property
    def difference(self) -> Estimate:
        """The mean of b - a with its interval."""
        return self.test.difference

    @property
    def p(self) -> float:
        """The probability of a difference at least this large if the versions are equal
        (two-sided).
        """
        return self.test.p

    @property
    def better(self) -> Literal["a", "b"] | None:
        """The better side, if p is below 0.05 and the interval leaves 0 out; else ``None``: the
        difference cannot be told from chance.
        """
        if self.p >= SIGNIFICANT or _includes_zero(self.difference) or not self.difference.value:
            return None
        return "b" if self.difference.value > 0 else "a"

    @property
    def wins(self) -> tuple[Pair, ...]:
        """The pairs in which b is better, the largest difference first."""
        wins = [pair for pair in self.pairs if pair.difference > 0]
        return tuple(sorted(wins, key=lambda pair: -pair.difference))

    @property
    def losses(self) -> tuple[Pair, ...]:
        """The pairs in which a is better, the largest difference first."""
        losses = [pair for pair in self.pairs if pair.difference < 0]
        return tuple(sorted(losses, key=lambda pair: pair.difference))

    @property
    def ties(self) -> tuple[Pair, ...]:
        """The pairs with equal scores."""
        return tuple(pair for pair in self.pairs if pair.difference == 0)

    @property
    def more_examples(self) -> int | None:
        """The number of further examples that would show the observed difference, at 80 % power; 0
        if it is decided, ``None`` if no difference was observed. If all pairs differ by the same,
        it is the number that the sign test needs.
        """
        if self.better:
            return 0
        units = sample_size_needed(self.difference)
        if units is None:
            units = _EQUAL_DIFFERENCES_NEEDED if self.difference.value else None
        if units is None:
            return None
        examples = math.ceil(units * len(self.pairs) / self.difference.n)
        return max(1, examples - len(self.pairs))

    def table(self) -> list[dict[str, Any]]:
        """Return the pairs as mappings.

        Returns:
            A mapping for each pair (id, a, b, and both sides' outputs): losses first, then wins,
            then ties.
        """
        return [_pair_cells(pair) for pair in (*self.losses, *self.wins, *self.ties)]

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return the comparison as ``lmflow compare`` prints it.

        Returns:
            The verdict, the counts, and the pairs that differ.
        """
        lines = "\n".join(self._lines())
        differing = [row for row in self.table() if row["a"] != row["b"]]
        rows = same_columns(differing[:ROWS_SHOWN])
        return clean(f"{lines}\n\n{left_table(rows, columns_of(rows))}" if rows else lines)

    def __repr__(self) -> str:
        return f"<Comparison: {self.verdict}>"

    @property
    def verdict(self) -> str:
        """The better side and its lead in words, or that it cannot be told and what would decide
        it.
        """
        difference = self.difference
        evidence = f"{_p_text(self.p)}, n {difference.n}"
        if self.better:
            lead = difference if self.better == "b" else _negated(difference)
            everywhere = " on every example" if self._is_even else ""
            return f"{self.better} is better by {lead}{everywhere}, {evidence}"
        return f"can't tell: b - a = {difference}, {evidence}; {self._advice()}"

    @property
    def _is_even(self) -> bool:
        """Whether all pairs differ by the same, so that nothing says how much others would."""
        first = self.pairs[0].difference
        return all(math.isclose(first, pair.difference, abs_tol=EQUAL) for pair in self.pairs)

    def _advice(self) -> str:
        if not self.wins and not self.losses:
            return "they score alike on every example"
        if self._is_even:
            which = "b" if self.difference.value > 0 else "a"
            count = f"{self.more_examples} more that differ alike would tell"
            return f"{which} is ahead by the same on every example, which are too few: {count}"
        if self.more_examples is not None:
            return f"about {counted(self.more_examples, 'more example')} would (80 % power)"
        shown = format_score(detectable_difference(self.difference))
        return f"no difference was seen; one of {shown} would have been (80 % power)"

    def _lines(self) -> Iterator[str]:
        yield self.verdict
        sides = f"a = {self.a}; b = {self.b}; {self.metric}, {self.test.name}"
        yield printable(sides, WIDEST_LINE)
        yield f"b wins {len(self.wins)}, loses {len(self.losses)}, ties {len(self.ties)}"
        left_out = {
            "only in a": self.only_a,
            "only in b": self.only_b,
            "failed in a": self.failed_a,
            "failed in b": self.failed_b,
        }
        counts = [f"{len(ids)} {reason}" for reason, ids in left_out.items() if ids]
        if counts:
            yield f"left out: {', '.join(counts)}"
        for other in self.others:
            yield printable(f"{other.metric}: {other.verdict}", WIDEST_LINE)

    def _repr_markdown_(self) -> str:
        return page_markdown(self._lines(), self._pairs_table())

    def _repr_html_(self) -> str:
        return page_html(self._lines(), self._pairs_table())

    def _pairs_table(self) -> Table:
        return Table(self.table(), "Losses of b, then its wins, then ties", noun="pair")


def compare(  # noqa: PLR0913 - each is a choice of its own
    a: Evaluation,
    b: Evaluation,
    *,
    metric: str = "",
    failures_as: float | None = None,
    cluster: str = "",
    seed: int = 0,
) -> Comparison:
    """Compare evaluation ``b`` with ``a``, paired by the ids of their examples; samples of one
    example are averaged first.

    Args:
        a: The evaluation to compare with.
        b: The evaluation to compare.
        metric: The name of the metric to compare by, if an evaluation has several; by default the
            primary one of ``a``, or of ``b`` if only that is shared. ``others`` compares by the
            others that both have.
        failures_as: The score that a failed row counts as; failed rows are left out if ``None``.
        cluster: A field of the examples whose equal values belong together; that of ``a`` if empty.
        seed: The seed of the bootstrap.

    Returns:
        The comparison.

    Raises:
        NotComparable: The evaluations share no scored example, were scored by different metrics, or
            one id stands for different examples.
        BadData: An example has no field ``cluster``.
    """
    for side in (a, b):
        check_kind("an evaluation", side, Evaluation, "It is what ex.evaluate gives.")
    (first_a, first_b), *rest = _by_shared_metrics(a, b, metric)
    options: dict[str, Any] = {"failures_as": failures_as, "cluster": cluster, "seed": seed}
    comparison = _compare(first_a, first_b, **options)
    others = []
    for other_a, other_b in rest:
        with contextlib.suppress(NotComparable):  # no pair has its score; the first is compared
            others.append(_compare(other_a, other_b, **options))
    return attrs.evolve(comparison, others=tuple(others))


def _by_shared_metrics(
    a: Evaluation, b: Evaluation, metric: str
) -> list[tuple[Evaluation, Evaluation]]:
    """Pair the evaluations by each metric that both have: first the named one, or the primary one
    of ``a`` or else of ``b``. Raises ``NotComparable`` if they share none, or not the named one;
    ``BadData`` if ``a`` does not have that.
    """
    if metric:
        check_metric(a.name, metric, a.metrics)
    by_key = {each.metric: each for each in map(b.by, b.metrics)}
    sides = {
        each.metric_name: (each, by_key[each.metric])
        for each in map(a.by, a.metrics)
        if each.metric in by_key
    }
    primaries = [name for name, pair in sides.items() if pair[1].metric == b.metric]
    if a.metric_name in sides:
        primaries.insert(0, a.metric_name)
    first = metric or next(iter([*primaries, *sides]), "")
    if first not in sides:
        problem = f"by {metric or ', '.join(a.metrics)} and {', '.join(b.metrics)}, two metrics"
        fix = "Score both by one: lf.scores_from(run, examples, metric) costs nothing."
        raise NotComparable(title_of(a), title_of(b), problem, fix)
    return [sides.pop(first), *sides.values()]


def _compare(
    a: Evaluation, b: Evaluation, *, failures_as: float | None, cluster: str, seed: int
) -> Comparison:
    """Compare two evaluations by their only metric."""
    a = a.clustered(cluster) if cluster else a
    rows_a, rows_b = rows_by_id(a), rows_by_id(b)
    shared = [name for name in rows_a if name in rows_b]
    for name in shared:
        check_same_example(a, b, rows_a[name][0], rows_b[name][0])
    scores_a = {name: mean_score(rows_a[name], failures_as) for name in shared}
    scores_b = {name: mean_score(rows_b[name], failures_as) for name in shared}
    pairs = tuple(pairs_of(rows_a, rows_b, scores_a, scores_b))
    if not pairs:
        problem = f"none of {len(rows_a)} and {len(rows_b)} examples has a score under both"
        raise NotComparable(
            title_of(a), title_of(b), problem, "Evaluate both on the same data set."
        )
    differences = [pair.difference for pair in pairs]
    return Comparison(
        title_of(a),
        title_of(b),
        a.metric_name or "score",
        pairs,
        paired_test(differences, clusters_of(pairs, a.cluster), seed=seed),
        only_a=tuple(name for name in rows_a if name not in rows_b),
        only_b=tuple(name for name in rows_b if name not in rows_a),
        failed_a=tuple(name for name, score in scores_a.items() if score is None),
        failed_b=tuple(name for name, score in scores_b.items() if score is None),
    )


def _includes_zero(estimate: Estimate) -> bool:
    """Return whether the interval includes 0; without an interval it does not."""
    if estimate.low is None or estimate.high is None:
        return False
    return estimate.low <= 0 <= estimate.high


def _negated(estimate: Estimate) -> Estimate:
    low = None if estimate.high is None else -estimate.high
    high = None if estimate.low is None else -estimate.low
    return attrs.evolve(estimate, value=-estimate.value, low=low, high=high)


def _pair_cells(pair: Pair) -> dict[str, Any]:
    cells: dict[str, Any] = {"id": short(pair.id), "a": pair.a, "b": pair.b}
    outputs_a: Mapping[str, Any] = pair.a_outputs or {}
    outputs_b: Mapping[str, Any] = pair.b_outputs or {}
    for name in dict.fromkeys((*outputs_a, *outputs_b)):
        cells[f"a.{name}"] = outputs_a.get(name)
        cells[f"b.{name}"] = outputs_b.get(name)
    return cells


def _p_text(p: float) -> str:
    return f"p < {_LEAST_P}" if p < _LEAST_P else f"p {p:.2g}"
