"""Text and values from outside, made safe to print on a terminal."""

from __future__ import annotations

import unicodedata
from typing import Any

from lmflow.errors import clipped
from lmflow.values.record import pretty

WIDEST = 120
_HIDDEN = frozenset({"Cc", "Cf", "Cs"})  # control, format, surrogate


def clean(text: str) -> str:
    """The text with each control and format character but line ends and tabs replaced, so that no
    model can steer the terminal.
    """
    return "".join(map(_visible, text))


def printable(value: Any, width: int = WIDEST) -> str:
    """A value on one line of at most ``width`` characters, without control and format characters.
    ``None`` is empty.
    """
    if value is None:
        return ""
    text = value if isinstance(value, str) else pretty(value)
    return clipped(clean(" ".join(text.split())), width)


def _visible(char: str) -> str:
    if char in "\n\t" or unicodedata.category(char) not in _HIDDEN:
        return char
    return "\N{REPLACEMENT CHARACTER}"
