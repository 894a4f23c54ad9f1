"""The laws of articles: every citation is a passage's, whatever the model wrote, and every text is
only text.
"""

from __future__ import annotations

import html
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from passages import PASSAGES, SEARCH, told

import lmflow as lf
from lmflow.library.retrieval.citations import (
    cited_numbers,
    renumber_citations,
    strip_citations,
    word_overlap,
)
from lmflow.library.writing.article import (
    Article,
    Section,
    compose_article,
    keep_supported_citations,
    split_sentences,
)
from lmflow.messages.requests import ChatRequest

P = tuple((f"p{n}#0", f"passage {n} about the tower and the river") for n in range(1, 5))
PIECES = st.sampled_from(
    ["[1]", "[2]", "[99]", "[[1]]", "[[99]1]", "[1", "2]", "[", "]", "[1, 3]", "[ 2 ; 4 ]", "[0]", "[-1]", "[\uff11]",
     "[1](http://e)", "[123456789012345678901234567890]", "[" + "9" * 5000 + "]", "![x](javascript:1)", "<script>",
     "</p>",
     "&#91;1&#93;", "\\[3\\]", "[4]: http://e", "\n\n", "# head", "* [1]\n", "`[2]`", "|", "www.e.com", "\u202e",
     "\x00", "text. ", "the tower and the river "]
)  # fmt: skip
HOSTILE = st.lists(PIECES, max_size=12).map("".join)


def shown(markdown: str) -> str:
    """What a reader of the Markdown sees: escapes undone."""
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown))


def cites(text: str) -> set[int]:
    """All numbers in square brackets."""
    return {int(number) for number in re.findall(r"\[\s*(\d+)\s*\]", text)}


def checked(article: Article) -> None:
    """Each ``[n]`` that is seen is the n-th reference, each reference is cited and a passage, and
    the HTML is XML.
    """
    every = set(range(1, len(article.references) + 1))
    body, _, notes = article.markdown().partition("## References")
    assert cites(shown(body)) == every == cites(shown(notes))
    assert set(article.references) <= set(P)
    tree = ET.fromstring(article.html())  # noqa: S314 - what is tested is that it was made safe
    assert {"article", "h1", "h2", "p", "sup", "a", "ol", "li"} >= {
        node.tag for node in tree.iter()
    }
    assert {f"#ref-{n}" for n in every} == {node.attrib["href"] for node in tree.iter("a")}
    assert {f"ref-{n}" for n in every} == {node.attrib["id"] for node in tree.iter("li")}
    assert cites("".join(node.text or "" for node in tree.iter("a"))) == every
    assert every >= cites("".join(tree.itertext()))


@given(title=HOSTILE, lead=HOSTILE, parts=st.lists(st.tuples(HOSTILE, HOSTILE), max_size=3))
def test_every_citation_resolves(title: str, lead: str, parts: list[tuple[str, str]]) -> None:
    """Whatever title, headings and texts are, each citation of the article is a passage that its
    section was given.
    """
    sections = [Section("", lead), *(Section(heading, text, P) for heading, text in parts)]
    checked(compose_article(title, sections))
    checked(
        compose_article(title, [keep_supported_citations(section, 0.3) for section in sections])
    )


@given(passage=HOSTILE)
def test_passages_are_only_text_too(passage: str) -> None:
    """What was retrieved is as hostile as what a model wrote."""
    article = compose_article("t", [Section("h", "said [1]", ((passage, passage),))])
    assert {1} == cites(shown(article.markdown()))
    ET.fromstring(article.html())  # noqa: S314 - what is tested is that it was made safe


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Here [2] and [1].", "Here [1] and [2]."),
        ("Both [1, 2] at once.", "Both [1][2] at once."),
        ("Made up [99].", "Made up."),
        ("Twice [1][1] [1].", "Twice [1][1] [1]."),
        ("Nested [[1]] so.", "Nested ( [1]) so."),
        ("No [sic] mark.", "No (sic) mark."),
    ],
)
def test_citations_are_renumbered(text: str, expected: str) -> None:
    """Numbers follow the order of first mention; those without a passage go with the blank before
    them.
    """
    body = compose_article("t", [Section("h", text, P)]).sections[0].text
    assert expected == body


@given(text=HOSTILE)
def test_reciting_leaves_no_other_brackets(text: str) -> None:
    """Every square bracket of the result belongs to a citation that has a place, and doing it again
    changes nothing.
    """
    once = renumber_citations(text, {1: 1, 2: 2})
    assert {1, 2} >= cites(once)
    assert "[" not in re.sub(r"\[[12]\]", "", once)
    assert once == renumber_citations(once, {1: 1, 2: 2})


@given(text=HOSTILE)
def test_bare_text_cites_nothing(text: str) -> None:
    """Without its citations a plain text has none; brackets that come together then are no concern
    of models.
    """
    assert () == cited_numbers(strip_citations(renumber_citations(text, {1: 1})))


@given(text=HOSTILE)
def test_sentences_are_the_text(text: str) -> None:
    """Joined they are the text again."""
    assert text == "".join(split_sentences(text))


def test_unsupported_citations_go() -> None:
    """A citation of a passage that has too few words of the sentence is dropped, the sentence
    stays.
    """
    section = Section(
        "h", "The tower stands by the river [1]. Bananas are yellow fruit [2]. Also [3].", P
    )
    assert (
        "The tower stands by the river [1]. Bananas are yellow fruit. Also."
        == keep_supported_citations(section, 0.3).text
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("This is passage 2 about the tower.", "This is passage 2 about the tower [2]."),
        (
            "Passage 3 tells about the river!\n\nIt rains.",
            "Passage 3 tells about the river [3]!\n\nIt rains.",
        ),
        ("The river.", "The river."),
        (
            "Bananas are a yellow fruit of the tropics.",
            "Bananas are a yellow fruit of the tropics.",
        ),
    ],
)
def test_a_sentence_without_citation_cites_the_passage_that_has_its_words(
    text: str, expected: str
) -> None:
    """The one with most of them and at least half; a sentence with few words could be from
    anywhere.
    """
    assert expected == keep_supported_citations(Section("h", text, P), 0.3).text


def test_overlap_is_a_share() -> None:
    """Of the words that say something; a claim without any has none."""
    assert (1.0, 0.5, 0.0) == (
        word_overlap("the tower", "A tower."),
        word_overlap("tower bridge", "a tower"),
        word_overlap("", "x"),
    )


def hostile(request: ChatRequest) -> str:
    """A model that makes up numbers, markup and headings."""
    system = request.messages[0].content
    if "Write this section" in system:
        return "Paris is the capital of France [1][99][[2]]. <script>alert(1)</script> [x](http://e) [1, 42]\n\n# [7] [0]"
    if "outline" in system:
        return "# History [3]\n<b>Tower</b>\nHistory\n[99]"
    return "Paris [12] <img src=x onerror=alert(1)> is [1] nice."


async def test_a_report_s_citations_are_retrieved_passages() -> None:
    """On a hostile model: the n-th citation is a retrieved passage, and nothing of it is markup."""
    outputs: Any = await told(lf.report(SEARCH), {"topic": "Paris [1] <i>"}, hostile)
    body = shown(outputs.markdown).partition("## References")[0]
    assert set(outputs.citations) <= set(outputs.sources) <= set(PASSAGES)
    assert cites(body) == set(range(1, len(outputs.citations) + 1)) != set()
    assert "<script" not in outputs.html
    assert "<img" not in outputs.html
    assert ("History", "<b>Tower</b>") == outputs.outline
