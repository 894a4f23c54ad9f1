"""The six tutorials on the page for those who come from DSPy take no more lines than there."""

from __future__ import annotations

import ast
import re

import pytest
from paths import DOCS

PAGE = (DOCS / "from-dspy.md").read_text("utf-8")
SECTION = PAGE[PAGE.index("## Six tutorials") : PAGE.index("## Names")]
TUTORIALS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", SECTION, re.MULTILINE | re.DOTALL))
COUNTED = {
    title: (int(theirs), int(ours))
    for title, theirs, ours in re.findall(
        r"^\| \[?(.+?)\]?(?:\(#.*?\))? \| (\d+) \| (\d+) \|$", SECTION, re.MULTILINE
    )
}


def lines(tutorial: str, language: str) -> int:
    """The lines of a tutorial's code, without blank ones and comments."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", tutorial, re.MULTILINE | re.DOTALL)
    ast.parse(code)
    return len([line for line in code.splitlines() if line.strip() and line.strip()[0] != "#"])


def test_there_are_six() -> None:
    """Each has its row in the table, and the last row is their sum."""
    assert 6 == len(TUTORIALS)
    assert [*TUTORIALS, "all"] == list(COUNTED)
    sums = tuple(sum(COUNTED[title][side] for title in TUTORIALS) for side in (0, 1))
    assert sums == COUNTED["all"]


@pytest.mark.parametrize("title", TUTORIALS)
def test_a_tutorial_takes_no_more_lines(title: str) -> None:
    """The table says how many lines each side has, and ours are at most DSPy's."""
    theirs, ours = (lines(TUTORIALS[title], language) for language in ("py", "python"))
    assert (theirs, ours) == COUNTED[title]
    assert ours <= theirs


@pytest.mark.parametrize("title", TUTORIALS)
def test_both_sides_evaluate_and_tune(title: str) -> None:
    """No side saves lines by leaving a part out."""
    assert 2 == TUTORIALS[title].count("print(evaluate(")
    assert "ex.evaluate(" in TUTORIALS[title]
    assert "ex.optimize(" in TUTORIALS[title]
