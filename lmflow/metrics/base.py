"""Metrics: pure functions from an example and outputs to a score, each with a key that its recorded
scores are found by.
"""

from __future__ import annotations

import decimal
import functools
import inspect
import math
import numbers
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import BadScore, safe_repr
from lmflow.values.attributes import uncached
from lmflow.values.functions import Function, check_takes, function_of
from lmflow.values.record import EMPTY, Record, digest
from lmflow.values.unicode import well_formed


@attrs.frozen
class Counts:
    """The counts behind a score. They add up over examples, for a micro average.

    Args:
        right: How many items of the output are in the reference.
        found: How many items the output has.
        wanted: How many items the reference has.
    """

    right: int
    found: int
    wanted: int


@attrs.frozen
class Score:
    """A score, as a rule from 0 (wrong) to 1 (right), with its reasons.

    Args:
        value: A finite number.
        feedback: The reasons in words, for readers and optimizers.
        counts: The counts behind the value, for a micro average.
        steps: The reasons that concern one step of a program, by its name. Optimizers that rewrite
            instructions show them to the proposer of that step alone.

    Example:
        >>> float(Score(0.5, "The date is missing."))
        0.5
    """

    value: float
    feedback: str = attrs.field(default="", converter=well_formed)
    counts: Counts | None = None
    steps: Mapping[str, str] = attrs.field(default=EMPTY, converter=Record)

    def __float__(self) -> float:
        return self.value


Metric = Callable[..., "float | bool | Score"]
"""A pure function ``(example, outputs)``, or ``(example, outputs, trace)`` if it has a parameter of
that name.
"""


@attrs.frozen(slots=False)
class FunctionMetric:
    """A function as a metric with a key; ``lf.metric`` makes one.

    Args:
        name: The metric's name in evaluations.
        function: The function, with its identity.
        uses: The functions that it calls, with theirs.
        options: Keyword arguments that the function is called with.
    """

    name: str
    function: Function
    uses: tuple[Function, ...] = ()
    options: Record = attrs.field(factory=Record, converter=Record)

    def __attrs_post_init__(self) -> None:
        options = [*self.options, "trace"] if self._reads_trace else self.options
        check_takes(self.function, "example", "outputs", options=options)

    def __call__(
        self, example: Mapping[str, Any], outputs: Mapping[str, Any], trace: Any = None
    ) -> Score:
        """The score of the outputs. ``BadScore`` if the function returns no score."""
        optional = {"trace": trace} if self._reads_trace else {}
        return as_score(self.name, self.function.call(example, outputs, **optional, **self.options))

    def __getstate__(self) -> dict[str, Any]:
        return uncached(self)

    def __str__(self) -> str:
        return self.name

    @functools.cached_property
    def key(self) -> str:
        """The digest of the function's identity, of those it uses and of the options. A metric
        whose function is edited has another key, and scores again.
        """
        used = [function.identity for function in self.uses]
        return digest("metric", [self.function.identity, used, self.options])

    @functools.cached_property
    def _reads_trace(self) -> bool:
        return _reads_trace(self.function.call)


def metric(
    function: Callable[..., Any],
    *,
    name: str = "",
    version: str | None = None,
    uses: Iterable[Callable[..., Any]] = (),
    options: Mapping[str, Any] | None = None,
) -> FunctionMetric:
    """Make a function a metric; also a decorator.

    Args:
        function: ``(example, outputs[, trace]) -> float | bool | Score``, pure.
        name: The metric's name, by default the function's.
        version: Stands for a function whose source doesn't say what it does (a lambda, a closure).
        uses: Functions that it calls and whose source is part of the key too.
        options: Keyword arguments that the function is called with, part of the key.

    Returns:
        The metric. Its key is the hash of the sources (or version) and options.

    Raises:
        Unidentified: The source doesn't say what the function does, and there is no version.
        TypeError: The function takes other arguments.

    Example:
        >>> def short(example, outputs):
        ...     return len(outputs["answer"]) < 20
        >>> lf.metric(short)({}, {"answer": "Paris"}).value
        1.0
    """
    helpers = tuple(map(function_of, uses))
    return FunctionMetric(
        name or _name(function), function_of(function, version), helpers, options or {}
    )


def metric_key(metric: Metric) -> str:
    """The key of a metric; that of a bare function is the key of ``lf.metric(function)``."""
    key = getattr(metric, "key", None)
    if isinstance(metric, str):
        fix = f"Compare that output: lf.exact_match({metric!r})."
        msg = f"a metric is a function, found the text {metric!r}. {fix}"
        raise TypeError(msg)
    return key if isinstance(key, str) else FunctionMetric(name_of(metric), function_of(metric)).key


def name_of(metric: Any) -> str:
    """The name of a metric or of a bare function."""
    name = getattr(metric, "name", None)
    return name if isinstance(name, str) else _name(metric)


def score_of(
    metric: Metric, example: Mapping[str, Any], outputs: Mapping[str, Any], trace: Any = None
) -> Score:
    """The score that a metric returns. An exception of the metric passes through; ``BadScore`` if
    it returns no score.
    """
    if isinstance(metric, FunctionMetric):
        return metric(example, outputs, trace)
    if not callable(metric):
        fix = "A metric is a function; a judge is asked first, by the executor."
        raise BadScore(name_of(metric), f"{_article(metric)} can't be called", fix)
    optional = {"trace": trace} if _reads_trace(metric) else {}
    return as_score(name_of(metric), metric(example, outputs, **optional))


def as_score(name: str, result: Any) -> Score:
    """The result of the metric ``name`` as a score: a bool is 0 or 1, a number is a float, also one
    of numpy, ``Decimal`` or ``Fraction``. ``BadScore`` for any other value, NaN and infinities.
    """
    if inspect.iscoroutine(result):
        result.close()
        fix = "A metric is a plain function; a program that asks a model is lf.Judge(program, ...)."
        raise BadScore(name, "it gave a coroutine", fix)
    score = result if isinstance(result, Score) else Score(result)
    value = _as_float(score.value)
    if value is None:
        raise BadScore(name, f"it gave {_article(score.value)} ({safe_repr(score.value):.80})")
    if not math.isfinite(value):
        raise BadScore(name, f"it gave {value!r}")
    counts = None if score.counts is None else _as_counts(name, score.counts)
    return attrs.evolve(score, value=value, counts=counts)


def _as_float(value: Any) -> float | None:
    """A number as a float, ``None`` if it isn't one. A number that is too large is infinite."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        # A bool or an array of numpy without dimensions isn't a Real, though its item is. The item
        # of a masked value is 0, which nobody measured.
        value = math.nan if getattr(value, "mask", False) else value.item()
    if not isinstance(value, (numbers.Real, decimal.Decimal)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:  # a signalling NaN
        return math.nan


def _as_counts(name: str, counts: Counts) -> Counts:
    try:
        return Counts(*map(operator.index, attrs.astuple(counts)))
    except TypeError:
        fix = "Counts are whole numbers: lf.metrics.Counts(right, found, wanted)."
        raise BadScore(name, f"it gave the counts {counts}", fix) from None


def _reads_trace(function: Callable[..., Any]) -> bool:
    return "trace" in inspect.signature(function).parameters


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _article(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__qualname__}"
