"""Reads which spans are of which step, and where the values of a step stand in a span."""

from __future__ import annotations

import re
from typing import Any

import attrs

from lmflow.data.conditions import Condition, condition, members
from lmflow.errors import BadCondition, TelemetryError, listed, near
from lmflow.programs.program import Program
from lmflow.telemetry.raw import RawSpan

_RULE = re.compile(r"(?P<conditions>.+?)\s*->\s*(?:step\s+)?(?P<step>[\w.]+)\s*", re.DOTALL)
_FIELD = re.compile(r"\s*span\.")
_EQUALS = re.compile(r"([\w.\-]\s*)==")
_AND = re.compile(r"\s+and\s+(?=span\.)")
_TAKE = re.compile(
    r"(?P<step>[\w.]+)\.(?P<field>\w+)=(?P<path>(?:input|output|attributes|reply)\b.*)"
)


@attrs.frozen
class Rule:
    """Spans that fulfil all conditions are executions of a step."""

    conditions: tuple[Condition, ...]
    step: str

    def holds(self, span: RawSpan) -> bool:
        """Tell whether a span fulfils the conditions."""
        facts = span_facts(span)
        return all(each.holds(members(facts, each.name)) for each in self.conditions)


@attrs.frozen
class Take:
    """The path at which the value of a field of a step stands in a span."""

    step: str
    field: str
    path: str


def span_facts(span: RawSpan) -> dict[str, Any]:
    """Return the fields of a span that conditions may name."""
    return {
        "name": span.name,
        "id": span.id,
        "trace": span.trace,
        "error": span.error,
        "service": span.resource.get("service.name", ""),
        "attributes": span.attributes,
    }


def rule(text: str, program: Program) -> Rule:
    """Read a rule: ``span.name=="answer" -> step answer``; conditions are joined by ``and``.

    Raises:
        TelemetryError: The text has another form, or the program has no such step.
        BadCondition: A condition can't be read.
    """
    match = _RULE.fullmatch(text)
    if match is None:
        problem = f"{text!r} is no rule"
        fix = """Write --map 'span.name=="answer" -> step answer'."""
        raise TelemetryError(problem, fix)
    step = match["step"]
    if step not in program.predictors:
        known = listed(program.predictors)
        hint = near(step, program.predictors)
        raise TelemetryError(
            f"{program} has no step {step!r} that asks a model", f"It has {known}.{hint}"
        )
    return Rule(tuple(map(_condition, _AND.split(match["conditions"]))), step)


def take(text: str, program: Program) -> Take:
    """Read where a value stands: ``answer.question=input.messages[0].content``.

    Raises:
        TelemetryError: The text has another form, or the program has no such field.
    """
    match = _TAKE.fullmatch(text)
    if match is None:
        fix = "Write --take STEP.FIELD=PATH, with a path from input, output, attributes or reply."
        raise TelemetryError(f"{text!r} says no place of a value", fix)
    step, field = match["step"], match["field"]
    if step not in program.predictors:
        raise TelemetryError(
            f"{program} has no step {step!r}", f"It has {listed(program.predictors)}."
        )
    signature = program.predictors[step].signature
    names = [each.name for each in (*signature.inputs, *signature.outputs)]
    if field not in names:
        raise TelemetryError(f"step {step} has no field {field!r}", f"It has {listed(names)}.")
    return Take(step, field, match["path"])


def _condition(text: str) -> Condition:
    if not _FIELD.match(text):
        raise BadCondition(
            text, "it has no field of a span", " Write span.name or span.attributes.KEY."
        )
    # The language is that of conditions on executions, whose fields with any name are inputs.
    plain = _EQUALS.sub(r"\1=", _FIELD.sub("input.", text, count=1), count=1)
    return attrs.evolve(condition(plain), field="span")
