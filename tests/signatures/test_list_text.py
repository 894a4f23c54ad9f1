"""The laws of lists in lines: remarks around a list are no items."""

from __future__ import annotations

import pytest

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
    ],
)
def test_items_stay(text: str, items: tuple[str, ...]) -> None:
    """What doesn't have the form of a remark is an item."""
    assert items == read(text, list[str])
