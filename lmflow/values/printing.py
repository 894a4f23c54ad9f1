"""Text and values from outside, made safe to print on a terminal."""

from __future__ import annotations

from typing import Any

from lmflow.errors import clipped
from lmflow.errors.words import HIDDEN, visible
from lmflow.values.record import pretty

WIDEST = 120
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))

__all__ = ["HIDDEN", "WIDEST", "clean", "printable", "sized"]


def clean(text: str) -> str:
    """The text with each control and format character but line ends and tabs replaced, so that no
    model can steer the terminal.
    """
    return visible(text)


def printable(value: Any, width: int = WIDEST) -> str:
    """A value on one line of at most ``width`` characters, without control and format characters.
    ``None`` is empty.
    """
    if value is None:
        return ""
    text = value if isinstance(value, str) else pretty(value)
    return clipped(clean(" ".join(text.split())), width)


def sized(size: float) -> str:
    """A number of bytes as people read it: ``512 B``, ``12 kB``, ``1.5 MB``, ``20 GB``."""
    for unit, name in _UNITS:
        if size >= unit:
            amount = size / unit
            short = f"{amount:.1f}" if amount < 10 else f"{amount:.0f}"  # noqa: PLR2004 - two digits
            return f"{short.removesuffix('.0')} {name}"
    return f"{size:.0f} B"
