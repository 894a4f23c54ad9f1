"""Evaluations and comparisons as Markdown and HTML tables."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmflow.values.printing import WIDEST, printable


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of what some row has, in the order in which they are met; what is empty in all rows
    is left out.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if any(row.get(name) not in (None, "") for row in rows)]


def markdown_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """The rows as a Markdown table. Marks that mean something in Markdown or HTML are escaped."""
    lines = [
        columns,
        ["---"] * len(columns),
        *([row.get(name) for name in columns] for row in rows),
    ]
    cells = [
        [cell if at == 1 else markdown_text(cell) for cell in line] for at, line in enumerate(lines)
    ]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in cells)


def html_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """The rows as an HTML table, everything escaped."""
    head = "".join(f"<th>{html_text(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{html_text(row.get(name))}</td>' for name in columns)}</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def markdown_text(value: Any, width: int = WIDEST) -> str:
    """A value as Markdown that shows just its characters."""
    return re.sub(
        r"([\\`*_{}\[\]()#+!|~$:-])", r"\\\1", html.escape(printable(value, width), quote=False)
    )


def html_text(value: Any, width: int = WIDEST) -> str:
    """A value as HTML that shows just its characters."""
    return html.escape(printable(value, width))
