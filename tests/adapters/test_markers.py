"""The laws of marked sections: as they were asked for, and as models write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from strategies import texts

from lmflow.adapters.markers import (
    labelled_sections,
    marked_sections,
    only_section,
    text_before_markers,
    trim,
)


@pytest.mark.parametrize(
    "text",
    [
        "[[a]]\n1\n[[b]]\n2",
        "[[ ## a ## ]]\n1\n\n[[ ## b ## ]]\n2\n\n[[ ## completed ## ]]",
        "[[##a##]]\n1\n[[##b##]]\n2",
        "[[a]] 1\n[[b]] 2",
        "[[a]]: 1\n[[b]]: 2",
        "  [[a]]\n  1\n\t[[b]]\n  2",
        "**[[a]]**\n1\n### [[b]]\n2",
        "[[A]]\n1\n[[B]]\n2",
        "[[b]]\n2\n[[a]]\n1",
        "Sure:\n[[a]]\n1\n[[b]]\n2\n[[a]]\n9",
        "[[a]]\n1\n[[question]]\nx\n[[b]]\n2\n[[end]]",
        "[[a]] 1 [[b]] 2",
        "[[a]]1[[b]]2",
        "[[a]]\n1\n[[b]]\n2\n[[question]] more",
        "\r\n[[a]]\r\n1\r\n[[b]]\r\n2\r\n",
    ],
)
def test_sections_are_found_as_models_write_them(text: str) -> None:
    """Spaces, hashes, case, order, indentation, missing line ends and sections that nobody asked
    for don't matter.
    """
    assert {"a": "1", "b": "2"} == marked_sections(text, ["a", "b"], ["question"])


def test_a_fence_may_begin_in_an_item() -> None:
    """A marker in a code fence of a list's item is code."""
    item = "- ```\n  [[b]]\n  ```"
    assert {"a": item, "b": "2"} == marked_sections(f"[[a]]\n{item}\n[[b]]\n2", ["a", "b"])


def test_the_first_of_two_sections_counts() -> None:
    """A reply that repeats itself is read once."""
    assert {"a": "1"} == marked_sections("[[a]]\n1\n[[a]]\n2", ["a"])


def test_brackets_within_a_text_stay() -> None:
    """Brackets that name no field, with words after them, are text."""
    assert {"a": "see [[link]]\n[[1]] Smith"} == marked_sections(
        "[[a]]\nsee [[link]]\n[[1]] Smith", ["a"]
    )


def test_a_number_in_brackets_is_no_marker() -> None:
    """No field is called so: a list of lists that stands alone on its line is the text of its
    section.
    """
    assert {"a": "[[0]]", "b": "x"} == marked_sections("[[a]]\n[[0]]\n[[b]]\nx", ["a", "b"])


def test_an_empty_section_is_empty() -> None:
    """A section without text is found, and empty."""
    assert {"a": "", "b": "x"} == marked_sections("[[a]]\n[[b]]\nx", ["a", "b"])


def test_labels_stand_at_the_beginning_of_a_line() -> None:
    """A name with a colon opens a section, whatever its case."""
    assert {"a": "1: b: 3", "b": "2"} == labelled_sections("**A**: 1: b: 3\nb: 2", ["a", "b"])


def test_what_stands_before_a_marker() -> None:
    """The reply without the sections of other fields that follow it."""
    assert "42 [[x]] y" == text_before_markers(" 42 [[x]] y\n[[question]] more", ["question"])


@given(texts)
def test_any_text_has_sections_or_none(text: str) -> None:
    """Only names that were asked for are found."""
    assert {"a", "b"} >= marked_sections(text, ["a", "b"]).keys() | labelled_sections(
        text, ["a", "b"]
    ).keys()


TOML = '[[package]]\nname = "a"\n\n[[package]]\nname = "b"'


@pytest.mark.parametrize("text", [TOML, "See\n[[Paris]]\nand Rome.", "[[bin]]", "x\n[[q]]\ny"])
def test_other_names_are_text(text: str) -> None:
    """Only a step's own names make markers, and none of them a bare text's."""
    assert text == only_section(text, "a")
    assert {"a": TOML, "b": "ok"} == marked_sections(f"[[a]]\n{TOML}\n[[b]]\nok", ["a", "b"])


def test_markers_in_a_fence_are_code() -> None:
    """A marker in a code fence neither opens a section nor ends one."""
    fence = "```\n[[a]]\nno\n[[b]]\nno\n```"
    assert {"a": fence, "b": "2"} == marked_sections(f"[[a]]\n{fence}\n[[b]]\n2", ["a", "b"])
    text = f"The form:\n{fence}\n[[a]]\n1\n[[b]]\n2"
    assert {"a": "1", "b": "2"} == marked_sections(text, ["a", "b"])
    assert {"a": f"1\n{fence}"} == marked_sections(f"[[a]]\n1\n{fence}", ["a", "b"])
    assert fence == only_section(fence, "a")


def test_a_reply_in_a_fence_is_read() -> None:
    """A fence around all of a reply hides nothing; one that isn't closed neither."""
    assert {"a": "1", "b": "2"} == marked_sections("```text\n[[a]]\n1\n[[b]]\n2\n```", ["a", "b"])
    assert {"a": "```py\n1", "b": "2"} == marked_sections("[[a]]\n```py\n1\n[[b]]\n2", ["a", "b"])


@pytest.mark.parametrize(
    ("text", "trimmed"),
    [
        ("    x = 1\n    y = 2\n", "    x = 1\n    y = 2"),
        ("\n\n\tx\n  y\n\n", "\tx\n  y"),
        (" Paris", "Paris"),
        ("\r\n    x", "    x"),
        ("  \n ", ""),
    ],
)
def test_the_first_line_keeps_its_indentation(text: str, trimmed: str) -> None:
    """Blank lines go, spaces before code stay; one space is how models begin."""
    assert trimmed == trim(text)
    assert trimmed == only_section(f"[[a]]\n{text}", "a")
