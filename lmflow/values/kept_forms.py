"""Canonical forms that records remember: those of values that many others share."""

from __future__ import annotations

from typing import Any

from lmflow.values.record import Record, canonical


def kept_form(value: Any) -> str:
    """The canonical form of a value that many others share, which a record remembers."""
    if type(value) is not Record:
        return canonical(value)
    try:
        return value._form  # noqa: SLF001 - a record keeps it
    except AttributeError:
        object.__setattr__(value, "_form", canonical(value))
        return value._form  # noqa: SLF001 - a record keeps it
