"""What more samples or a cascade of models would bring, reckoned from recorded runs alone."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import BadData
from lmflow.evaluation.charts import lines_svg
from lmflow.evaluation.rescoring import scores_from
from lmflow.evaluation.rows import Row
from lmflow.evaluation.stats import Estimate, mean
from lmflow.library.search.voting import elected, vote_of
from lmflow.metrics import Metric
from lmflow.traces.trace import Run
from lmflow.values.functions import Function, function_of
from lmflow.values.printing import printable

_SAMPLE = re.compile(r"/n\[\d+\]\Z")
_FEW = 8
_BAR = 30

Key = str | Callable[[Mapping[str, Any]], Any]


@attrs.frozen
class Point:
    """What ``k`` samples an example bring: the best of them, their vote, and what they cost an
    example on average.

    ``cost`` is in nano-dollars, ``None`` where a price or count is unknown.
    """

    k: int
    best: Estimate
    vote: Estimate
    cost: float | None
    tokens: float | None
    calls: float


@attrs.frozen(slots=False)
class Curves:
    """pass@k and vote@k over the samples of a run. ``exact``: every vote was counted over all
    subsets of its size.
    """

    name: str
    points: tuple[Point, ...]
    exact: bool

    def rows(self) -> list[dict[str, Any]]:
        """A row a ``k``, with 95 % intervals over examples."""
        return [
            {
                "k": p.k, **_bounds("pass", p.best), **_bounds("vote", p.vote),
                "cost": p.cost, "tokens": p.tokens, "calls": p.calls,
            }
            for p in self.points
        ]  # fmt: skip

    def enough(self, within: float = 0.01) -> int:
        """The least ``k`` whose vote is no more than ``within`` below the best vote of any ``k``."""
        top = max(point.vote.value for point in self.points)
        return next(point.k for point in self.points if point.vote.value >= top - within)

    def plot(self) -> str:
        """pass@k and vote@k as bars, a line each."""
        lines = (
            (f"{name}@{p.k}", e)
            for p in self.points
            for name, e in (("pass", p.best), ("vote", p.vote))
        )
        return "\n".join(
            f"{name:>9} {'█' * round(_BAR * max(0.0, min(1.0, e.value))):<{_BAR}} {e}"
            for name, e in lines
        )

    def svg(self) -> str:
        """Both curves as an SVG picture."""
        return lines_svg(
            {
                "pass@k": [(p.k, p.best.value) for p in self.points],
                "vote@k": [(p.k, p.vote.value) for p in self.points],
            },
            f"{self.name}: samples",
        )

    def __str__(self) -> str:
        table = [
            {
                "k": str(p.k), "pass@k": str(p.best), "vote@k": str(p.vote),
                "tokens": _short(p.tokens), "calls": _short(p.calls),
            }
            for p in self.points
        ]  # fmt: skip
        return _columns(table)


@attrs.frozen
class Step:
    """A cascade that accepts at ``threshold``: its score and cost an example, and the share that
    each model answers.
    """

    threshold: float
    score: Estimate
    cost: float | None
    tokens: float | None
    calls: float
    answered: tuple[float, ...]


@attrs.frozen(slots=False)
class CascadeCurve:
    """What a cascade over ``models`` would score and cost at each threshold, the cheapest first."""

    models: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def front(self) -> tuple[Step, ...]:
        """The steps that no other beats in score at no more tokens (calls where tokens are
        unknown).
        """
        kept: list[Step] = []
        for step in sorted(self.steps, key=lambda step: (_price(step), -step.score.value)):
            if not kept or step.score.value > kept[-1].score.value:
                kept.append(step)
        return tuple(kept)

    def svg(self) -> str:
        """Score over tokens (calls where they are unknown) as an SVG picture."""
        points = sorted((_price(step), step.score.value) for step in self.steps)
        return lines_svg({" > ".join(self.models): points}, "cost an example")

    def __str__(self) -> str:
        table = [
            {
                "threshold": f"{step.threshold:.2f}",
                "score": str(step.score),
                "tokens": _short(step.tokens),
                "calls": _short(step.calls),
                **{
                    name: f"{share:.0%}"
                    for name, share in zip(self.models, step.answered, strict=True)
                },
            }
            for step in self.steps
        ]
        return _columns(table)


def curves(  # noqa: PLR0913 - each is a choice of its own
    run: Run,
    examples: Iterable[Mapping[str, Any]],
    metric: Metric,
    *,
    key: Key = "",
    subsets: int = 1000,
    seed: int = 0,
) -> Curves:
    """pass@k and vote@k of a run with samples, ``ex.map(program, rows, samples=n)``, up to ``n``:
    no new call.

    pass@k is the expected best score of ``k`` of the ``n`` samples, without bias: for scores of 0
    and 1 it is ``1 - C(n - c, k) / C(n, k)`` (Chen et al. 2021, arXiv 2107.03374, section 2.1).
    vote@k is the mean score of what ``self_consistency`` with that ``key`` would give, over all
    subsets of ``k`` samples in their order where there are at most ``subsets`` of them, else over
    so many drawn by the seed. What has no score counts as 0. Intervals are over examples.
    ``BadData`` where examples have different numbers of samples.
    """
    by = key if isinstance(key, str) else function_of(key)
    groups = _groups(run, examples, metric)
    sizes = {len(rows) for rows in groups.values()}
    if len(sizes) != 1:
        found = (
            "no samples" if not sizes else f"from {min(sizes)} to {max(sizes)} samples an example"
        )
        raise BadData(
            f"run {run.id}", f"it holds {found}", "Run each example equally often: samples=n."
        )
    n = sizes.pop()
    samples = {label: [_sample(row, by) for row in rows] for label, rows in groups.items()}
    rows = [row for found in groups.values() for row in found]
    calls = sum(len(trace.calls) for trace in run) / len(run)
    cost, tokens = _mean(row.cost for row in rows), _mean(row.tokens for row in rows)
    points = [
        Point(
            k,
            mean([best_at([value for _, value in found], k) for found in samples.values()]),
            mean(
                [vote_at(found, k, subsets, f"{seed}/{label}") for label, found in samples.items()]
            ),
            None if cost is None else k * cost,
            None if tokens is None else k * tokens,
            k * calls,
        )
        for k in _sizes(n)
    ]
    return Curves(run.name, tuple(points), all(math.comb(n, k) <= subsets for k in _sizes(n)))


def cascade_curve(
    runs: Mapping[str, Run],
    examples: Iterable[Mapping[str, Any]],
    metric: Metric,
    *,
    key: Key = "",
    confidence: Callable[[Mapping[str, Any]], float] | None = None,
) -> CascadeCurve:
    """What cascades over recorded runs of several models, cheapest first (name -> run), would score
    and cost: no new call.

    A model's answer is the vote of its samples, its confidence the winner's share of them, or what
    ``confidence`` says of the outputs. At each threshold that parts some answers from others the
    first answer that reaches it is taken, else the last model's; each model that is asked costs all
    its samples. ``BadData`` where the runs are not of the same examples.
    """
    by = key if isinstance(key, str) else function_of(key)
    rows = list(examples)
    said = {
        name: {
            label: _answer(found, by, confidence)
            for label, found in _groups(run, rows, metric).items()
        }
        for name, run in runs.items()
    }
    labels = [set(found) for found in said.values()]
    if not labels or not labels[0] or any(found != labels[0] for found in labels):
        raise BadData(
            "the cascade",
            "its runs are not of the same examples",
            "Run each model on the same rows.",
        )
    chains = [[said[name][label] for name in runs] for label in said[next(iter(runs))]]
    thresholds = sorted(
        {0.0, *(answer.confidence for chain in chains for answer in chain[:-1]), math.inf}
    )
    return CascadeCurve(tuple(runs), tuple(_step(chains, threshold) for threshold in thresholds))


def best_at(values: Sequence[float], k: int) -> float:
    """The expected greatest of ``k`` of the values, drawn without putting back: exact."""
    n, ordered = len(values), sorted(values)
    return math.fsum(ordered[i - 1] * math.comb(i - 1, k - 1) for i in range(k, n + 1)) / math.comb(
        n, k
    )


def vote_at(samples: Sequence[tuple[str | None, float]], k: int, subsets: int, seed: str) -> float:
    """The mean score of the vote of ``k`` of the samples (vote, score), over all subsets or so many
    drawn ones.
    """
    scores = [
        _voted([samples[at] for at in subset])
        for subset in _subsets(len(samples), k, subsets, seed)
    ]
    return math.fsum(scores) / len(scores)


@attrs.frozen
class _Answer:
    score: float
    confidence: float
    cost: float | None
    tokens: float | None
    calls: int


def _groups(
    run: Run, examples: Iterable[Mapping[str, Any]], metric: Metric
) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in scores_from(run, examples, metric).rows:
        found.setdefault(_SAMPLE.sub("", row.label), []).append(row)
    return found


def _sample(row: Row, by: str | Function) -> tuple[str | None, float]:
    return None if row.outputs is None else vote_of(
        row.outputs, by
    ), row.score.value if row.score else 0.0


def _voted(samples: Sequence[tuple[str | None, float]]) -> float:
    said = [(vote, score) for vote, score in samples if vote is not None]
    return said[elected([vote for vote, _ in said])[0]][1] if said else 0.0


def _subsets(n: int, k: int, most: int, seed: str) -> Iterator[Sequence[int]]:
    if math.comb(n, k) <= most:
        yield from itertools.combinations(range(n), k)
        return
    dice = random.Random(f"{seed}/{k}")  # noqa: S311 - no secret
    for _ in range(most):
        yield sorted(dice.sample(range(n), k))


def _sizes(n: int) -> list[int]:
    return (
        list(range(1, n + 1)) if n <= _FEW else sorted({*(2**i for i in range(n.bit_length())), n})
    )


def _answer(
    rows: Sequence[Row], by: str | Function, confidence: Callable[[Mapping[str, Any]], float] | None
) -> _Answer:
    said = [row for row in rows if row.outputs is not None]
    costs = _total(row.cost for row in rows), _total(row.tokens for row in rows), len(rows)
    if not said:
        return _Answer(0.0, -math.inf, *costs)
    at, share = elected([vote_of(row.outputs or {}, by) for row in said])
    score = said[at].score
    sure = (
        share * len(said) / len(rows)
        if confidence is None
        else float(confidence(said[at].outputs or {}))
    )
    return _Answer(score.value if score else 0.0, sure, *costs)


def _step(chains: Sequence[Sequence[_Answer]], threshold: float) -> Step:
    ends = [_end(chain, threshold) for chain in chains]
    asked = [list(chain[: end + 1]) for chain, end in zip(chains, ends, strict=True)]
    return Step(
        threshold,
        mean([chain[-1].score for chain in asked]),
        _mean(_total(answer.cost for answer in chain) for chain in asked),
        _mean(_total(answer.tokens for answer in chain) for chain in asked),
        math.fsum(answer.calls for chain in asked for answer in chain) / len(asked),
        tuple(ends.count(at) / len(ends) for at in range(len(chains[0]))),
    )


def _end(chain: Sequence[_Answer], threshold: float) -> int:
    """Where a cascade ends: at the first answer that is sure enough, else the last."""
    return next(
        (at for at, answer in enumerate(chain[:-1]) if answer.confidence >= threshold),
        len(chain) - 1,
    )


def _total(parts: Iterable[float | None]) -> float | None:
    found = list(parts)
    return None if None in found else math.fsum(part for part in found if part is not None)


def _mean(parts: Iterable[float | None]) -> float | None:
    found = list(parts)
    whole = _total(found)
    return None if whole is None or not found else whole / len(found)


def _price(step: Step) -> float:
    return step.calls if step.tokens is None else step.tokens


def _bounds(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _columns(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of texts as aligned columns under their names."""
    names = list(rows[0])
    lines = [names, *([row[name] for name in names] for row in rows)]
    cells = [[printable(cell) for cell in line] for line in lines]
    widths = [max(len(line[at]) for line in cells) for at in range(len(names))]
    return "\n".join(
        "  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells
    )


def _short(value: float | None) -> str:
    return "?" if value is None else f"{value:,.1f}"
