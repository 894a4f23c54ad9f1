"""Small pictures of pages: bars, states and differences, always with a sign or a number beside."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator

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
