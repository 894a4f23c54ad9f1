"""Sections in a model's reply: under ``[[name]]`` markers as they were asked for, or as models
write them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_MARKER = re.compile(
    r"^[ \t]*[#*]*[ \t]*\[\[[ \t#]*([^\W\d]\w*)[ \t#]*\]\][*]*[ \t]*:?[ \t]*", re.MULTILINE
)
_INLINE = re.compile(r"\[\[[ \t#]*([^\W\d]\w*)[ \t#]*\]\][ \t]*:?[ \t]*")
_VALUES = frozenset({"null", "true", "false"})
"""Words in ``[[null]]``, which is a list of lists."""
_LABEL = re.compile(r"^[ \t]*[#*]*[ \t]*(\w+)[ \t]*[*]*[ \t]*:[*]*[ \t]*", re.MULTILINE)


def marked(text: str, names: Iterable[str], others: Iterable[str] = ()) -> dict[str, str]:
    """The text under each marker with one of the names; of two with one name the first counts.

    Markers stand at the beginning of a line; where one of the names isn't found so, they may stand
    within it. A section ends at the next marker of a field (``others`` are fields too), or of
    anything that stands alone on its line.
    """
    if "[[" not in text:
        return {}
    wanted, known = set(names), {*names, *others}
    found = _split(text, _MARKER, wanted, known)
    if wanted <= found.keys():
        return found
    return (
        {**_split(text, _INLINE, wanted, known), **found}
        if not found
        else _more(text, found, wanted, known)
    )


def labelled(text: str, names: Iterable[str]) -> dict[str, str]:
    """The text after each ``name:`` at the beginning of a line, whatever the case of the name."""
    wanted = set(names)
    return _split(text, _LABEL, wanted, wanted)


def unmarked(text: str, others: Iterable[str]) -> str:
    """The text before the first marker of a field, or of anything that stands alone on its line."""
    if "[[" not in text:
        return text.strip()
    known = set(others)
    return next(
        (text[: mark.start()] for mark in _MARKER.finditer(text) if _cuts(text, mark, known)), text
    ).strip()


def _more(text: str, found: dict[str, str], wanted: set[str], known: set[str]) -> dict[str, str]:
    """What is found with markers within lines too, where that finds more."""
    inline = _split(text, _INLINE, wanted, known)
    return inline if inline.keys() > found.keys() else found


def _split(
    text: str, pattern: re.Pattern[str], wanted: set[str], known: set[str]
) -> dict[str, str]:
    marks = [mark for mark in pattern.finditer(text) if _cuts(text, mark, known)]
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    found: dict[str, str] = {}
    for mark, end in zip(marks, ends, strict=False):
        name = _name(mark)
        if name in wanted:
            found.setdefault(name, text[mark.end() : end].strip())
    return found


def _cuts(text: str, mark: re.Match[str], known: set[str]) -> bool:
    if _name(mark) in known:
        return True
    if mark.re is not _MARKER or _name(mark) in _VALUES:
        return False
    rest = text[mark.end() : mark.end() + 1]
    return rest in {"", "\n", "\r"}


def _name(mark: re.Match[str]) -> str:
    return mark.group(1).lower()
