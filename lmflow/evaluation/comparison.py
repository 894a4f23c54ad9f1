"""Two evaluations compared on the same examples: the difference, whether it is one, and what would
decide it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs
import toolz

from lmflow.errors import NotComparable, check_kind, short
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.rows import Row
from lmflow.evaluation.stats import Estimate, Test, detectable_difference, sample_size_needed, format_score, paired_test
from lmflow.evaluation.tables import (
    columns_of,
    html_table,
    html_text,
    markdown_table,
    markdown_text,
)
from lmflow.values.printing import printable
from lmflow.values.record import Record, digest

SIGNIFICANT = 0.05
SHOWN = 20


@attrs.frozen
class Pair:
    """One example under both: the mean score of its samples, and what each gave first."""

    id: str
    example: Record
    a: float
    b: float
    a_outputs: Record | None = None
    b_outputs: Record | None = None

    @property
    def difference(self) -> float:
        """How much better b is."""
        return self.b - self.a


@attrs.frozen(slots=False, repr=False)
class Comparison:
    """``b`` against ``a`` on the examples that both have a score of.

    ``test`` holds the mean of b - a with its interval and p. ``only_a`` and ``only_b`` are examples
    that one side alone was run on; ``failed_a`` and ``failed_b`` those of both that have no score
    under it: they are left out of the difference, and named in the words.
    """

    a: str
    b: str
    metric: str
    pairs: tuple[Pair, ...]
    test: Test
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    failed_a: tuple[str, ...] = ()
    failed_b: tuple[str, ...] = ()

    @property
    def difference(self) -> Estimate:
        """The mean of b - a with its interval."""
        return self.test.difference

    @property
    def p(self) -> float:
        """How likely a difference at least this large is where there is none (two-sided)."""
        return self.test.p

    @property
    def better(self) -> Literal["a", "b"] | None:
        """The side that is better: p is below 0.05 and the interval leaves 0 out. Else ``None``: it
        can't be told.
        """
        found = self.difference
        apart = found.low is None or found.high is None or found.low > 0 or found.high < 0
        if self.p >= SIGNIFICANT or not apart or not found.value:
            return None
        return "b" if found.value > 0 else "a"

    @property
    def wins(self) -> tuple[Pair, ...]:
        """Where b is better, the clearest first."""
        return tuple(
            sorted(
                (pair for pair in self.pairs if pair.difference > 0),
                key=lambda pair: -pair.difference,
            )
        )

    @property
    def losses(self) -> tuple[Pair, ...]:
        """Where a is better, the clearest first."""
        return tuple(
            sorted(
                (pair for pair in self.pairs if pair.difference < 0),
                key=lambda pair: pair.difference,
            )
        )

    @property
    def ties(self) -> tuple[Pair, ...]:
        """Where both are alike."""
        return tuple(pair for pair in self.pairs if pair.difference == 0)

    @property
    def more_examples(self) -> int | None:
        """How many more examples like these would show the difference that was seen, at 80 % power;
        0 where it is decided, ``None`` where no difference was seen.
        """
        if self.better:
            return 0
        wanted = sample_size_needed(self.difference)
        return (
            None
            if wanted is None
            else max(1, math.ceil(wanted * len(self.pairs) / self.difference.n) - len(self.pairs))
        )

    def table(self) -> list[dict[str, Any]]:
        """One mapping a pair: losses first, then wins, then ties: id, a, b, and the outputs that
        differ.
        """
        return [_cells(pair) for pair in (*self.losses, *self.wins, *self.ties)]

    def __str__(self) -> str:
        return "\n".join(self._words())

    def __repr__(self) -> str:
        return f"<Comparison: {self.verdict}>"

    @property
    def verdict(self) -> str:
        """In words: which side is better and by how much, or that it can't be told and what would
        decide it.
        """
        found = self.difference
        tail = f"{_p(self.p)}, n {found.n}"
        if self.better:
            better = found if self.better == "b" else _turned(found)
            return f"{self.better} is better by {better}, {tail}"
        return f"can't tell: b - a = {found}, {tail}; {self._advice()}"

    def _advice(self) -> str:
        if self.more_examples is not None:
            return f"about {self.more_examples:,} more examples would (80 % power)"
        if seen := detectable_difference(self.difference):
            return f"no difference was seen; one of {format_score(seen)} would have been (80 % power)"
        return "they score alike on every example"

    def _words(self) -> Iterable[str]:
        yield self.verdict
        yield printable(f"a = {self.a}; b = {self.b}; {self.metric}, {self.test.name}", 400)
        yield f"b wins {len(self.wins)}, loses {len(self.losses)}, ties {len(self.ties)}"
        left = {
            "only in a": self.only_a,
            "only in b": self.only_b,
            "failed in a": self.failed_a,
            "failed in b": self.failed_b,
        }
        if any(left.values()):
            yield f"left out: {', '.join(f'{len(ids)} {why}' for why, ids in left.items() if ids)}"

    def _repr_markdown_(self) -> str:
        lines = "  \n".join(markdown_text(line, 400) for line in self._words())
        rows = self.table()[:SHOWN]
        return f"{lines}\n\n{markdown_table(rows, columns_of(rows))}"

    def _repr_html_(self) -> str:
        rows = self.table()[:SHOWN]
        return f"<p>{'<br>'.join(html_text(line, 400) for line in self._words())}</p>{html_table(rows, columns_of(rows))}"


def compare(
    a: Evaluation,
    b: Evaluation,
    *,
    failures_as: float | None = None,
    cluster: str = "",
    seed: int = 0,
) -> Comparison:
    """``b`` against ``a``, paired on the ids of their examples; samples of one example are averaged
    first.

    ``failures_as`` counts failed rows as that score, else they are left out. ``cluster`` is a field
    whose equal values go together (default: that of ``a``). ``NotComparable`` where they share no
    scored example, were scored by different metrics, or an id stands for different examples.
    """
    for side in (a, b):
        check_kind("an evaluation", side, Evaluation, "It is what ex.evaluate gives.")
    if a.metric != b.metric:
        fix = "Score both by one: lf.scores_from(run, examples, metric) costs nothing."
        raise NotComparable(
            _called(a), _called(b), f"by {a.metric_name} and {b.metric_name}, two metrics", fix
        )
    a = a.clustered(cluster) if cluster else a
    sides = _by_example(a), _by_example(b)
    shared = [name for name in sides[0] if name in sides[1]]
    _same_examples(a, b, [(sides[0][name][0], sides[1][name][0]) for name in shared])
    found = [_pair(name, sides[0][name], sides[1][name], failures_as) for name in shared]
    pairs = tuple(pair for pair in found if pair is not None)
    if not pairs:
        problem = f"none of {len(sides[0])} and {len(sides[1])} examples has a score under both"
        raise NotComparable(_called(a), _called(b), problem, "Evaluate both on the same data set.")
    clusters = _clusters(pairs, a.cluster)
    return Comparison(
        _called(a), _called(b), a.metric_name or "score", pairs,
        paired_test([pair.difference for pair in pairs], clusters, seed=seed),
        only_a=tuple(name for name in sides[0] if name not in sides[1]),
        only_b=tuple(name for name in sides[1] if name not in sides[0]),
        failed_a=tuple(name for name in shared if _score(sides[0][name], failures_as) is None),
        failed_b=tuple(name for name in shared if _score(sides[1][name], failures_as) is None),
    )  # fmt: skip


def _by_example(side: Evaluation) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = toolz.groupby(lambda row: row.id, side.rows)
    return found


def _same_examples(a: Evaluation, b: Evaluation, rows: Iterable[tuple[Row, Row]]) -> None:
    for one, other in rows:
        if one.example != other.example:
            problem = f"the example {short(one.id)!r} differs between them"
            fix = "Score the older run on the examples of today: lf.scores_from(run, examples, metric) costs nothing."
            raise NotComparable(_called(a), _called(b), problem, fix)


def _score(rows: Iterable[Row], failure: float | None) -> float | None:
    values = [row.score.value if row.score else failure for row in rows]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _pair(name: str, a: Sequence[Row], b: Sequence[Row], failure: float | None) -> Pair | None:
    scores = _score(a, failure), _score(b, failure)
    if scores[0] is None or scores[1] is None:
        return None
    return Pair(name, a[0].example, scores[0], scores[1], a[0].outputs, b[0].outputs)


def _clusters(pairs: Iterable[Pair], field: str) -> list[str] | None:
    return [digest("cluster", pair.example[field]) for pair in pairs] if field else None


def _turned(found: Estimate) -> Estimate:
    ends = [None if end is None else -end for end in (found.high, found.low)]
    return attrs.evolve(found, value=-found.value, low=ends[0], high=ends[1])


def _cells(pair: Pair) -> dict[str, Any]:
    sides: dict[str, Mapping[str, Any]] = {"a": pair.a_outputs or {}, "b": pair.b_outputs or {}}
    names = dict.fromkeys((*sides["a"], *sides["b"]))
    shown = {
        f"{side}.{name}": outputs.get(name) for name in names for side, outputs in sides.items()
    }
    return {"id": short(pair.id), "a": pair.a, "b": pair.b, **shown}


def _called(side: Evaluation) -> str:
    return f"{side.name} {short(side.version)}".strip()


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p {p:.2g}"  # noqa: PLR2004 - where more digits say nothing
