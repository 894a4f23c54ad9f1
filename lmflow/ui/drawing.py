"""Small pictures of pages: bars, states and differences, always with a sign or a number beside."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from lmflow.errors.words import visible

SIGNS = {
    "ok": "✓",
    "done": "✓",
    "failed": "✗",
    "open": "●",
    "started": "●",
    "stopped": "■",
    "reused": "↺",
    "same": "=",
    "moved": "→",
    "reissued": "↻",
    "changed": "±",
    "new": "+",
    "dropped": "−",
    "unknown": "?",
    "win": "▲",
    "loss": "▼",
    "tie": "=",
    "none": "·",
}
"""The sign of each state, so that no colour alone carries meaning."""

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
_MOST_WORDS = 4000


def state(name: str, text: str = "") -> Markup:
    """Draw a state: its sign, coloured, and its word."""
    sign = SIGNS.get(name, "·")
    word = visible(text or name)
    shown = name if name in SIGNS else "none"
    return Markup('<span class="state is-{}"><span aria-hidden="true">{}</span> {}</span>').format(
        shown, sign, word
    )


def grid_cells(cells: Iterable[Mapping[str, Any] | None]) -> Markup:
    """Draw the cells of a row of a grid: each leads to its trace, by a score or a sign.

    A grid has 20,000 of them, which as lines of a template would take most of a page's time.
    """
    return Markup("").join(map(_grid_cell, cells))


def _grid_cell(cell: Mapping[str, Any] | None) -> Markup:
    if cell is None:
        return Markup('<td class="cell-n">·</td>')
    trace, score = cell["trace"], cell["score"]
    place = trace if trace.isascii() and trace.isalnum() else escape(quote(trace, safe=""))
    href = f'<a href="/traces/{place}"'
    if cell["status"] == "failed":
        text = f'<td class="cell-f">{href} title="failed">✗</a></td>'
    elif score is None:
        text = f'<td>{href} class="is-open" title="no score">●</a></td>'
    else:
        shade = min(max(int(score * 5), 0), 5)
        text = f'<td class="cell-{shade}">{href}>{score:.2f}</a></td>'
    return Markup(text)  # noqa: S704 - the id is quoted, and the rest is ours


def bar(start: float, length: float, kind: str = "ok") -> Markup:
    """Draw a bar from ``start`` on, both as parts of 1: where and how long something took.

    A bar has no style of its own: pages forbid inline styles, so SVG's attributes place it.
    """
    left = min(max(start, 0.0), 1.0) * 100
    width = min(max(length * 100, 0.8), 100.0)
    shown = kind if kind in SIGNS else "none"
    return Markup(
        '<svg class="bar is-{}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect x="{:.2f}" y="0" width="{:.2f}" height="8"/></svg>'
    ).format(shown, min(left, 99.2), width)


def difference(before: str, after: str) -> Markup:
    """Mark the words that two texts don't share: deleted ones struck, new ones underlined."""
    return Markup("").join(_marked(visible(before), visible(after)))


def _marked(before: str, after: str) -> Iterator[Markup]:
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    if max(len(old), len(new)) > _MOST_WORDS:  # matching takes quadratic time
        old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            yield escape(_folded("".join(old[a:b])))
            continue
        if b > a:
            yield Markup("<del>{}</del>").format("".join(old[a:b]))
        if d > c:
            yield Markup("<ins>{}</ins>").format("".join(new[c:d]))


def _folded(text: str, keep: int = 6) -> str:
    """Return an unchanged stretch with its middle lines left out and counted."""
    lines = text.split("\n")
    if len(lines) <= 2 * keep:
        return text
    hidden = len(lines) - 2 * keep
    middle = [f"    … {hidden} unchanged lines …"]
    return "\n".join(itertools.chain(lines[:keep], middle, lines[-keep:]))
