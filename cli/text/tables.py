"""Tables that fit the terminal: columns are shortened, then left out; a pipe gets all of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from lmflow.cli.options import on_terminal
from lmflow.views.columns import Column, column_table

__all__ = ["Column", "table", "terminal_width"]


def terminal_width() -> int | None:
    """Return the columns of the terminal; ``None`` if the output goes elsewhere."""
    return shutil.get_terminal_size().columns if on_terminal() else None


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
