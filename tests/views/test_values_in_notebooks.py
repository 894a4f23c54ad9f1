"""The laws of what notebooks show: every kind of value, bounded, and its text is text."""

from __future__ import annotations

import unicodedata
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from look import ANSWER, values
from markup import Markup, markdown_elements

import lmflow as lf

HARMLESS = values("harmless")
LONG: dict[str, Any] = values("long and " * 11_000)
SHOWN = sorted(set(HARMLESS) - {"call"})
FRAGMENTS = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    '" onclick="x" a="',
    "' onfocus='x",
    "</pre></td></table>",
    "<!-- ",
    "]]>",
    "&lt;b&gt;",
    "[x](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "<http://evil.example>",
    "```\n# head\n- item\n> quote\n***",
    "| a | b |\n| - | - |",
    "`code` **strong** _em_ ~~gone~~",
    "\x1b[2J\x1b]8;;http://evil.example\x07",
    "\u202egnp.exe",
    "$x$ \\(y\\)",
    "1. one",
    "    indented",
    "\ud800",
]
hostile = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=4).map("".join)
MARKDOWN = {
    "paragraph", "inline", "text", "text_special", "strong", "softbreak", "hardbreak", "fence",
    "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip


def places(page: str) -> set[tuple[str, str | None]]:
    """The attributes of a page, without those that hold numbers or a picture's title."""
    numbers = {"aria-label", "x", "y", "cx", "cy", "points", "d"}
    return {(name, value) for name, value in Markup.of(page).attributes if name not in numbers}


PAGES = [kinds[name]._repr_html_() for kinds in (HARMLESS, LONG) for name in SHOWN]
TAGS = {tag for page in PAGES for tag in Markup.of(page).tags}
ATTRIBUTES = {place for page in PAGES for place in places(page)}


@pytest.mark.parametrize("name", SHOWN)
def test_every_value_is_shown(name: str) -> None:
    """HTML and Markdown hold what the value has; its repr is one line."""
    value = HARMLESS[name]
    assert "harmless" in value._repr_html_()
    assert "harmless" in value._repr_markdown_()
    assert "\n" not in repr(value)
    assert repr(value).startswith("<")
    assert repr(value).endswith(">")


@settings(max_examples=25, deadline=None)
@given(hostile)
def test_no_tag_or_attribute_comes_from_data(text: str) -> None:
    """A page has the tags and attributes that pages of harmless values have."""
    for name, value in values(text).items():
        if name in SHOWN:
            page = value._repr_html_()
            assert set(Markup.of(page).tags) <= TAGS, name
            assert places(page) <= ATTRIBUTES, name


@settings(max_examples=25, deadline=None)
@given(hostile)
def test_no_element_of_markdown_comes_from_data(text: str) -> None:
    """No link, picture, code, heading, list, quote or HTML is made of a text."""
    for name, value in values(text).items():
        if name in SHOWN:
            assert markdown_elements(value._repr_markdown_()) <= MARKDOWN, name


@settings(max_examples=25, deadline=None)
@given(hostile)
def test_no_text_steers_a_terminal(text: str) -> None:
    """``str`` has no control or format character but line ends and tabs, and ``repr`` none."""
    for name, value in values(text).items():
        printed = str(value) if name != "call" else ""
        assert [] == _steering(printed.replace("\n", "").replace("\t", "")), name
        assert [] == _steering(repr(value)), name
        assert len(repr(value)) < 600, name


def _steering(text: str) -> list[str]:
    return [char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs"}]


@pytest.mark.parametrize("name", SHOWN)
def test_long_texts_are_bounded(name: str) -> None:
    """A page of texts of 100,000 characters stays below half a million."""
    value = LONG[name]
    assert len(value._repr_html_()) < 500_000
    assert len(value._repr_markdown_()) < 500_000


def test_a_long_run_shows_its_first_traces() -> None:
    """Of 10,000 traces a page shows twenty, and says how many more there are."""
    run = HARMLESS["run"]
    items = tuple((f"ex[{n}]", run.traces[0]) for n in range(10_000))
    page = attrs.evolve(run, items=items)._repr_html_()
    assert len(page) < 50_000
    assert "… 9,980 more traces" in page
    assert ("ex[19]" in page, "ex[20]" in page) == (True, False)


def test_reprs_say_what_it_is_and_what_it_took() -> None:
    """The kind, the name and id, then the facts."""
    run, version = HARMLESS["run"], HARMLESS["version"]
    assert [
        "<Trace harmless t1: ok, 3 calls (1 failed, 1 never ended), 7 tokens, $0.000015>",
        "<Trace harmless t2: failed by harmless, 3 calls (1 failed, 1 never ended), 7 tokens, $0.000015>",
        "<Call answer[harmless]/call[0]: ok, harmless, 0 ms>",
        f"<Version {version.id[6:18]}: 5 parameters, harmless>",
        "<Diff: 3 paths changed: answer.demos, answer.instruction, answer.options>",
        "<Diff: no difference>",
        "<Predict answer: question -> answer>",
    ] == [
        repr(value)
        for value in (
            *run.traces[:2],
            run.traces[0].calls[0],
            version,
            HARMLESS["difference"],
            lf.diff(version, version),
            ANSWER,
        )
    ]
    assert "<Run harmless r1: map, done, 3 traces, 1 failed, 9 calls (3 failed, " in repr(run)
