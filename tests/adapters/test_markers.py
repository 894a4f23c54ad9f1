"""The laws of marked sections: as they were asked for, and as models write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from strategies import texts

from lmflow.adapters.markers import labelled_sections, marked_sections, text_before_markers


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
