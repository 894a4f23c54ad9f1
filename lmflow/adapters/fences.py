"""Code fences in a text: the spans in which nothing but code stands."""

from __future__ import annotations

import bisect
import operator
import re

# A fence may begin in an item of a list, behind the bullet.
_LINE = re.compile(r"^[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


def fenced_spans(text: str) -> list[tuple[int, int]]:
    """Find the code fences of a text, from each opening line to the end of its closing line.

    A fence that is never closed fences nothing: models forget to close it.
    """
    if "```" not in text and "~~~" not in text:
        return []
    spans: list[tuple[int, int]] = []
    opening: re.Match[str] | None = None
    for line in _LINE.finditer(text):
        fence = _fence_after("" if opening is None else opening[1], line[1], line[2])
        if opening is None:
            opening = line if fence else None
        elif not fence:
            spans.append((opening.start(), line.end()))
            opening = None
    return spans


def fence_after(fence: str, line: str) -> str:
    """The mark of the fence that is open after a line, or empty; ``fence`` was open before it."""
    match = _LINE.fullmatch(line)
    return _fence_after(fence, match[1], match[2]) if match else fence


def _fence_after(fence: str, mark: str, rest: str) -> str:
    """As in CommonMark: backticks behind an opening mark are inline code, a closing is alone."""
    if not fence:
        return mark if mark[0] == "~" or "`" not in rest else ""
    closes = mark[0] == fence[0] and len(mark) >= len(fence) and not rest.strip()
    return "" if closes else fence


def is_within(position: int, spans: list[tuple[int, int]]) -> bool:
    """Tell whether a position lies within one of the spans, which are in order."""
    before = bisect.bisect_right(spans, position, key=operator.itemgetter(0))
    return before > 0 and position < spans[before - 1][1]


def unfenced(text: str) -> str:
    """Remove the fence around a text that is one fenced block; any other text stays as it is."""
    if "```" not in text and "~~~" not in text:
        return text
    stripped = text.strip()
    if fenced_spans(stripped) != [(0, len(stripped))]:
        return text
    return stripped.partition("\n")[2].rpartition("\n")[0]
