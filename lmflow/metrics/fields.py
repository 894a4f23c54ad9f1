"""How the shipped metrics read their fields, and how they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lmflow.errors import MissingInput
from lmflow.metrics.base import FunctionMetric
from lmflow.values.functions import function_of
from lmflow.values.record import Record, pretty


def shipped(score: Callable[..., Any], *uses: Callable[..., Any], **options: Any) -> FunctionMetric:
    """A metric of lmflow's own: its name is the function's without ``_``, the sources of all it
    uses are in its key.
    """
    used = tuple(function_of(helper) for helper in (pick, *uses))
    return FunctionMetric(score.__name__.strip("_"), function_of(score), used, Record(options))


def pick(side: Mapping[str, Any], name: str) -> Any:
    """The field of an example or of outputs. ``MissingInput`` names what there is."""
    if name not in side:
        raise MissingInput("the metric", name, tuple(side))
    return side[name]


def golds(value: Any) -> tuple[str, ...]:
    """The accepted answers as texts: a list holds several, anything else is one."""
    return (
        tuple(text_of(item) for item in value)
        if isinstance(value, (tuple, list))
        else (text_of(value),)
    )


def text_of(value: Any) -> str:
    """A value as the text that is compared: none is empty, what is no text is written as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else pretty(value)
