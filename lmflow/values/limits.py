"""The limits of values: what numbers, names and nesting a canonical form can have."""

from __future__ import annotations

import math
from typing import Any

from lmflow.errors import BadValue

DEEPEST = 200
"""How many levels deep a value may be nested, so that no walk over it exhausts the stack."""

_TOO_LONG = 10**4300  # Python refuses to write longer numbers


def check_number(value: float, where: str) -> float:
    """The number. ``BadValue`` if it is NaN, an infinity or of more than 4,300 digits."""
    if isinstance(value, int):
        if not -_TOO_LONG < value < _TOO_LONG:
            problem = "a whole number of more than 4,300 digits"
            raise BadValue(where, problem, "Write such a number as text.")
    elif not math.isfinite(value):
        raise BadValue(where, repr(value), "Use a finite number, or null for none.")
    return value


def check_key(key: Any, where: str) -> str:
    """The name of a field. ``BadValue`` if it isn't a text."""
    if not isinstance(key, str):
        raise BadValue(where, f"a mapping with the key {key!r}", "Use text as keys, str(key).")
    return key


def too_deep(where: str) -> BadValue:
    """The error for a value that is nested too deeply."""
    return BadValue(where, f"nested more than {DEEPEST} levels deep", "Make it flatter.")
