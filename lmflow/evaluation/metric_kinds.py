"""What is no metric, named before anything is sent."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from lmflow.errors import BadData, Unidentified, clipped, near, safe_repr, short
from lmflow.metrics import FunctionMetric, metric_key, name_of
from lmflow.programs.program import Program

_ASKS_FOR_TRACE = re.compile(r"\btrace\s+is\s+(not\s+)?None\b|\bif\s+(not\s+)?trace\s*:")
_ORDER = "Write ex.evaluate(program, rows, metric), optimize(optimizer, program, data, metric)."


def check_metric_kind(metric: Any) -> None:
    """Raise ``TypeError``, with the line that mends it, if a value is no metric and no judge."""
    if isinstance(metric, str) or (not callable(metric) and hasattr(metric, "score_from")):
        return  # a judge; a text has words of its own
    if isinstance(metric, Program):
        line = f'lf.Judge({metric}, reads={{...: "outputs.answer"}}, score_from="score")'
        msg = f"{metric} is a program, no metric. A program judges as {line}."
        raise TypeError(msg)
    if not callable(metric):
        found = f"{type(metric).__name__} {clipped(safe_repr(metric), 60)}"
        msg = f"a metric is a function of (example, outputs), found {found}. {_ORDER}"
        raise TypeError(msg)
    if inspect.iscoroutinefunction(metric):
        fix = "Write `def` without async; a program that asks a model is lf.Judge(program, ...)."
        msg = f"the metric {name_of(metric)} is an async function. {fix}"
        raise TypeError(msg)
    if inspect.isfunction(metric):
        _check_function(metric)


def checked_key(metric: Any) -> str:
    """Return a metric's key. ``Unidentified`` says how a metric gets a version."""
    try:
        return metric_key(metric)
    except Unidentified as error:
        fix = 'Its source doesn\'t say what it does: def it, or lf.metric(function, version="1").'
        raise Unidentified(error.function, error.problem, fix) from None


def _check_function(metric: Any) -> None:
    if metric.__module__.startswith("lmflow.metrics"):
        msg = f'{metric.__name__} makes a metric. Call it: lf.{metric.__name__}("answer").'
        raise TypeError(msg)


def warn_of_dspy(metrics: Iterable[Any]) -> None:
    """Warn about metrics of DSPy that ask whether there is a trace."""
    for metric in metrics:
        _warn_of_dspy(metric)


# DSPy gives no trace in an evaluation and one while it compiles; here there always is one.
def _warn_of_dspy(metric: Any) -> None:
    function = metric.function.call if isinstance(metric, FunctionMetric) else metric
    try:
        parameters = inspect.signature(function).parameters
        source = inspect.getsource(function) if "trace" in parameters else ""
    except (OSError, TypeError, ValueError):  # no source: nothing to see
        return
    if source and _ASKS_FOR_TRACE.search(source):
        text = (
            f"the metric {name_of(metric)} asks whether `trace` is None, as DSPy's metrics do. "
            "Here it is the recorded trace, always: the branch for None never runs. Leave the "
            "parameter out, or write two metrics."
        )
        warnings.warn(text, UserWarning, stacklevel=3)


def check_metric(name: str, metric: str, known: Sequence[str]) -> None:
    """Raise ``BadData`` unless an evaluation of that name has the metric."""
    if metric not in known:
        fix = near(metric, known).strip() or f"Its metrics: {', '.join(known)}."
        raise BadData(f"evaluation {name}", f"it has no metric {short(metric)!r}", fix)
