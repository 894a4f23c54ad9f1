"""What a notebook shows of a value: lines, then tables, trees and pictures, as HTML and Markdown.

The HTML needs no script and no style sheet, follows the colours of the page around it, dark or
light, and is bounded: each block shows its first rows and says how many more there are. Text stays
text: whatever a model or a file holds, a page has the tags that are written here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from lmflow.values.printing import WIDEST, clean
from lmflow.views.lines import counted
from lmflow.views.tables import (
    columns_of,
    escaped,
    html_table,
    html_text,
    markdown_table,
    markdown_text,
)

ROWS_SHOWN = 20
"""The rows of a table that a notebook shows."""
LINES_SHOWN = 80
"""The lines of a text that a notebook shows."""
WIDEST_LINE = 400

# MathJax, which notebooks run over all that they show, would set the text between two prices as a
# formula. It leaves out elements of these classes.
_OPEN = '<div class="tex2jax_ignore mathjax_ignore">'
_PRE = (
    "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace;"
    "font-size:.93em;line-height:1.35;margin:.5em 0;padding:0;white-space:pre-wrap;background:none"
)


class Block(Protocol):
    """A part of a page."""

    def html(self) -> str:
        """Return the block as HTML."""
        ...

    def markdown(self) -> str:
        """Return the block as Markdown."""
        ...


@attrs.frozen
class Table:
    """The first rows of a table.

    Args:
        rows: The rows, or the first of them.
        caption: The words above the table.
        total: The number of rows that there are, by default those in ``rows``.
        noun: The name of one row.
        columns: The columns, by default those in which some row has a value.
        width: The characters of a cell that are shown.
    """

    rows: Sequence[Mapping[str, Any]]
    caption: str = ""
    total: int | None = None
    noun: str = "row"
    columns: tuple[str, ...] = ()
    width: int = WIDEST

    def html(self) -> str:
        """Return the rows as an HTML table, and below it how many more there are."""
        if not self.rows:
            return ""
        shown = self.rows[:ROWS_SHOWN]
        table = html_table(shown, self.columns or columns_of(shown), self.caption, self.width)
        return f"{table}{_html_paragraph(self._more)}"

    def markdown(self) -> str:
        """Return the rows as a Markdown table, and below it how many more there are."""
        if not self.rows:
            return ""
        shown = self.rows[:ROWS_SHOWN]
        table = markdown_table(shown, self.columns or columns_of(shown), self.width)
        parts = (markdown_text(self.caption), table, markdown_text(self._more))
        return "\n\n".join(part for part in parts if part)

    @property
    def _more(self) -> str:
        total = len(self.rows) if self.total is None else self.total
        hidden = total - min(len(self.rows), ROWS_SHOWN)
        return f"… {counted(hidden, f'more {self.noun}')}" if hidden > 0 else ""


@attrs.frozen
class Text:
    """A tree, bars or another text whose columns count.

    Args:
        text: The text.
        markup: The same text as HTML, if some of its words are marked; all of it is escaped.
        most: The number of lines that are shown; all of them if ``None``.
    """

    text: str
    markup: str = ""
    most: int | None = LINES_SHOWN

    def html(self) -> str:
        """Return the text as preformatted HTML."""
        lines = (self.markup or escaped(clean(self.text))).split("\n")
        return f'<pre style="{_PRE}">{self._first(lines)}</pre>'

    def markdown(self) -> str:
        """Return the text as a fenced block that no line of the text can close."""
        text = self._first(clean(self.text).split("\n"))
        longest = max(map(len, re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        return f"{fence}text\n{text}\n{fence}"

    def _first(self, lines: Sequence[str]) -> str:
        if self.most is None:
            return "\n".join(lines)
        hidden = len(lines) - self.most
        more = [f"… {counted(hidden, 'more line')}"] if hidden > 0 else []
        return "\n".join([*lines[: self.most], *more])


@attrs.frozen
class Picture:
    """An SVG picture, whose text is escaped already, and the words that stand for it."""

    svg: str
    words: str

    def html(self) -> str:
        """Return the picture."""
        return f'<div style="max-width:36em">{self.svg}</div>'

    def markdown(self) -> str:
        """Return the words."""
        return Text(self.words).markdown()


@attrs.frozen
class Page:
    """What is shown of a value.

    Args:
        lines: The first lines; the very first is strong.
        blocks: The tables, trees and pictures below them.
    """

    lines: tuple[str, ...]
    blocks: tuple[Block, ...] = ()

    def html(self) -> str:
        """Return the page as an HTML fragment."""
        first, *rest = self.lines
        head = [f"<strong>{html_text(first, WIDEST_LINE)}</strong>"]
        head += [html_text(line, WIDEST_LINE) for line in rest if line]
        blocks = "".join(block.html() for block in self.blocks)
        return f'{_OPEN}<p style="margin:.3em 0">{"<br>".join(head)}</p>{blocks}</div>'

    def markdown(self) -> str:
        """Return the page as Markdown."""
        first, *rest = self.lines
        title = markdown_text(first, WIDEST_LINE)
        head = [f"**{title}**"] if title else []
        head += [markdown_text(line, WIDEST_LINE) for line in rest if line]
        parts = ("  \n".join(head), *(block.markdown() for block in self.blocks))
        return "\n\n".join(part for part in parts if part)


def page_html(lines: Iterable[str], *blocks: Block) -> str:
    """Return a page of lines and blocks as an HTML fragment."""
    return Page(tuple(lines), blocks).html()


def page_markdown(lines: Iterable[str], *blocks: Block) -> str:
    """Return a page of lines and blocks as Markdown."""
    return Page(tuple(lines), blocks).markdown()


def _html_paragraph(text: str) -> str:
    return f'<p style="margin:.3em 0">{html_text(text)}</p>' if text else ""
