"""Conditions on executions as text: a field, an operator, a literal. They are read, never
evaluated.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import BadCondition, near

FIELDS = ("score", "program", "version", "status", "model", "started")
NAMED = ("score", "input", "output")
_TEXT = re.compile(
    r"\s*(?P<field>\w+(?:\.[\w\-]+)*)\s*(?P<operator>!=|>=|<=|=|>|<|~)\s*(?P<literal>.*?)\s*",
    re.DOTALL,
)
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip


@attrs.frozen
class Condition:
    """``field`` (with ``name`` where it has one, ``input.question``) compared with a literal."""

    field: str
    name: str
    operator: str
    literal: Any

    def holds(self, values: Iterable[Any]) -> bool:
        """Whether it holds of one of several values; ``!=`` of all of them, and of none."""
        if self.operator == "!=":
            return not any(_equal(value, self.literal) for value in values)
        return any(self._one(value) for value in values)

    def _one(self, value: Any) -> bool:
        if self.operator == "=":
            return _equal(value, self.literal)
        if self.operator == "~":
            return _said(self.literal).casefold() in _said(value).casefold()
        a, b = (
            (value, self.literal)
            if _number(value) and _number(self.literal)
            else (_said(value), _said(self.literal))
        )
        return (
            type(value) is not bool
            and _number(value) == _number(self.literal)
            and _ORDER[self.operator](a, b)
        )


def condition(text: str) -> Condition:
    """The condition that a text says: ``score>0.8``, ``score.helpful >= 1``, ``output.answer ~
    Paris``.

    Fields are score, score.NAME, program, version, status, model, started, input.FIELD and
    output.FIELD. A literal is a number, ``true``, ``false``, ``null``, a text in double quotes, or
    whatever else is there as a text. ``~`` is "contains", in any case. Order holds between numbers
    and between texts. ``BadCondition``.
    """
    match = _TEXT.fullmatch(text)
    if match is None or not match["literal"]:
        raise BadCondition(text, "no field, operator (= != > >= < <= ~) and literal in it")
    field, _, name = match["field"].partition(".")
    if name and field not in NAMED:
        raise BadCondition(text, f"{match['field']!r} is no field", near(field, (*FIELDS, *NAMED)))
    if not name and field not in FIELDS:
        hint = f" Did you mean {field}.FIELD?" if field in NAMED else near(field, (*FIELDS, *NAMED))
        raise BadCondition(
            text, f"{field!r} is no field: {', '.join(FIELDS)}, input.FIELD, output.FIELD", hint
        )
    return Condition(field, name, match["operator"], _literal(match["literal"]))


def _literal(text: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, (str, int, float, bool, type(None))) else text


def _equal(value: Any, literal: Any) -> bool:
    if _number(value) and _number(literal):
        return bool(value == literal)
    return (type(value) is type(literal) and value == literal) or (
        _said(value) == literal and isinstance(literal, str)
    )


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=list, ensure_ascii=False)
