"""Reads inputs back from the message that an adapter wrote of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmflow.adapters.adapter import Adapter
from lmflow.signatures.fields import Field


def marked_values(text: str, fields: Sequence[Field], adapter: Adapter) -> dict[str, Any]:
    """Return the texts between the marks of inputs; empty if the first mark is missing.

    What follows the last mark is its value, with the adapter's cue if there is one: a caller must
    compare what the adapter writes of the values with the text.
    """
    places: list[tuple[int, int, str, str]] = []
    at = 0
    for field in fields:
        before, after = adapter.marks.around(field.name)
        start = _line_start(text, before, at)
        if start >= 0:
            at = start + len(before)
            places.append((start, at, field.name, after))
    values: dict[str, Any] = {}
    for number, (_, begin, name, after) in enumerate(places):
        end = places[number + 1][0] - 1 if number + 1 < len(places) else len(text)
        value = text[begin:end]
        close = value.rfind(after) if after else -1
        values[name] = value[:close] if close >= 0 else value
    return values


def _line_start(text: str, mark: str, at: int) -> int:
    """Return where a mark begins a line, from a place on; -1 if it does nowhere."""
    if text.startswith(mark, at) and (at == 0 or text[at - 1] == "\n"):
        return at
    found = text.find(f"\n{mark}", at)
    return found + 1 if found >= 0 else -1
