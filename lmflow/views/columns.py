"""Tables that fit a width: columns are shortened, then left out."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.values.printing import clean
from lmflow.values.record import pretty
from lmflow.values.widths import columns as columns_of
from lmflow.values.widths import cut, padded

GAP = 2
ENOUGH = 16
"""Columns that a text is shortened to before whole columns are left out."""

LEAST = 8
"""Columns that a text is shortened to at the end."""


@attrs.frozen
class Column:
    """A column of a table.

    Args:
        name: The name of the values in the rows, which stands above the column.
        rank: How soon the column is left out if the table is too wide, the highest first; 0 never.
        narrow: Gives a shorter form of a value, for tables that are too wide.
        whole: Whether its texts are never shortened, such as ids, which people copy.
        enough: The columns that its texts are shortened to before whole columns are left out.
    """

    name: str
    rank: int = 0
    narrow: Callable[[Any], Any] | None = None
    whole: bool = False
    enough: int = ENOUGH


def column_table(
    rows: Iterable[Mapping[str, Any]],
    columns: Iterable[str | Column],
    *,
    width: int | None = None,
    elsewhere: str = "--json, a pipe or a wider terminal shows them",
) -> str:
    """Return rows as aligned columns under their names, numbers to the right.

    Args:
        rows: The values by name.
        columns: The columns, in order.
        width: The characters of a line; no limit if ``None``.
        elsewhere: The words that say how columns that are left out can be seen.
    """
    rows = list(rows)
    chosen = [Column(column) if isinstance(column, str) else column for column in columns]
    if width is None:
        return _text([_Drawn.of(column, rows) for column in chosen])
    drawn, left_out = _fitted(rows, chosen, width)
    lines = _text(drawn).split("\n")
    if left_out:
        names = ", ".join(left_out)
        note = f"not shown: {names} ({elsewhere})"
        lines += textwrap.wrap(note, width)
    return "\n".join(cut(line, width) for line in lines)


def fits(rows: Iterable[Mapping[str, Any]], columns: Iterable[str], *, width: int | None) -> bool:
    """Say whether a table fits a width with texts of ``ENOUGH`` characters and all its columns."""
    rows = list(rows)
    drawn = [_Drawn.of(Column(column), rows) for column in columns]
    return width is None or _total(_shortened(drawn, width, ENOUGH)) <= width


@attrs.frozen
class _Drawn:
    """A column with its cells as texts."""

    column: Column
    cells: tuple[str, ...]
    right: bool
    width: int

    @staticmethod
    def of(column: Column, rows: Sequence[Mapping[str, Any]], *, narrow: bool = False) -> _Drawn:
        values = [row[column.name] for row in rows]
        if narrow and column.narrow is not None:
            values = list(map(column.narrow, values))
        cells = tuple(map(one_line, values))
        width = max(map(columns_of, (column.name, *cells)))
        return _Drawn(column, cells, _are_numbers(values), width)

    @property
    def is_empty(self) -> bool:
        """True if the column says nothing: its cells are empty or 0."""
        return all(cell in {"", "0"} for cell in self.cells)

    def floor(self, least: int) -> int:
        """Return the width that the column's texts are shortened to, if others keep ``least``."""
        return min(least, self.column.enough)

    def can_give(self, least: int) -> bool:
        """Say whether the column's texts can still be shortened."""
        return self.shortened(self.floor(least)).width < self.width

    def shortened(self, width: int) -> _Drawn:
        """Return the column with its texts cut to a width; ids and numbers stay whole."""
        if self.column.whole or self.right:
            return self
        least = max(width, columns_of(self.column.name))
        return attrs.evolve(self, width=min(self.width, least))

    def lines(self) -> list[str]:
        """Return the name and the cells, all of one width."""
        texts = (self.column.name, *self.cells)
        return [padded(cut(text, self.width), self.width, right=self.right) for text in texts]


def _fitted(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], width: int
) -> tuple[list[_Drawn], list[str]]:
    """Return the columns that fit into a width, and the names of those that are left out."""
    drawn = [_Drawn.of(column, rows) for column in columns]
    if _total(drawn) <= width:
        return drawn, []
    drawn = [_Drawn.of(column, rows, narrow=True) for column in columns]
    left_out = []
    while _total(_shortened(drawn, width, ENOUGH)) > width:
        rankable = [one for one in drawn if one.column.rank]
        if not rankable:
            break
        last = max(rankable, key=lambda one: (one.is_empty, one.column.rank))
        drawn.remove(last)
        left_out.append(last.column.name)
    for least in (ENOUGH, LEAST):
        fitting = _shortened(drawn, width, least)
        if _total(fitting) <= width:
            break
    return fitting, [column.name for column in columns if column.name in left_out]


def _shortened(drawn: Sequence[_Drawn], width: int, least: int) -> list[_Drawn]:
    """Shorten the widest columns of texts, none below ``least``, until all fit or none gives."""
    drawn = list(drawn)
    while (excess := _total(drawn) - width) > 0:
        widths = [one.width if one.can_give(least) else 0 for one in drawn]
        widest = max(widths, default=0)
        if not widest:
            break
        place = widths.index(widest)
        second = max((other for other in widths if other < widest), default=0)
        goal = max(drawn[place].floor(least), second, widest - excess)
        drawn[place] = drawn[place].shortened(min(goal, widest - 1))
    return drawn


def _total(drawn: Sequence[_Drawn]) -> int:
    return sum(one.width for one in drawn) + GAP * (len(drawn) - 1)


def _text(drawn: Sequence[_Drawn]) -> str:
    lines = zip(*(one.lines() for one in drawn), strict=True)
    return "\n".join((" " * GAP).join(cells).rstrip() for cells in lines)


def one_line(value: Any) -> str:
    """Return a value on one line, without control characters."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = value if isinstance(value, str) else pretty(value)
    return clean(" ".join(text.split()))


def _are_numbers(values: Sequence[Any]) -> bool:
    """Return whether all values are numbers, or texts of numbers; the empty ones don't count."""
    texts = [one_line(value) for value in values if value not in (None, "")]
    return bool(texts) and all(map(_is_number, texts))


def _is_number(text: str) -> bool:
    return text.lstrip("-$").replace(",", "").replace(".", "", 1).isdecimal()
