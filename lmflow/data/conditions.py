"""Conditions on runs, executions and calls as text: a field, an operator, a literal. They are
parsed, never evaluated as code.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import attrs

from lmflow.errors import BadCondition, near
from lmflow.values.json_text import parse
from lmflow.values.moments import period_text
from lmflow.values.record import plain

NUMBERS = ("score", "seconds", "cost", "tokens", "calls", "attempt", "sample")
TEXTS = (
    "run",
    "program",
    "label",
    "trace",
    "version",
    "step",
    "address",
    "model",
    "tool",
    "error",
)
RUN_KINDS = (
    *("run", "serve", "map", "what_if", "fork", "evaluate", "optimize", "test", "import", "wave"),
)
CALL_KINDS = ("chat", "embed", "tool")
STATUSES = ("open", "done", "failed", "stopped", "started", "ok")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "kind": (*RUN_KINDS, *CALL_KINDS),
    "status": STATUSES,
    "reused": ("true", "false"),
}
FIELDS = (*NUMBERS, *TEXTS, *CHOICES, "started")
NAMED = ("score", "input", "output")
"""Fields that are followed by a name, such as ``input.question``."""

_CONDITION = re.compile(
    r"\s*(?P<field>\w+(?:\.[\w\-]+)*)\s*(?P<operator>!=|>=|<=|=|>|<|~)\s*(?P<literal>.*?)\s*",
    re.DOTALL,
)
_IN_BRACKETS = re.compile(r"\[([^\[\]]+)\]")
_LARGEST = 2**62
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
            return not any(self._equals(value) for value in values)
        return any(self._matches(value) for value in values)

    @property
    def positive(self) -> Condition:
        """The condition itself; ``=`` for ``!=``."""
        return attrs.evolve(self, operator="=") if self.operator == "!=" else self

    def _equals(self, value: Any) -> bool:
        if self.field == "started":
            return bool(self._period(value) == self.literal)
        return _equal(value, self.literal)

    def _matches(self, value: Any) -> bool:
        if self.operator == "=":
            return self._equals(value)
        if self.operator == "~":
            return _text(self.literal).casefold() in _text(value).casefold()
        if type(value) is bool or _is_number(value) != _is_number(self.literal):
            return False
        compare = _ORDER[self.operator]
        if _is_number(value):
            return bool(compare(value, self.literal))
        return bool(compare(self._period(value), _text(self.literal)))

    def _period(self, value: Any) -> str:
        """Return a text; a time only as far as the literal goes, so that a date means its day."""
        text = _text(value)
        return text[: len(self.literal)] if self.field == "started" else text


def condition(text: str, now: int | None = None) -> Condition:
    """Parse a condition: ``score>0.8``, ``started>=2026-11-23``, ``output.answer ~ Paris``.

    Fields of a run are kind, program, run, status, started, seconds, cost (dollars), tokens, calls
    and score; of an execution version, label, trace, input.FIELD, output.FIELD, error and sample
    too; of a call step, address, model, tool, attempt (from 1) and reused. ``score.NAME`` is the
    score of that name. A literal is a number, ``true``, ``false``, ``null``, a text in double
    quotes, or any other characters as a text. ``~`` means "contains" and ignores case. Numbers are
    ordered, and so are texts. A date means that whole day, in UTC.

    Args:
        text: The condition.
        now: The present, in nanoseconds since the epoch, for times such as ``started>=7d``.

    Raises:
        BadCondition: The text has no known field, operator and literal, or the literal can't be a
            value of the field.
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
        known = f"{', '.join(FIELDS)}, score.NAME, input.FIELD, output.FIELD"
        raise BadCondition(text, f"{field!r} is not a field: {known}", hint)
    literal = _typed_literal(text, field, match["operator"], match["literal"], now)
    return Condition(field, name, match["operator"], literal)


def step_names(address: str) -> list[str]:
    """Return the names of the step that made the call at an address, shortest first: ``answer`` and
    ``draft.answer`` for ``draft[0]/answer[0]/call[0]``.
    """
    frames = [part.partition("[")[0] for part in address.split("/")[:-1]]
    return [".".join(frames[start:]) for start in range(len(frames) - 1, -1, -1)]


def step_name(address: str) -> str:
    """Return the name of the innermost frame of a call's address, empty outside all frames."""
    return next(iter(step_names(address)), "")


def label_names(label: str) -> list[str]:
    """Return a label and the names in its brackets: ``ex[e7]`` and ``e7``."""
    return [label, *(unquote(name) for name in _IN_BRACKETS.findall(label))]


def members(record: Mapping[str, Any], name: str) -> list[Any]:
    """Return the value of a field in a list, of an inner one for ``place.city``; empty if the
    record has no such field.
    """
    if name in record:
        return [record[name]]
    first, _, rest = name.partition(".")
    inner = record.get(first)
    return members(inner, rest) if rest and isinstance(inner, Mapping) else []


def _typed_literal(text: str, field: str, sign: str, literal: str, now: int | None) -> Any:
    """Return the literal as the field's values are; ``BadCondition`` if it can't be one."""
    if field in NUMBERS:
        return _number(text, field, sign, literal)
    if field in TEXTS:
        return _unquoted(literal)
    if field in CHOICES:
        return _choice(text, field, sign, _unquoted(literal))
    if field != "started":
        return _literal(literal)
    if sign == "~":
        return _unquoted(literal).replace(" ", "T")
    try:
        return period_text(_unquoted(literal), now)
    except ValueError as error:
        raise BadCondition(text, str(error)) from None


def _number(text: str, field: str, sign: str, literal: str) -> Any:
    if sign == "~":
        raise BadCondition(text, f"{field} is a number: compare it by = != > >= < or <=")
    value = _literal(literal.removeprefix("$") if field == "cost" else literal)
    if isinstance(value, bool):
        return int(value)
    if not _is_number(value):
        raise BadCondition(text, f"{field} is a number, {literal!r} is none")
    # SQLite has no larger integers, and no recorded number is as large.
    return max(-_LARGEST, min(value, _LARGEST)) if isinstance(value, int) else value


def _choice(text: str, field: str, sign: str, literal: str) -> str:
    known = CHOICES[field]
    if sign in {"=", "!="} and literal not in known:
        problem = f"{field} is one of {', '.join(known)}, not {literal!r}"
        raise BadCondition(text, problem, near(literal, known))
    return literal


def _unquoted(text: str) -> str:
    """Return a text without its double quotes."""
    value = _literal(text) if text.startswith('"') else text
    return value if isinstance(value, str) else text


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
    """Return a text as it is, any other value as JSON."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)
    return json.dumps(plain(value), ensure_ascii=False, sort_keys=True)
