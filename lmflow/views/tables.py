"""Rows of values as Markdown, HTML and plain-text tables."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmflow.values.printing import WIDEST, printable

CELL_WIDTH = 48


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the columns in which some row has a value, in the order of their first
    occurrence.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if any(row.get(name) not in (None, "") for row in rows)]


def markdown_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Write rows as a Markdown table; characters with a meaning in Markdown or HTML are escaped."""
    lines = [_markdown_line(columns), f"| {' | '.join('---' for _ in columns)} |"]
    lines += [_markdown_line([row.get(name) for name in columns]) for row in rows]
    return "\n".join(lines)


def html_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Write rows as an HTML table; all text is escaped."""
    head = "".join(f"<th>{html_text(name)}</th>" for name in columns)
    body = "".join(_html_row(row, columns) for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def text_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Write rows of texts as right-aligned columns under their names; there is at least one row."""
    names = list(rows[0])
    lines = [names, *([printable(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def left_table(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """Write rows of values as left-aligned columns under their names."""
    names = list(columns)
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(_aligned(row, widths) for row in cells)


def same_columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with all columns that any of them has."""
    names = columns_of(rows)
    return [{name: row.get(name) for name in names} for row in rows]


def markdown_text(value: Any, width: int = WIDEST) -> str:
    """Write a value as Markdown that shows its characters as they are."""
    text = html.escape(printable(value, width), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#+!|~$:-])", r"\\\1", text)


def html_text(value: Any, width: int = WIDEST) -> str:
    """Write a value as HTML that shows its characters as they are."""
    return html.escape(printable(value, width))


def _markdown_line(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(map(markdown_text, cells))} |"


def _html_row(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    cells = "".join(f"<td>{html_text(row.get(name))}</td>" for name in columns)
    return f"<tr>{cells}</tr>"


def _cell(value: Any) -> str:
    return printable("" if value is None else value, CELL_WIDTH)


def _aligned(cells: Iterable[str], widths: Iterable[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
