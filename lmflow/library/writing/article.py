"""Articles of sections that cite numbered passages, as Markdown or HTML that shows only text."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
import toolz

from lmflow.library.retrieval.citations import (
    Passage,
    cited_numbers,
    content_words,
    likely_source,
    renumber_citations,
    round_brackets,
    strip_citations,
    word_overlap,
)

_EXCERPT = 200
_LEAST_WORDS = 4
"""Words without which a sentence could be from any passage, so that none is credited for it."""
_MARKS = re.compile(r"([\\`*_{}\[\]<>()#+!|~@$=-])")
_SENTENCE = re.compile(r"(?<=[.!?…])(?: ?\[[0-9]+\])*(?=\s)")
_UNSHOWN = {"Cc", "Cf", "Cs"}  # categories of control characters, formats and halves of surrogates


@attrs.frozen
class Section:
    """A heading and a text that cites its passages by ``[n]``; a lead has an empty heading."""

    heading: str
    text: str
    passages: tuple[Passage, ...] = ()


@attrs.frozen
class Article:
    """Sections whose citations are numbers of ``references``, in the order of first citation."""

    title: str
    sections: tuple[Section, ...]
    references: tuple[Passage, ...]

    def markdown(self) -> str:
        """Return the article in Markdown that shows exactly its characters."""
        parts = [f"# {_escape_markdown(_title(self.title))}"]
        for section in self.sections:
            if section.heading:
                parts.append(f"## {_escape_markdown(_title(section.heading))}")
            parts += [_cited(text, _escape_markdown, str) for text in _paragraphs(section.text)]
        notes = [
            f"- [{number}] {_escape_markdown(_title(id_))}: {_escape_markdown(_excerpt(text))}"
            for number, (id_, text) in enumerate(self.references, 1)
        ]
        if notes:
            parts += ["## References", "\n".join(notes)]
        return "\n\n".join(parts) + "\n"

    def html(self) -> str:
        """Return the article as an escaped HTML fragment; citations link to their references."""
        parts = ["<article>", f"<h1>{html.escape(_title(self.title))}</h1>"]
        for section in self.sections:
            if section.heading:
                parts.append(f"<h2>{html.escape(_title(section.heading))}</h2>")
            paragraphs = _paragraphs(section.text)
            parts += [f"<p>{_cited(text, html.escape, _link)}</p>" for text in paragraphs]
        notes = "".join(
            f'<li id="ref-{number}">{html.escape(_title(id_))}: {html.escape(_excerpt(text))}</li>'
            for number, (id_, text) in enumerate(self.references, 1)
        )
        if notes:
            parts.append(f"<h2>References</h2>\n<ol>{notes}</ol>")
        return "\n".join([*parts, "</article>", ""])


def compose_article(title: str, sections: Iterable[Section]) -> Article:
    """Make the article of sections, with citations renumbered in order of first citation.

    Citations that are no passage's number and passages that aren't cited are left out.
    """
    sections = tuple(sections)
    cited = [section.passages[n - 1] for section in sections for n in _valid_numbers(section)]
    references = tuple(toolz.unique(cited, key=toolz.first))
    places = {id_: number for number, (id_, _) in enumerate(references, 1)}
    return Article(title, tuple(_renumber(section, places) for section in sections), references)


def keep_supported_citations(section: Section, least: float) -> Section:
    """Drop the citations whose passage has less than the share ``least`` of the sentence's words.

    A sentence without a citation then cites the passage that has most of its words, if it has the
    share ``citations.ENOUGH`` of them.
    """
    valid = {number: number for number in _valid_numbers(section)}
    sentences = split_sentences(renumber_citations(section.text, valid))
    texts = (_support(sentence, section.passages, least) for sentence in sentences)
    return attrs.evolve(section, text="".join(texts))


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text with the citations after each; joined they are the text."""
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    starts = [0, *ends]
    sentences = (text[start:end] for start, end in zip(starts, [*ends, len(text)], strict=True))
    return [sentence for sentence in sentences if sentence]


def _renumber(section: Section, places: Mapping[str, int]) -> Section:
    numbers = {n: places[section.passages[n - 1][0]] for n in _valid_numbers(section)}
    return Section(section.heading, renumber_citations(section.text, numbers))


def _support(sentence: str, passages: Sequence[Passage], least: float) -> str:
    """Return the sentence with its supported citations, or with one if it has none."""
    claim = strip_citations(sentence)
    texts = [text for _, text in passages]
    numbers = cited_numbers(sentence)
    supported = {n: n for n in numbers if word_overlap(claim, texts[n - 1]) >= least}
    text = renumber_citations(sentence, supported)
    if supported or len(content_words(claim)) < _LEAST_WORDS:
        return text
    place = likely_source(claim, texts)
    return text if place is None else _add_citation(text, place + 1)


def _add_citation(sentence: str, number: int) -> str:
    """Return the sentence with a citation before the marks and spaces that end it."""
    body = sentence.rstrip().rstrip(".!?…")
    return f"{body} [{number}]{sentence[len(body) :]}"


def _valid_numbers(section: Section) -> list[int]:
    numbers = cited_numbers(section.text)
    return [number for number in numbers if 0 < number <= len(section.passages)]


def _cited(text: str, show_words: Callable[[str], str], show_citation: Callable[[str], str]) -> str:
    """Return the text with its words and its citations, each made safe in its own way."""
    shown = []
    for place, part in enumerate(re.split(r"(\[[0-9]+\])", text)):
        is_citation = place % 2 == 1
        shown.append(show_citation(part) if is_citation else show_words(part))
    return "".join(shown)


def _link(citation: str) -> str:
    return f'<sup><a href="#ref-{citation[1:-1]}">{citation}</a></sup>'


def _paragraphs(text: str) -> list[str]:
    lines = map(_line, re.split(r"\n[^\S\n]*+\n", text.strip()))
    return [line for line in lines if line]


def _line(text: str) -> str:
    """Return the text on one line, without control and format characters."""
    characters = []
    for char in " ".join(text.split()):
        hidden = unicodedata.category(char) in _UNSHOWN
        characters.append("\N{REPLACEMENT CHARACTER}" if hidden else char)
    return "".join(characters)


def _title(text: str) -> str:
    """Return the text on one line that cites nothing."""
    return round_brackets(_line(text))


def _excerpt(text: str) -> str:
    line = _title(text)
    return line if len(line) <= _EXCERPT else f"{line[: _EXCERPT - 1]}…"


def _escape_markdown(text: str) -> str:
    """Return the text as Markdown that shows it.

    Marks, entities, list numbers, and the links that renderers find by themselves are escaped.
    """
    safe = _MARKS.sub(r"\\\1", text.replace("&", "&amp;"))
    safe = re.sub(r"(?i)(https?|ftp|mailto|javascript|data|xmpp):", r"\1\\:", safe)
    safe = re.sub(r"(?i)\b(www)\.", r"\1\\.", safe)
    return re.sub(r"^(\s*\d+)([.)])", r"\1\\\2", safe)
