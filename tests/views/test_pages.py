"""The laws of pages: bounded, and their text is text, whatever a value holds."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from markup import Markup, markdown_elements

from lmflow.values.printing import clean
from lmflow.views.page import LINES_SHOWN, ROWS_SHOWN, Page, Table, Text

LINKS_AND_HTML = {
    "link",
    "image",
    "html_inline",
    "html_block",
    "em",
    "code_inline",
    "heading",
    "hr",
}


@given(st.text())
def test_a_preformatted_text_keeps_its_characters(text: str) -> None:
    """HTML shows every character of a text, and no tag but its own."""
    page = Markup.of(Text(text, most=None).html())
    assert (["pre"], clean(text)) == (page.tags, "".join(page.texts).replace("\r", "\n"))


@given(st.text(st.sampled_from("`~\n a<>")))
def test_no_text_closes_its_fence(text: str) -> None:
    """A fenced block holds the text whole, whatever fences the text has itself."""
    assert {"fence"} == markdown_elements(Text(text, most=None).markdown())


def test_a_long_text_shows_its_first_lines() -> None:
    """A page shows as many lines as it may, and says how many more there are."""
    text = Text("\n".join(map(str, range(LINES_SHOWN + 5))))
    assert text.html().endswith(f"\n{LINES_SHOWN - 1}\n… 5 more lines</pre>")
    assert text.markdown().endswith("… 5 more lines\n```")


def test_a_long_table_shows_its_first_rows() -> None:
    """Rows that are not at hand count too."""
    table = Table([{"n": n} for n in range(ROWS_SHOWN)], total=10_000, noun="trace")
    assert 1 + ROWS_SHOWN == table.html().count("<tr>")
    assert "… 9,980 more traces" in table.html()
    assert table.markdown().endswith("… 9,980 more traces")


def test_a_table_without_rows_is_nothing() -> None:
    """No head stands over nothing."""
    assert ("", "") == (Table([]).html(), Table([]).markdown())


@given(st.lists(st.text(), min_size=1, max_size=3), st.text(), st.text())
def test_lines_of_a_page_are_text(lines: list[str], cell: str, caption: str) -> None:
    """Lines, cells and captions make no element of Markdown, and no tag of HTML."""
    page = Page((*lines,), (Table([{"a": cell, "b": 1}], caption),))
    allowed = {"div", "p", "strong", "br", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert set(Markup.of(page.html()).tags) <= allowed
    assert set() == markdown_elements(page.markdown()) & LINKS_AND_HTML


def test_a_page_has_no_script_and_no_colour_of_its_own() -> None:
    """Text has the colour of the page around it, dark or light; nothing is fetched."""
    html = Page(("head",), (Table([{"a": 1}], "words"), Text("text"))).html()
    assert not re.search(r"<(script|style|link|img)|[^-]color:|href|src|url\(", html)


def test_notebooks_leave_prices_alone() -> None:
    """The text between two dollar signs would be set as a formula."""
    assert 'class="tex2jax_ignore mathjax_ignore"' in Page(("$1 to $2",)).html()
