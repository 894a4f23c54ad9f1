"""Making shipped metrics, and reading the fields that they compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lmflow.errors import MissingInput
from lmflow.metrics.base import FunctionMetric
from lmflow.values.functions import function_of
from lmflow.values.record import Record, pretty


def shipped(score: Callable[..., Any], *uses: Callable[..., Any], **options: Any) -> FunctionMetric:
    """A shipped metric: its name is the function's without ``_``, and the sources of the functions
    that it uses are in its key.
    """
    helpers = tuple(function_of(helper) for helper in (pick, *uses))
    return FunctionMetric(score.__name__.strip("_"), function_of(score), helpers, Record(options))


def pick(side: Mapping[str, Any], name: str) -> Any:
    """The field of an example or of outputs. ``MissingInput`` lists the fields that exist."""
    if name not in side:
        raise MissingInput("the metric", name, tuple(side))
    return side[name]


def golds(value: Any) -> tuple[str, ...]:
    """The accepted answers as texts: each item of a list, or any other value as one answer."""
    return (
        tuple(text_of(item) for item in value)
        if isinstance(value, (tuple, list))
        else (text_of(value),)
    )


def text_of(value: Any) -> str:
    """A value as the text that metrics compare: ``None`` is empty, a value that isn't a text is
    JSON.
    """
    if value is None:
        return ""
    return value if isinstance(value, str) else pretty(value)
