"""Checks of what programs and optimizers are made with."""

from __future__ import annotations

from lmflow.errors import check_kind, clipped
from lmflow.programs.program import Predict


def check_positive(name: str, value: int) -> int:
    """Return a number that is at least 1; raise ``ValueError`` for any other."""
    return _check_least(name, value, 1)


def check_not_negative(name: str, value: int) -> int:
    """Return a number that is at least 0; raise ``ValueError`` for any other."""
    return _check_least(name, value, 0)


def _check_least(name: str, value: int, least: int) -> int:
    if value < least:
        msg = f"{name} must be at least {least}, found {value}"
        raise ValueError(msg)
    return value


def check_step(value: object) -> None:
    """Raise ``TypeError`` if a value isn't a step that asks a model."""
    signature = value if isinstance(value, str) and "->" in value else "question -> answer"
    line = f'lf.predict("answer", "{clipped(signature, 60)}")'
    check_kind("a step", value, Predict, f"Write {line} in its place.")
