"""Rows as Markdown and HTML tables, in which no text from outside can be anything but text."""

from __future__ import annotations

import unicodedata
from typing import Any

from lmflow.values.record import pretty

WIDEST = 120


_HIDDEN = frozenset({"Cc", "Cf", "Cs"})


def clean(text: str) -> str:
    """Text from outside without control and format characters, lines and tabs apart, so that no
    model writes to the terminal itself.
    """
    return "".join(
        char
        if char in "\n\t" or unicodedata.category(char) not in _HIDDEN
        else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def printable(value: Any, width: int = WIDEST) -> str:
    """A value on one line without control and format characters, at most ``width`` characters long."""
    text = "" if value is None else value if isinstance(value, str) else pretty(value)
    bare = clean(" ".join(text.split()))
    return bare if len(bare) <= width else f"{bare[: width - 1]}…"
