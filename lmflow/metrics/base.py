"""Metrics: pure functions from an example and outputs to a score, each with a key by which its
scores are kept.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import BadScore
from lmflow.values.functions import Function, check_takes, function_of
from lmflow.values.attributes import uncached
from lmflow.values.record import Record, digest


@attrs.frozen
class Counts:
    """What a score was counted from: how many were right, found and wanted. They add up over
    examples (micro).
    """

    right: int
    found: int
    wanted: int


@attrs.frozen
class Score:
    """A score, mostly from 0 (wrong) to 1 (right), and why, in words that a reader or an optimizer
    can use.
    """

    value: float
    feedback: str = ""
    counts: Counts | None = None

    def __float__(self) -> float:
        return self.value


Metric = Callable[..., "float | bool | Score"]
"""``(example, outputs)``, or ``(example, outputs, trace)`` where it has a parameter of that name.
Pure.
"""


@attrs.frozen(slots=False)
class FunctionMetric:
    """A function as a metric with a key: the hash of its source (or version), of the functions that
    it ``uses``, and of its ``options``, which it is given by name.
    """

    name: str
    function: Function
    uses: tuple[Function, ...] = ()
    options: Record = attrs.field(factory=Record, converter=Record)

    def __attrs_post_init__(self) -> None:
        check_takes(
            self.function,
            "example",
            "outputs",
            options=[*self.options, *(["trace"] * self._reads_trace)],
        )

    def __call__(
        self, example: Mapping[str, Any], outputs: Mapping[str, Any], trace: Any = None
    ) -> Score:
        """The score of the outputs. ``BadScore`` where the function gives none."""
        more = {"trace": trace} if self._reads_trace else {}
        return as_score(self.name, self.function.call(example, outputs, **more, **self.options))

    def __getstate__(self) -> dict[str, Any]:
        return uncached(self)

    def __str__(self) -> str:
        return self.name

    @functools.cached_property
    def key(self) -> str:
        """The hash of what it does: edited, it scores again."""
        return digest(
            "metric", [self.function.identity, [used.identity for used in self.uses], self.options]
        )

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
    """A function ``(example, outputs[, trace]) -> float | bool | Score`` as a metric; also a
    decorator.

    The source of the function and of those it ``uses`` is its key; ``version`` stands for a
    function whose source doesn't say what it does (a lambda, a closure: ``Unidentified`` asks for
    it). ``options`` are keyword arguments of the function, and part of the key. ``TypeError`` where
    it takes other arguments.
    """
    code = function_of(function, version)
    return FunctionMetric(
        name or _name(function), code, tuple(function_of(used) for used in uses), options or {}
    )


def metric_key(metric: Metric) -> str:
    """The hash of what a metric does; a bare function's is that of ``lf.metric(function)``."""
    key = getattr(metric, "key", None)
    if isinstance(metric, str):
        msg = f"a metric is a function, found the text {metric!r}. Compare that output: lf.exact_match({metric!r})."
        raise TypeError(msg)
    return key if isinstance(key, str) else FunctionMetric(name_of(metric), function_of(metric)).key


def name_of(metric: Any) -> str:
    """What a metric is called."""
    name = getattr(metric, "name", None)
    return name if isinstance(name, str) else _name(metric)


def score_of(
    metric: Metric, example: Mapping[str, Any], outputs: Mapping[str, Any], trace: Any = None
) -> Score:
    """The score that a metric gives. What it raises is raised; ``BadScore`` where it gives no
    score.
    """
    if isinstance(metric, FunctionMetric):
        return metric(example, outputs, trace)
    if not callable(metric):
        fix = "A metric is a function; a judge is asked first, by the executor."
        raise BadScore(name_of(metric), f"{_article(metric)} can't be called", fix)
    more = {"trace": trace} if _reads_trace(metric) else {}
    return as_score(name_of(metric), metric(example, outputs, **more))


def as_score(name: str, found: Any) -> Score:
    """What a metric gave as a score: a bool is 0 or 1, a number stays. ``BadScore`` for all else,
    NaN and infinity.
    """
    if inspect.iscoroutine(found):
        found.close()
        fix = (
            "A metric is a plain function; what asks a model is a program: lf.Judge(program, ...)."
        )
        raise BadScore(name, "it gave a coroutine", fix)
    score = found if isinstance(found, Score) else Score(found)
    if not isinstance(score.value, (bool, int, float)):
        raise BadScore(name, f"it gave {_article(score.value)} ({score.value!r:.80})")
    if not math.isfinite(score.value):
        raise BadScore(name, f"it gave {score.value!r}")
    return attrs.evolve(score, value=float(score.value))


def _reads_trace(function: Callable[..., Any]) -> bool:
    return "trace" in inspect.signature(function).parameters


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _article(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__qualname__}"
