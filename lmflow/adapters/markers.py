"""Sections of a model's reply, under ``[[name]]`` markers or after ``name:`` labels.

Only the names of a step's own fields make a marker: any other ``[[name]]`` is text (TOML, wiki
links), and so is each marker in a code fence.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable, Iterator

from lmflow.adapters.fences import fenced_spans, is_within, unfenced

_MARKER = re.compile(
    r"^([ \t]*+)[#*]*+[ \t]*+\[\[[ \t#]*+([^\W\d]\w*+)[ \t#]*+\]\][*]*+[ \t]*+:?+[ \t]*+",
    re.MULTILINE,
)
"""Its repetitions are possessive: without them a line of spaces is read quadratically often."""

_INLINE = re.compile(r"()\[\[[ \t#]*+([^\W\d]\w*+)[ \t#]*+\]\][ \t]*+:?+[ \t]*+")
_LABEL = re.compile(r"^([ \t]*+)[#*]*+[ \t]*+(\w++)[ \t]*+[*]*+[ \t]*+:[*]*+[ \t]*+", re.MULTILINE)
_TERMINATOR = re.compile(r"\n[ \t]*\[\[[ \t#]*(?:completed|end)[ \t#]*\]\]\s*\Z", re.IGNORECASE)
"""What ends a reply of marked sections: ``[[ ## completed ## ]]``, as DSPy asks for it."""


def marked_sections(text: str, names: Iterable[str], others: Iterable[str] = ()) -> dict[str, str]:
    """Find the text under each marker with one of the names; of two such markers the first counts.

    Markers stand at the beginning of a line; if one of the names isn't found so, they may stand
    within a line. A section ends at the next marker of a name or of ``others``, the names of the
    step's inputs.
    """
    if "[[" not in text:
        return {}
    wanted, fields = set(names), {*names, *others}
    text = unfenced(text)
    sections = _split(text, _MARKER, wanted, fields)
    if not wanted <= sections.keys():
        inline = _split(text, _INLINE, wanted, fields)
        sections = inline if inline.keys() > sections.keys() else sections
    return sections


def only_section(text: str, name: str) -> str:
    """The text of the only output: what stands under its own marker, else the whole reply.

    Nothing else in the reply is a marker, since the model wasn't asked for any.
    """
    if "[[" not in text:
        return trim(text)
    return _split(text, _MARKER, {name}, {name}).get(name, trim(text))


def labelled_sections(text: str, names: Iterable[str]) -> dict[str, str]:
    """Find the text after each ``name:`` at the beginning of a line, whatever the name's case."""
    wanted = set(names)
    return _split(text, _LABEL, wanted, wanted)


def text_before_markers(text: str, others: Iterable[str]) -> str:
    """The text before the first marker of one of the names."""
    if "[[" not in text:
        return trim(text)
    marks = _marks(text, _MARKER, set(others))
    return trim(next((text[: mark.start()] for mark in marks), text))


def is_terminator(name: str) -> bool:
    """Tell whether a marker of that name at the end of a reply ends it."""
    return name.lower() in {"completed", "end"}


def trim(text: str) -> str:
    """Remove blank lines and space around a text, but not the indentation of its first line."""
    text = text.rstrip()
    if not text[:1].isspace():
        return text
    body = text.lstrip()
    return indentation(text[: len(text) - len(body)]) + body


def indentation(lead: str) -> str:
    """The indentation in the space before a text: none if it is one space, as models begin with."""
    last_line = lead[lead.rfind("\n") + 1 :]
    is_indentation = last_line != " " and not last_line.strip(" \t")
    return last_line if is_indentation else ""


def _split(
    text: str, pattern: re.Pattern[str], wanted: Collection[str], fields: Collection[str]
) -> dict[str, str]:
    marks = list(_marks(text, pattern, fields))
    if marks and text.rstrip().endswith("]]"):
        text = _TERMINATOR.sub("", text)
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    sections: dict[str, str] = {}
    for mark, end in zip(marks, ends, strict=False):
        name = _name(mark)
        if name in wanted:
            sections.setdefault(name, _section(mark, text[mark.end() : end]))
    return sections


def _section(mark: re.Match[str], text: str) -> str:
    """The text of a section; if its marker is indented, so is the section."""
    return trim(textwrap.dedent(text)).lstrip() if mark[1] else trim(text)


def _marks(text: str, pattern: re.Pattern[str], fields: Collection[str]) -> Iterator[re.Match[str]]:
    fences = fenced_spans(text)
    for mark in pattern.finditer(text):
        if _name(mark) in fields and not (fences and is_within(mark.start(), fences)):
            yield mark


def _name(mark: re.Match[str]) -> str:
    return mark[2].lower()
