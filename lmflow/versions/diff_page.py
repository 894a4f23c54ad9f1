"""Changes of parameters as a part of a page: inserted and deleted words are marked."""

from __future__ import annotations

from collections.abc import Sequence

from lmflow.versions.changes import Change, diff_text
from lmflow.views.page import ROWS_SHOWN, Text
from lmflow.views.tables import escaped

_LONGEST_PIECE = 2000
_LONGEST_PAGE = 200_000
_ADDED = '<ins style="background:rgba(46,160,67,.25)">'
_REMOVED = '<del style="background:rgba(248,81,73,.25)">'
_TAGS = {
    "path": ("<strong>", "</strong>"),
    "insert": (_ADDED, "</ins>"),
    "after": (_ADDED, "</ins>"),
    "added": (_ADDED, "</ins>"),
    "delete": (_REMOVED, "</del>"),
    "before": (_REMOVED, "</del>"),
    "removed": (_REMOVED, "</del>"),
}


def diff_block(changes: Sequence[Change]) -> Text:
    """Return the first changes as a text for a page, its words marked unless it is very long."""
    shown = changes[:ROWS_SHOWN]
    hidden = len(changes) - len(shown)
    rest = f"\n… {hidden} more paths" if hidden else ""
    markup = f"{diff_text(shown, _tagged)}{rest}"
    text = f"{diff_text(shown)}{rest}"
    return Text(text, markup if len(markup) <= _LONGEST_PAGE else "")


def _tagged(kind: str, text: str) -> str:
    opening, closing = _TAGS.get(kind, ("", ""))
    more = "…" if len(text) > _LONGEST_PIECE else ""
    return f"{opening}{escaped(text[:_LONGEST_PIECE])}{more}{closing}"
