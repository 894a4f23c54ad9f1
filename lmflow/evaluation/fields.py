"""The fields that metrics and judges read, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lmflow.errors import BadScore, near
from lmflow.evaluation.judges import Judge
from lmflow.metrics import FunctionMetric, Metric, name_of
from lmflow.metrics.fields import pick
from lmflow.programs.program import Program

Reads = tuple[list[str], list[str]]
"""The names that a metric reads in the outputs, and those that it reads in the examples."""


def check_fields(
    metrics: Mapping[str, Metric | Judge], program: Program, examples: Iterable[Mapping[str, Any]]
) -> None:
    """Raise ``BadScore`` if a metric or judge reads an output that the program does not have, or a
    field that no example has: it would fail on everything, after everything is paid.

    Only the fields of judges and of shipped metrics are known.
    """
    outputs = [field.name for field in program.signature.outputs]
    fields = list(dict.fromkeys(name for example in examples for name in example))
    for metric in metrics.values():
        output_reads, example_reads = _reads(metric)
        for name in output_reads:
            if name not in outputs:
                problem = f"it reads the output {name!r}, which {program} does not give"
                raise BadScore(name_of(metric), problem, _fix(metric, name, outputs, "field"))
        for name in example_reads:
            if fields and name not in fields:
                problem = f"it reads the field {name!r}, which no example has"
                raise BadScore(name_of(metric), problem, _fix(metric, name, fields, "gold"))


def _reads(metric: Any) -> Reads:
    if isinstance(metric, Judge):
        return _judge_reads(metric)
    if isinstance(metric, FunctionMetric) and _is_shipped(metric):
        return [metric.options["field"]], [metric.options["gold"]]
    return [], []


def _judge_reads(judge: Judge) -> Reads:
    sources = [str(source).partition(".") for source in judge.reads.values()]
    outputs = [field for side, _, field in sources if side == "outputs"]
    return outputs, [field for side, _, field in sources if side == "example"]


# Functions of others may call their options `field` and `gold` too, and mean something else.
def _is_shipped(metric: FunctionMetric) -> bool:
    reads_fields = "field" in metric.options and "gold" in metric.options
    return reads_fields and any(helper.call is pick for helper in metric.uses)


def _fix(metric: Any, name: str, known: list[str], option: str) -> str:
    """Return the line that mends a metric which reads a field that is missing everywhere."""
    hint = near(name, known).strip() or f"There are {', '.join(known)}."
    if isinstance(metric, Judge):
        return f"{hint} Read another: lf.Judge(..., reads=...)."
    return f"{hint} Name it: lf.{metric.name}({option}=...)."
