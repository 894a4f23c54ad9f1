"""Conditions on executions as text: a field, an operator, a literal. They are parsed, never
evaluated as code.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import BadCondition, near
from lmflow.values.json_text import parse

FIELDS = ("score", "program", "version", "status", "model", "started")
NAMED = ("score", "input", "output")
_CONDITION = re.compile(
    r"\s*(?P<field>\w+(?:\.[\w\-]+)*)\s*(?P<operator>!=|>=|<=|=|>|<|~)\s*(?P<literal>.*?)\s*",
    re.DOTALL,
)
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip


@attrs.frozen
class Condition:
    """A comparison of a field with a literal. ``name`` is the part after the dot, such as
    ``question`` in ``input.question``; empty if the field has none.
    """

    field: str
    name: str
    operator: str
    literal: Any

    def holds(self, values: Iterable[Any]) -> bool:
        """Tell whether the condition holds for one of the field's values. ``!=`` must hold for all
        of them, and holds if the field has none.
        """
        if self.operator == "!=":
            return not any(_equal(value, self.literal) for value in values)
        return any(self._matches(value) for value in values)

    def _matches(self, value: Any) -> bool:
        if self.operator == "=":
            return _equal(value, self.literal)
        if self.operator == "~":
            return _text(self.literal).casefold() in _text(value).casefold()
        if type(value) is bool or _is_number(value) != _is_number(self.literal):
            return False
        compare = _ORDER[self.operator]
        if _is_number(value):
            return compare(value, self.literal)
        return compare(_text(value), _text(self.literal))


def condition(text: str) -> Condition:
    """Parse a condition: ``score>0.8``, ``score.helpful >= 1``, ``output.answer ~ Paris``.

    Fields are score, score.NAME, program, version, status, model, started, input.FIELD and
    output.FIELD. A literal is a number, ``true``, ``false``, ``null``, a text in double quotes, or
    any other characters as a text. ``~`` means "contains" and ignores case. Numbers are ordered,
    and so are texts.

    Raises:
        BadCondition: The text has no known field, operator and literal.
    """
    match = _CONDITION.fullmatch(text)
    if match is None or not match["literal"]:
        raise BadCondition(text, "no field, operator (= != > >= < <= ~) and literal in it")
    field, _, name = match["field"].partition(".")
    if name and field not in NAMED:
        problem = f"{match['field']!r} is not a field"
        raise BadCondition(text, problem, near(field, (*FIELDS, *NAMED)))
    if not name and field not in FIELDS:
        hint = f" Did you mean {field}.FIELD?" if field in NAMED else near(field, (*FIELDS, *NAMED))
        known = f"{', '.join(FIELDS)}, input.FIELD, output.FIELD"
        raise BadCondition(text, f"{field!r} is not a field: {known}", hint)
    return Condition(field, name, match["operator"], _literal(match["literal"]))


def _literal(text: str) -> Any:
    try:
        value = parse(text)
    except ValueError:
        return text
    return value if isinstance(value, (str, int, float, bool, type(None))) else text


def _equal(value: Any, literal: Any) -> bool:
    if _is_number(value) and _is_number(literal):
        return bool(value == literal)
    if isinstance(literal, str):
        return _text(value) == literal
    return type(value) is type(literal) and value == literal


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=list, ensure_ascii=False)
