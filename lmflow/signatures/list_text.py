"""Lists that models write as lines: bullets or numbers, with remarks before and after them."""

from __future__ import annotations

import re

_LINE_END = re.compile(r"\r\n|\r|\n")
"""The ends of lines that models write: others, such as U+0085, may be part of an item."""

BULLET = re.compile(
    r"^\s*(?:(?:[-*+•◦‣▪–]|[\[(]?\d+[.)\]])\s+|[・①-⑳☐☑☒]\s*|\d+[、．]\s*|\*\*\d+[.)]\*\*\s+)"
)
_FENCE = re.compile(r"^\s*(?:```|~~~)[\w-]*\s*$")
_ANNOUNCEMENT = re.compile(
    r"\s*(?:sure|certainly|of course|okay|ok|alright|great|absolutely|here|the|these|those|this|"
    r"below|following|i|my|your|based|answer|list|output|results?)\b.*:\s*\Z",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[A-Z]\w*\s.*[.!?]\Z")
_EMPTY = frozenset({"none", "n/a", "null", "nothing", "(none)", "[none]", "[]"})


def without_remarks(text: str) -> str:
    """Remove the lines that announce a list, and remarks behind it, from the text of the list.

    Remarks are told by their form: an announcement ends in a colon; if items have bullets, a blank
    line parts the remark from them.
    """
    lines = [line.rstrip() for line in _LINE_END.split(text.strip()) if not _FENCE.match(line)]
    first = next((i for i, line in enumerate(lines) if BULLET.match(line)), None)
    start = _end_of_announcement(lines) if first is None else _end_of_preamble(lines, first)
    stop = len(lines) if first is None else _start_of_postscript(lines)
    return "\n".join(lines[start:stop]).strip()


def is_empty_list(text: str) -> bool:
    """Tell whether a text says that a list is empty, such as ``None``."""
    bare = re.sub(r"^[-*•]\s+", "", text.strip()).strip("\"'`*. ")
    return bare.lower() in _EMPTY


def item_lines(text: str) -> list[str]:
    """Split the text of a list into its items' lines; an indented line goes on with its item."""
    items: list[list[str]] = []
    lines = _LINE_END.split(text)
    bulleted = any(BULLET.match(line) for line in lines)
    for line in lines:
        if not line.strip():
            continue
        if bulleted and items and line[:1].isspace() and not BULLET.match(line):
            items[-1].append(line.strip())
        else:
            items.append([line])
    return [" ".join(parts) for parts in items]


def _end_of_announcement(lines: list[str]) -> int:
    """The index of the first item of a list without bullets."""
    rest = next((i for i, line in enumerate(lines[1:], 1) if line.strip()), None)
    announcement = lines[0].strip("*_ ") if lines else ""
    if rest is None or not announcement.endswith(":"):
        return 0
    return rest if rest > 1 or _ANNOUNCEMENT.match(announcement) else 0


def _end_of_preamble(lines: list[str], first: int) -> int:
    """The index of the first item of a list whose first bullet is at ``first``."""
    before = [line.strip("*_ ") for line in lines[:first] if line.strip()]
    bullets = sum(1 for line in lines if BULLET.match(line))
    if not before or bullets > 1 or not lines[first - 1].strip():
        return first
    return first if before[-1].endswith(":") else 0


def _start_of_postscript(lines: list[str]) -> int:
    """The index behind the last item of a list with bullets: a blank line parts it from remarks."""
    last = max(i for i, line in enumerate(lines) if BULLET.match(line))
    for i in range(last + 1, len(lines)):
        if not lines[i].strip() or _SENTENCE.match(lines[i]):
            return i
    return len(lines)
