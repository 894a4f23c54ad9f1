"""Labels that models write in place of bullets: ``a)``, ``B.``, ``1:``, ``Item 2:``, boxes.

Most of them may also begin an item's own text ("A. Smith", "1: 0"), so they count only if every
item has one and they follow each other from the first on.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

_LABEL = re.compile(
    r"""^[ \t]{0,3}(?P<bold>\*\*|__)?
    (?:\(?(?P<bracketed>[a-zA-Z]|[ivx]{2,5}|[IVX]{2,5})\)
    |(?P<dotted>[a-zA-Z]|[ivx]{2,5}|[IVX]{2,5})\.
    |(?P<number>\d{1,4}):
    |\#(?P<hashed>\d{1,4})[:.)]
    |(?i:item|entry|element|point|bullet)[ ]\#?(?P<counted>\d{1,4})(?:[:.)]|(?=(?:\*\*|__):))
    |\[(?P<box>[ xX\u2713\u2714])\])
    (?(bold)(?P=bold):?)[ \t]+(?=\S)""",
    re.VERBOSE | re.MULTILINE,
)
_BOX = re.compile(
    r"^([ \t]*(?:[-*+\u2022]|\d{1,4}[.)])[ \t]+)\[[ xX\u2713\u2714]?\][ \t]+(?=\S)", re.MULTILINE
)
"""A box behind a bullet or a number."""

_LEAD = 100
"""Lines in which the first label must stand."""

_ROMAN = (
    *("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"),
    *("xi", "xii", "xiii", "xiv", "xv", "xvi", "xvii", "xviii", "xix", "xx"),
)
_SERIES: tuple[Sequence[str], ...] = (
    string.ascii_lowercase,
    string.ascii_uppercase,
    _ROMAN,
    tuple(label.upper() for label in _ROMAN),
)


def with_bullets(text: str) -> str:
    """Write bullets in place of other labels, and remove the boxes behind bullets."""
    if "[" in text:
        text = _BOX.sub(r"\1", text)
    first = _LABEL.search(text, 0, _end_of_lead(text))
    if first is None or not _begins_list(text[: first.start()]):
        return text
    form = str(first.lastgroup)
    labels = [label for label in _LABEL.finditer(text) if label.lastgroup == form]
    if not _is_series(form, [label[form] for label in labels]):
        return text
    starts = {label.start() for label in labels}
    return _relabelled(text, starts, labels[0].start(), labels[-1].start())


def _end_of_lead(text: str) -> int:
    """The end of the lines in which a list must begin, so that a long text costs little."""
    end = -1
    for _ in range(_LEAD):
        end = text.find("\n", end + 1)
        if end < 0:
            return len(text)
    return end


def _begins_list(before: str) -> bool:
    """Tell whether a list may begin after a text: after nothing, a blank line or a colon."""
    lead = before.rstrip("\r\n \t*_")
    return not lead or lead.endswith(":") or before.count("\n", len(lead)) > 1


def _is_series(form: str, labels: Sequence[str]) -> bool:
    """Tell whether labels follow each other from the first on; boxes have no order."""
    if len(labels) == 1:
        return form == "counted"
    if form == "box":
        return True
    if form in {"bracketed", "dotted"}:
        return any(list(labels) == list(series[: len(labels)]) for series in _SERIES)
    first = int(labels[0])
    is_first = first == 1 or (first == 0 and form == "counted")
    return is_first and [*map(int, labels)] == [*range(first, first + len(labels))]


def _relabelled(text: str, starts: set[int], first: int, last: int) -> str:
    """Write a bullet at each start; the text itself if a line amid the items has no label.

    An indented line goes on with its item, as behind bullets.
    """
    lines: list[str] = []
    position = 0
    for line in text.split("\n"):
        if position in starts:
            lines.append(_LABEL.sub("- ", line, count=1))
        elif first < position < last and line.strip() and not line[0].isspace():
            return text
        else:
            lines.append(line)
        position += len(line) + 1
    return "\n".join(lines)
