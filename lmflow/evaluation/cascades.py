"""The score and cost of cascades of models, computed from recorded runs alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    total_if_known,
    vote_function,
)
from lmflow.evaluation.stats import Estimate, mean
from lmflow.library.search.voting import elected, vote_of
from lmflow.metrics import Metric
from lmflow.traces.trace import Run
from lmflow.values.printing import printable
from lmflow.views.page import Block, Picture, Table, page_html, page_markdown
from lmflow.views.tables import text_table

ConfidenceFunction = Callable[[Mapping[str, Any]], float]
"""How sure an answer is, from its outputs."""


@attrs.frozen
class CascadeStep:
    """A cascade with one threshold.

    Attributes:
        threshold: The confidence from which an answer is accepted.
        score: The score of the accepted answers.
        cost: Nano-dollars an example, ``None`` if a price is unknown.
        tokens: Tokens an example, ``None`` if a count is unknown.
        calls: Rollouts an example.
        answered: The share of the examples that each model answers.
    """

    threshold: float
    score: Estimate
    cost: float | None
    tokens: float | None
    calls: float
    answered: tuple[float, ...]

    @property
    def price(self) -> float:
        """The tokens, or the calls if the tokens are unknown."""
        return self.calls if self.tokens is None else self.tokens


@attrs.frozen(slots=False, repr=False)
class CascadeCurve:
    """The score and cost of a cascade over ``models``, the cheapest first, at each threshold."""

    models: tuple[str, ...]
    steps: tuple[CascadeStep, ...]

    @property
    def front(self) -> tuple[CascadeStep, ...]:
        """The steps for which no other has a better score at no more tokens (calls if the tokens
        are unknown).
        """
        front: list[CascadeStep] = []
        for step in sorted(self.steps, key=lambda step: (step.price, -step.score.value)):
            if not front or step.score.value > front[-1].score.value:
                front.append(step)
        return tuple(front)

    def svg(self) -> str:
        """Draw the score over the tokens (calls if they are unknown).

        Returns:
            An SVG picture.
        """
        points = sorted((step.price, step.score.value) for step in self.steps)
        return lines_svg({" > ".join(self.models): points}, "cost an example")

    def __str__(self) -> str:
        return text_table([self._cells(step) for step in self.steps])

    def __repr__(self) -> str:
        return f"<{self._headline}>"

    def _repr_html_(self) -> str:
        return page_html((self._headline,), *self._blocks())

    def _repr_markdown_(self) -> str:
        return page_markdown((self._headline,), *self._blocks())

    @property
    def _headline(self) -> str:
        best = self.front[-1]
        models = printable(" > ".join(self.models))
        return f"CascadeCurve {models}: at best {best.score}, from threshold {best.threshold:.2f}"

    def _blocks(self) -> tuple[Block, ...]:
        rows = [self._cells(step) for step in self.steps]
        return Table(rows, "Thresholds", noun="threshold"), Picture(self.svg(), str(self))

    def _cells(self, step: CascadeStep) -> dict[str, str]:
        shares = zip(self.models, step.answered, strict=True)
        return {
            "threshold": f"{step.threshold:.2f}",
            "score": str(step.score),
            "tokens": cost_text(step.tokens),
            "calls": cost_text(step.calls),
            **{name: f"{share:.0%}" for name, share in shares},
        }


def cascade_curve(
    runs: Mapping[str, Run],
    examples: Iterable[Mapping[str, Any]],
    metric: Metric,
    *,
    key: VoteKey = "",
    confidence: ConfidenceFunction | None = None,
) -> CascadeCurve:
    """Compute the score and cost of cascades over recorded runs of several models, without a call.

    A model's answer is the vote of its samples. At each threshold the first answer that reaches it
    is accepted, else the last model's; each model that is consulted costs all its samples.

    Args:
        runs: The models' runs by name, the cheapest first.
        examples: The examples that were run.
        metric: Scores an example's outputs.
        key: The output by which samples agree, or a function of the outputs; all outputs if empty.
        confidence: How sure an answer is, from its outputs; the winner's share of the samples if
            ``None``.

    Returns:
        The curve, with a step for each threshold that parts some answers from others.

    Raises:
        BadData: The runs are not of the same examples.
        MetricFailed: The metric fails on all outputs of a run.
    """
    rows = list(examples)
    answers = {
        name: _answers(rows_by_example(run, rows, metric), key, confidence)
        for name, run in runs.items()
    }
    labels = [answer.keys() for answer in answers.values()]
    if not labels or not labels[0] or any(other != labels[0] for other in labels):
        problem = "its runs are not of the same examples"
        raise BadData("the cascade", problem, "Run each model on the same rows.")
    chains = [[answers[name][label] for name in runs] for label in labels[0]]
    confidences = {answer.confidence for chain in chains for answer in chain[:-1]}
    thresholds = sorted({0.0, *confidences, math.inf})
    return CascadeCurve(tuple(runs), tuple(_step(chains, threshold) for threshold in thresholds))


@attrs.frozen
class _Answer:
    """A model's answer to one example, with the cost of all its samples."""

    score: float
    confidence: float
    cost: float | None
    tokens: float | None
    calls: int


def _answers(
    groups: Mapping[str, Sequence[Row]], key: VoteKey, confidence: ConfidenceFunction | None
) -> dict[str, _Answer]:
    by = vote_function(key)
    return {label: _answer(rows, by, confidence) for label, rows in groups.items()}


def _answer(rows: Sequence[Row], by: Any, confidence: ConfidenceFunction | None) -> _Answer:
    costs = (
        total_if_known(row.cost for row in rows),
        total_if_known(row.tokens for row in rows),
        len(rows),
    )
    votes = [(row, vote_of(row.outputs, by)) for row in rows if row.outputs is not None]
    if not votes:
        return _Answer(0.0, -math.inf, *costs)
    at, share = elected([vote for _, vote in votes])
    winner = votes[at][0]
    if confidence is None:
        sureness = share * len(votes) / len(rows)
    else:
        sureness = float(confidence(winner.outputs or {}))
    return _Answer(value_or(winner, 0.0), sureness, *costs)


def _step(chains: Sequence[Sequence[_Answer]], threshold: float) -> CascadeStep:
    ends = [_end(chain, threshold) for chain in chains]
    consulted = [chain[: end + 1] for chain, end in zip(chains, ends, strict=True)]
    calls = math.fsum(answer.calls for chain in consulted for answer in chain)
    return CascadeStep(
        threshold,
        mean([chain[-1].score for chain in consulted]),
        mean_if_known([total_if_known(answer.cost for answer in chain) for chain in consulted]),
        mean_if_known([total_if_known(answer.tokens for answer in chain) for chain in consulted]),
        calls / len(consulted),
        tuple(ends.count(at) / len(ends) for at in range(len(chains[0]))),
    )


def _end(chain: Sequence[_Answer], threshold: float) -> int:
    """Return the position at which a cascade ends: the first answer that is sure enough, or the
    last.
    """
    for at, answer in enumerate(chain[:-1]):
        if answer.confidence >= threshold:
            return at
    return len(chain) - 1
