"""Sections of a model's reply, under ``[[name]]`` markers or after ``name:`` labels."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MARKER = re.compile(
    r"^[ \t]*[#*]*[ \t]*\[\[[ \t#]*([^\W\d]\w*)[ \t#]*\]\][*]*[ \t]*:?[ \t]*", re.MULTILINE
)
_INLINE = re.compile(r"\[\[[ \t#]*([^\W\d]\w*)[ \t#]*\]\][ \t]*:?[ \t]*")
_VALUES = frozenset({"null", "true", "false"})
"""Words that make ``[[null]]`` a list of lists instead of a marker."""
_LABEL = re.compile(r"^[ \t]*[#*]*[ \t]*(\w+)[ \t]*[*]*[ \t]*:[*]*[ \t]*", re.MULTILINE)


def marked_sections(text: str, names: Iterable[str], others: Iterable[str] = ()) -> dict[str, str]:
    """Find the text under each marker with one of the names; of two such markers the first counts.

    Markers stand at the beginning of a line; if one of the names isn't found so, they may stand
    within a line. A section ends at the next marker of a field (``others`` are fields too), or of
    anything that stands alone on its line.
    """
    if "[[" not in text:
        return {}
    wanted, fields = set(names), {*names, *others}
    sections = _split(text, _MARKER, wanted, fields)
    if wanted <= sections.keys():
        return sections
    inline = _split(text, _INLINE, wanted, fields)
    return inline if inline.keys() > sections.keys() else sections


def labelled_sections(text: str, names: Iterable[str]) -> dict[str, str]:
    """Find the text after each ``name:`` at the beginning of a line, whatever the name's case."""
    wanted = set(names)
    return _split(text, _LABEL, wanted, wanted)


def text_before_markers(text: str, others: Iterable[str]) -> str:
    """The text before the first marker of a field, or of anything that stands alone on its line."""
    if "[[" not in text:
        return text.strip()
    fields = set(others)
    marks = (mark for mark in _MARKER.finditer(text) if _ends_section(text, mark, fields))
    return next((text[: mark.start()] for mark in marks), text).strip()


def _split(
    text: str, pattern: re.Pattern[str], wanted: set[str], fields: set[str]
) -> dict[str, str]:
    marks = [mark for mark in pattern.finditer(text) if _ends_section(text, mark, fields)]
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    sections: dict[str, str] = {}
    for mark, end in zip(marks, ends, strict=False):
        name = _name(mark)
        if name in wanted:
            sections.setdefault(name, text[mark.end() : end].strip())
    return sections


def _ends_section(text: str, mark: re.Match[str], fields: set[str]) -> bool:
    if _name(mark) in fields:
        return True
    if mark.re is not _MARKER or _name(mark) in _VALUES:
        return False
    rest = text[mark.end() : mark.end() + 1]
    return rest in {"", "\n", "\r"}


def _name(mark: re.Match[str]) -> str:
    return mark.group(1).lower()
