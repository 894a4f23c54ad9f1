"""Tables that fit the terminal: columns are shortened, then left out; a pipe gets all of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmflow.cli.options import on_terminal
from lmflow.values.widths import columns as columns_of
from lmflow.values.widths import cut, padded
from lmflow.views.columns import Column, column_table, fits, one_line

__all__ = ["Column", "fits", "fitting_lines", "records", "table", "terminal_width"]


def terminal_width() -> int | None:
    """Return the columns of the terminal; ``None`` if the output goes elsewhere."""
    return shutil.get_terminal_size().columns if on_terminal() else None


def records(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return rows below each other, a line a value, for rows with more columns than fit."""
    widest = max(map(columns_of, columns))
    parts = []
    for row in rows:
        cells = ((name, one_line(row[name])) for name in columns)
        parts.append("\n".join(f"{padded(name, widest)}  {cell}".rstrip() for name, cell in cells))
    return "\n\n".join(parts)


def fitting_lines(text: str) -> str:
    """Return a text of which no line is wider than the terminal: longer ones are shortened."""
    width = terminal_width()
    return text if width is None else "\n".join(cut(line, width) for line in text.split("\n"))


def table(
    rows: Iterable[Mapping[str, Any]],
    columns: Iterable[str | Column],
    *,
    width: int | None = None,
) -> str:
    """Return rows as aligned columns under their names, numbers to the right.

    Args:
        rows: The values by name.
        columns: The columns, in order.
        width: The columns that there are; by default those of the terminal, or no limit if the
            output goes elsewhere.
    """
    return column_table(rows, columns, width=terminal_width() if width is None else width)
