"""The laws of lists in lines: remarks around a list are no items."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.signatures.parsing import read


@pytest.mark.parametrize(
    "text",
    [
        "a b\nc",
        "- a b\n- c",
        "1. a b\n2. c",
        "[1] a b\n[2] c",
        "Here are two queries:\n\n1. a b\n2. c",
        "Sure! Here is the list:\n- a b\n- c",
        "Here are two queries\n1. a b\n2. c",
        "**Queries:**\n* a b\n* c",
        "Sure!\n\n- a b\n- c",
        "Here you go:\na b\nc",
        "The queries are:\n\na b\nc",
        "- a b\n- c\n\nLet me know if you need more.",
        "1. a b\n2. c\nI hope this helps!",
        "- a\n  b\n- c",
        "(1) a b\n(2) c",
        "+ a b\n+ c",
        "\u25e6 a b\n\u25e6 c",
        "\u30fba b\n\u30fbc",
        "\u2460 a b\n\u2461 c",
        "1\u3001a b\n2\u3001c",
        "**1.** a b\n**2.** c",
        "a) a b\nb) c",
        "(a) a b\n(b) c",
        "A. a b\nB. c",
        "**A.** a b\n**B.** c",
        "i. a b\nii. c",
        "I) a b\nII) c",
        "1: a b\n2: c",
        "#1: a b\n#2: c",
        "Item 1: a b\nItem 2: c",
        "**Item 1:** a b\n**Item 2**: c",
        "Here they are:\n\na) a b\nb) c\n\nTell me if you need more.",
        "a) a\n   b\nb) c",
        "- [ ] a b\n- [x] c",
        "1. [X] a b\n2. [ ] c",
        "[ ] a b\n[x] c",
        "\u2610 a b\n\u2611 c",
        '["a b", "c"]',
        'Here is the list:\n["a b", "c"]',
        'Sure:\n```json\n["a b", "c"]\n```',
        "```\na b\nc\n```",
    ],
)
def test_remarks_are_no_items(text: str) -> None:
    """An announcement, a remark behind the list and fences are not in it."""
    assert ("a b", "c") == read(text, list[str])


@pytest.mark.parametrize("text", ["None", "none.", "N/A", "(none)", "- None", "[]", "null"])
def test_none_is_an_empty_list(text: str) -> None:
    """Words for nothing are no item; under a number they are one."""
    assert () == read(text, list[str])
    assert ("None",) == read("1. None", list[str])


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("time: now", ("time: now",)),
        ("key:\nvalue", ("key:", "value")),
        ("alpha\n- beta", ("alpha", "beta")),
        ("1. What is it?\n2. Here are we:", ("What is it?", "Here are we:")),
        ("A. Smith", ("A. Smith",)),
        ("A. Smith\nC. Jones", ("A. Smith", "C. Jones")),
        ("B. Smith\nC. Jones", ("B. Smith", "C. Jones")),
        ("A. Smith\nand more\nB. Jones", ("A. Smith", "and more", "B. Jones")),
        ("10: tea\n12: sleep", ("10: tea", "12: sleep")),
        ("0: off\n1: on", ("0: off", "1: on")),
        ("1:0\n2:1", ("1:0", "2:1")),
        ("Step 1: boil\nStep 2: pour", ("Step 1: boil", "Step 2: pour")),
        ("Item 2: tea\nItem 4: milk", ("Item 2: tea", "Item 4: milk")),
        ("The rest\na) tea\nb) milk", ("The rest", "a) tea", "b) milk")),
        ("- A. Smith\n- B. Jones", ("A. Smith", "B. Jones")),
    ],
)
def test_items_stay(text: str, items: tuple[str, ...]) -> None:
    """What doesn't have the form of a remark is an item."""
    assert items == read(text, list[str])


def test_labels_of_choices_are_the_choices() -> None:
    """A letter that is a choice itself is no label of an item."""
    text = "A. It is cheap.\nB. It is quick."
    assert ("A", "B") == read(text, list[Literal["A", "B"]])


def test_labelled_numbers_are_read() -> None:
    """Labels before numbers are no part of them."""
    assert (5, 7) == read("1: 5\n2: 7", list[int])
    assert (2.5, 1.0) == read("a) 2.5\nb) 1", list[float])


@given(
    st.lists(st.text("abc xyz.", min_size=1).map(str.strip).filter(bool), min_size=2, max_size=20)
)
def test_each_way_to_label_a_list_is_read(items: list[str]) -> None:
    """Whatever labels a list has, its items are the same."""
    letters = [f"{chr(97 + n)}) {item}" for n, item in enumerate(items)]
    counted = [f"Item {n}: {item}" for n, item in enumerate(items)]
    boxes = [f"- [ ] {item}" for item in items]
    bullets = [f"- {item}" for item in items]
    expected = read("\n".join(bullets), list[str])
    for lines in (letters, counted, boxes):
        assert expected == read("\n".join(lines), list[str])
