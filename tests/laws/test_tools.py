"""The laws of tools, over lmflow's own."""

from __future__ import annotations

from typing import Any

import pytest

import lmflow as lf
from lmflow.programs.tool import Tool
from lmflow.testing import TOOL_LAWS, Law, ToolCase

NOTES = lf.Corpus.build([{"id": "tea", "text": "Green tea is steeped at 80 degrees."}])


@lf.tool
def add(x: int, y: int = 1) -> int:
    """Add two numbers."""
    return x + y


@lf.tool(mode="pure")
async def shout(text: str) -> str:
    """Write a text in capitals."""
    return text.upper()


def _search() -> Tool:
    return lf.tool("search", "query -> context: list[str]", NOTES.search, description="Find notes.")


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "of a function": (add, {"x": 1}),
    "async": (shout, {"text": "a"}),
    "of a corpus": (_search(), {"query": "tea"}),
}


@pytest.mark.parametrize("law", TOOL_LAWS, ids=str)
@pytest.mark.parametrize("name", sorted(CASES))
async def test_a_tool_keeps_the_laws(name: str, law: Law) -> None:
    """The suite for tools of one's own holds of tools of every kind."""
    tool, inputs = CASES[name]
    checked = law(ToolCase(tool, inputs))
    if checked is not None:
        await checked
