"""Rows of values as Markdown, HTML and plain-text tables."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmflow.values.printing import WIDEST, printable

CELL_WIDTH = 48
SHORT_CELL = 20
"""Characters of a cell that is not broken into lines: an id, a number, a duration."""

_TABLE = "border-collapse:collapse;margin:.5em 0;font-variant-numeric:tabular-nums"
_CAPTION = "text-align:left;caption-side:top;padding:.2em 0"
_CELL = (
    "text-align:left;vertical-align:top;padding:.2em .8em .2em 0;"
    "border-bottom:1px solid rgba(128,128,128,.4)"
)
_HEAD = f"{_CELL};font-weight:600"
_FIRST = f"{_CELL};font-weight:inherit"


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the columns in which some row has a value, in the order of their first
    occurrence.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if any(row.get(name) not in (None, "") for row in rows)]


def markdown_table(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], width: int = WIDEST
) -> str:
    """Write rows as a Markdown table; characters with a meaning in Markdown or HTML are escaped."""
    lines = [_markdown_line(columns, width), f"| {' | '.join('---' for _ in columns)} |"]
    lines += [_markdown_line([row.get(name) for name in columns], width) for row in rows]
    return "\n".join(lines)


def html_table(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    caption: str = "",
    width: int = WIDEST,
) -> str:
    """Write rows as an HTML table whose first column names the rows; all text is escaped."""
    above = f'<caption style="{_CAPTION}">{html_text(caption)}</caption>' if caption else ""
    head = "".join(f'<th scope="col" style="{_HEAD}">{html_text(name)}</th>' for name in columns)
    body = "".join(_html_row(row, columns, width) for row in rows)
    table = f"{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<table style="{_TABLE}">{table}</table>'


def text_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Write rows of texts as right-aligned columns under their names; there is at least one row."""
    names = list(rows[0])
    lines = [list(map(printable, names))]
    lines += [[printable(row[name]) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def left_table(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """Write rows of values as left-aligned columns under their names."""
    names = list(columns)
    cells = [list(map(_cell, names)), *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(_aligned(row, widths) for row in cells)


def same_columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with all columns that any of them has."""
    names = columns_of(rows)
    return [{name: row.get(name) for name in names} for row in rows]


def markdown_text(value: Any, width: int = WIDEST) -> str:
    """Write a value as Markdown that shows its characters as they are."""
    text = html.escape(printable(value, width), quote=False)
    # A backslash becomes an entity: notebooks take a doubled one before a bracket for a formula.
    text = text.replace("\\", "&#92;")
    text = re.sub(r"([`*_{}\[\]()+!|~$:@=-]|(?<!&)#)", r"\\\1", text)
    return re.sub(r"\.(?!\d)|(?<!\d)\.", r"\.", text)


def html_text(value: Any, width: int = WIDEST) -> str:
    """Write a value as HTML that shows its characters as they are."""
    return escaped(printable(value, width))


def escaped(text: str) -> str:
    """Write a text as HTML that shows its characters as they are."""
    return html.escape(text)


def _markdown_line(cells: Iterable[Any], width: int) -> str:
    return f"| {' | '.join(markdown_text(cell, width) for cell in cells)} |"


def _html_row(row: Mapping[str, Any], columns: Sequence[str], width: int) -> str:
    first, *rest = columns or [""]
    head = _html_cell('th scope="row"', "th", html_text(row.get(first), width), _FIRST)
    cells = (_html_cell("td", "td", html_text(row.get(name), width), _CELL) for name in rest)
    return f"<tr>{head}{''.join(cells)}</tr>"


def _html_cell(opening: str, tag: str, text: str, style: str) -> str:
    wrapping = ";white-space:nowrap" if len(text) <= SHORT_CELL else ""
    return f'<{opening} style="{style}{wrapping}">{text}</{tag}>'


def _cell(value: Any) -> str:
    return printable("" if value is None else value, CELL_WIDTH)


def _aligned(cells: Iterable[str], widths: Iterable[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
