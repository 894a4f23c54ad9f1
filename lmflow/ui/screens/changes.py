"""Changes of parameters as JSON values in two columns: words, demonstrations and keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lmflow.values.record import pretty
from lmflow.values.text_diff import Piece
from lmflow.versions.changes import ABSENT, VECTORS, Change, stat, value_text
from lmflow.versions.demos import DemoEdit

_MOST_ROWS = 60  # demonstrations of one change that a page shows


def changes_data(change: Change) -> dict[str, Any]:
    """Return a change: its path, how much changed, and rows of two cells, before and after.

    A cell is a list of ``[kind, text]``; the kinds are equal, insert and delete.
    """
    rows = list(_rows(change))
    return {
        "path": change.path,
        "stat": stat(change),
        "rows": [{"before": before, "after": after} for before, after in rows[:_MOST_ROWS]],
        "left_out": max(len(rows) - _MOST_ROWS, 0),
    }


Cell = list[list[str]]


def _rows(change: Change) -> Iterable[tuple[Cell, Cell]]:
    if change.path.endswith(VECTORS):
        return
    detail = change.detail
    pieces = [part for part in detail if isinstance(part, Piece)]
    if pieces:
        yield (
            [[piece.kind, piece.text] for piece in pieces if piece.kind != "insert"],
            [[piece.kind, piece.text] for piece in pieces if piece.kind != "delete"],
        )
    for part in detail:
        if isinstance(part, DemoEdit):
            kinds = ("equal", "equal") if part.kind == "moved" else ("delete", "insert")
            yield (
                _demo(kinds[0], part.was, part.before),
                _demo(kinds[1], part.now, part.after),
            )
        elif isinstance(part, Change):
            yield _value("delete", part, part.before), _value("insert", part, part.after)
    if not detail:
        yield _whole("delete", change.before), _whole("insert", change.after)


def _demo(kind: str, place: int | None, demo: Any) -> Cell:
    return [] if place is None else [[kind, f"{place + 1}  {pretty(demo)}"]]


def _value(kind: str, change: Change, value: Any) -> Cell:
    return [] if value is ABSENT else [[kind, f"{change.path}: {value_text(value)}"]]


def _whole(kind: str, value: Any) -> Cell:
    return [] if value is ABSENT else [[kind, value_text(value)]]
