"""Articles composed of sections that cite numbered passages: as Markdown and HTML in which every
text is only text.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
import toolz

from lmflow.library.retrieval.passages import (
    Passage,
    bare,
    behind,
    numbers,
    overlap,
    plain,
    recited,
    words,
)

_EXCERPT = 200
_TELLING = 4
"""Words of a sentence without which it could be found in any passage."""
_MARKS = re.compile(r"([\\`*_{}\[\]<>()#+!|~@$=-])")
_SENTENCE = re.compile(r"(?<=[.!?…])(?: ?\[[0-9]+\])*(?=\s)")


@attrs.frozen
class Section:
    """A heading and its text, which cites passages of its own list by ``[n]``; the lead has no
    heading.
    """

    heading: str
    text: str
    passages: tuple[Passage, ...] = ()


@attrs.frozen
class Article:
    """Sections whose citations are numbers of ``references``, in the order in which they are first
    cited.
    """

    title: str
    sections: tuple[Section, ...]
    references: tuple[Passage, ...]

    def markdown(self) -> str:
        """The article in Markdown: whatever it was made of, it shows just those characters."""
        parts = [f"# {_marked(_title(self.title))}"]
        for section in self.sections:
            parts += [f"## {_marked(_title(section.heading))}"] if section.heading else []
            parts += [_cited(text, _marked, str) for text in _paragraphs(section.text)]
        notes = [
            f"- [{number}] {_marked(_title(id_))}: {_marked(_excerpt(text))}"
            for number, (id_, text) in enumerate(self.references, 1)
        ]
        return "\n\n".join([*parts, *(["## References", "\n".join(notes)] if notes else [])]) + "\n"

    def html(self) -> str:
        """The article as an HTML fragment, everything escaped; citations lead to their references."""
        parts = [f"<h1>{html.escape(_title(self.title))}</h1>"]
        for section in self.sections:
            parts += [f"<h2>{html.escape(_title(section.heading))}</h2>"] if section.heading else []
            parts += [
                f"<p>{_cited(text, html.escape, _linked)}</p>" for text in _paragraphs(section.text)
            ]
        notes = "".join(
            f'<li id="ref-{number}">{html.escape(_title(id_))}: {html.escape(_excerpt(text))}</li>'
            for number, (id_, text) in enumerate(self.references, 1)
        )
        end = f"<h2>References</h2>\n<ol>{notes}</ol>" if notes else ""
        return "\n".join(["<article>", *parts, *([end] if end else []), "</article>", ""])


def composed(title: str, sections: Iterable[Section]) -> Article:
    """The article of sections: citations renumbered in order, those that are no passage's dropped,
    unused passages left out.
    """
    kept = tuple(sections)
    found = [section.passages[n - 1] for section in kept for n in _valid(section)]
    references = tuple(toolz.unique(found, key=toolz.first))
    places = {id_: number for number, (id_, _) in enumerate(references, 1)}
    return Article(title, tuple(_renumbered(section, places) for section in kept), references)


def supported(section: Section, least: float) -> Section:
    """The section without the citations of a sentence whose passage has less than the share
    ``least`` of its words. A sentence that is left without any cites the passage that has most
    of its words, if it has ``ENOUGH`` of them.
    """
    known = {n: n for n in _valid(section)}
    said = sentences(recited(section.text, known))
    return attrs.evolve(
        section, text="".join(_supported(sentence, section.passages, least) for sentence in said)
    )


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with the citations that follow it; joined they are the text."""
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    return [
        text[start:end]
        for start, end in zip([0, *ends], [*ends, len(text)], strict=True)
        if start < end
    ]


def _renumbered(section: Section, places: Mapping[str, int]) -> Section:
    own = {n: places[section.passages[n - 1][0]] for n in _valid(section)}
    return Section(section.heading, recited(section.text, own))


def _supported(sentence: str, passages: Sequence[Passage], least: float) -> str:
    claim = bare(sentence)
    kept = {n: n for n in numbers(sentence) if overlap(claim, passages[n - 1][1]) >= least}
    said = recited(sentence, kept)
    if kept or len(words(claim)) < _TELLING:
        return said
    near = behind(claim, [text for _, text in passages])
    return _crediting(said, near[0] + 1) if near else said


def _crediting(sentence: str, number: int) -> str:
    """The sentence with a citation before the marks and spaces that end it."""
    body = sentence.rstrip().rstrip(".!?…")
    return f"{body} [{number}]{sentence[len(body) :]}"


def _valid(section: Section) -> list[int]:
    return [number for number in numbers(section.text) if 0 < number <= len(section.passages)]


def _cited(text: str, word: Callable[[str], str], mark: Callable[[str], str]) -> str:
    """The text with its words and its citations, each made safe in its own way."""
    parts = re.split(r"(\[[0-9]+\])", text)
    return "".join(mark(part) if at % 2 else word(part) for at, part in enumerate(parts))


def _linked(mark: str) -> str:
    return f'<sup><a href="#ref-{mark[1:-1]}">{mark}</a></sup>'


def _paragraphs(text: str) -> list[str]:
    return [line for part in re.split(r"\n[^\S\n]*+\n", text.strip()) if (line := _line(part))]


def _line(text: str) -> str:
    """The text on one line, without control and format characters."""
    line = " ".join(text.split())
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in {"Cc", "Cf", "Cs"} else c
        for c in line
    )


def _title(text: str) -> str:
    """The text on one line, which cites nothing."""
    return plain(_line(text))


def _excerpt(text: str) -> str:
    line = _title(text)
    return line if len(line) <= _EXCERPT else f"{line[: _EXCERPT - 1]}…"


def _marked(text: str) -> str:
    """The text as Markdown that shows it: marks, entities, links that renderers find by themselves,
    and what begins a list are escaped.
    """
    safe = _MARKS.sub(r"\\\1", text.replace("&", "&amp;"))
    safe = re.sub(r"(?i)(https?|ftp|mailto|javascript|data|xmpp):", r"\1\\:", safe)
    safe = re.sub(r"(?i)\b(www)\.", r"\1\\.", safe)
    return re.sub(r"^(\s*\d+)([.)])", r"\1\\\2", safe)
