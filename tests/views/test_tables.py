"""The laws of tables: text from outside stays text."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markup import Markup

from lmflow.evaluation.charts import histogram
from lmflow.traces.run_rows import RunList
from lmflow.values.printing import printable
from lmflow.views.columns import Column, column_table
from lmflow.views.tables import (
    columns_of,
    html_table,
    html_text,
    markdown_table,
    markdown_text,
)

HOSTILE = [
    "<script>alert(1)</script>",
    "a | b",
    "**x**",
    "[x](javascript:1)",
    "`x`",
    "\x1b[2J",
    "\u202eevil",
    "<!--",
    "$x$",
    "![x](http://evil.example/x.png)",
    "www.evil.example",
    "a@evil.example",
    "</pre></td>",
    "~~~",
]


@given(st.text(), st.integers(1, 40))
def test_printable_is_one_plain_line(text: str, width: int) -> None:
    """No control or format character, no line end, never longer than the width."""
    line = printable(text, width)
    assert len(line) <= width
    assert [] == [
        char for char in line if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), ("a\n b", "a b"), (1.5, "1.5"), (("a", 1), '["a", 1]'), ("", "")],
)
def test_values_as_text(value: Any, text: str) -> None:
    """Texts stay, nothing is empty, all else is JSON."""
    assert text == printable(value)


def test_long_values_are_cut() -> None:
    """A cut is shown."""
    assert "abcd…" == printable("abcdefgh", 5)


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_an_html_table_has_its_tags_alone(values: list[str]) -> None:
    """Whatever a cell holds, the page has the tags of the table, and the text of the cell."""
    page = Markup.of(html_table([{"a": value, "b": 1} for value in values], ["a", "b"], "words"))
    row = ["tr", "th", "td"]
    assert ["table", "caption", "thead", "tr", "th", "th", "tbody", *row * len(values)] == page.tags
    cells = [text for value in values for text in (printable(value), "1")]
    assert "".join(["words", "a", "b", *cells]) == "".join(page.texts)


def test_an_html_table_is_accessible() -> None:
    """Columns and rows have headers with a scope, and the table has a caption."""
    table = html_table([{"a": 1, "b": 2}], ["a", "b"], "words")
    assert (2, 1) == (table.count('scope="col"'), table.count('scope="row"'))
    assert "<caption" in table


@pytest.mark.parametrize("text", HOSTILE)
def test_html_is_escaped(text: str) -> None:
    """No mark of HTML survives."""
    assert not re.search(r"[<>\"']", html_text(text))
    assert printable(text) == html.unescape(html_text(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_is_escaped(text: str) -> None:
    """Each mark of Markdown stands behind a backslash, HTML is escaped, so a cell is a cell."""
    found = markdown_text(text)
    assert not re.search(r"(?<!\\)[|*`\[\]$@:]|<|>", found)
    assert 3 == len(markdown_table([{"a": text}], ["a"]).splitlines())


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("0.667", "0.667"),
        ("1. first", "1\\. first"),
        ("www.evil.example", "www\\.evil\\.example"),
        ("https://evil.example", "https\\://evil\\.example"),
        (r"\(x\)", r"&#92;\(x&#92;\)"),
        ("#1", r"\#1"),
        ("&#60;", r"&amp;\#60;"),
    ],
)
def test_markdown_makes_no_link_list_or_formula(text: str, written: str) -> None:
    """Numbers stay as they are; what editors make links, lists and formulas of does not."""
    assert written == markdown_text(text)


def test_a_markdown_table() -> None:
    """A head, a rule, and a line a row; what a row lacks is empty."""
    assert "| a | b |\n| --- | --- |\n| 1 |  |\n| x | y |" == markdown_table(
        [{"a": 1}, {"a": "x", "b": "y"}], ["a", "b"]
    )


def test_columns_are_those_of_some_row() -> None:
    """Columns stand in the order in which they are met; those that are empty everywhere are left
    out.
    """
    rows: list[dict[str, Any]] = [{"a": 1, "b": None, "c": ""}, {"d": (), "a": 0, "e": False}]
    assert ["a", "d", "e"] == columns_of(rows)


def test_zeros_and_ones_have_two_bars() -> None:
    """0/1 scores are a bar for each."""
    assert "0  █ 1\n1  ██ 2" == histogram([1, 0, 1], width=2)


def test_scores_have_bars_from_0_to_1() -> None:
    """Each bin holds its lower end, the last both; an empty bin has no bar."""
    assert "0.00 to 0.50  ██ 1\n0.50 to 1.00  ████ 2" == histogram([0.2, 0.5, 1.0], bins=2, width=4)
    assert "0.25 to 0.50  0" in histogram([0.1, 0.9], bins=4)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.integers(3, 12))
def test_every_score_is_in_a_bar(values: list[float], bins: int) -> None:
    """The counts add up, also for scores outside 0 and 1."""
    lines = histogram(values, bins).splitlines()
    assert len(values) == sum(int(line.split()[-1]) for line in lines)


def test_no_scores_have_no_bars() -> None:
    """Nothing is said to be nothing."""
    assert "no scores" == histogram([])


def test_columns_that_need_less_give_more() -> None:
    """A column is shortened to its own least width before another is left out."""
    rows = [{"id": "12345678", "name": "a" * 30, "cost": "$0.01"}]
    columns = [Column("id", whole=True), Column("name", enough=10), Column("cost", rank=1)]
    assert "12345678  aaaaaaaaa…  $0.01" == column_table(rows, columns, width=27).split("\n")[1]
    assert "not shown: cost" in column_table(rows, columns, width=26)


def test_a_list_of_runs_shows_cost_and_score_in_80_columns() -> None:
    """Names of metrics and programs are shortened for them, and counts left out."""
    row = {
        "id": "01m8raaeq221xjz5vp", "started": "2026-12-01 08:07:44", "kind": "evaluate", "name": "rewrite >> answer",
        "status": "stopped", "traces": 120, "calls": 240, "failed": 3, "orphans": 1, "tok_in": 12_345, "tok_out": 1_234,
        "seconds": 12.3, "usd": 0.0123, "unpriced": 0, "scores": {"exact": 0.5, "brief": 1.0},
    }  # fmt: skip
    head = RunList("", [row]).text(80).split("\n")[0]
    assert ["id", "started", "kind", "name", "status", "calls", "cost", "score"] == head.split()
