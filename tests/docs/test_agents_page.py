"""The page on agents, and the example: their Python runs, and they say what is so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from agents import Asked, asks, calling
from pages import shown
from paths import DOCS

from lmflow.interpreter.tools import CallForm, ObservationKind
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import MODES, ChatRequest

EXAMPLE = DOCS.parent / "examples" / "agents" / "shop.py"


def say(request: ChatRequest) -> ChatReply | str:
    """Look, order, answer."""
    steps: list[list[Asked]] = [
        [("stock", {"item": "black tea"})],
        [("order", {"item": "black tea", "count": 2})],
        [],
    ]
    return (
        calling(request, *steps[len(request.messages) // 2 - 1])
        if asks(request)
        else "Two are ordered."
    )


async def test_the_page_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints an answer and what came of each call."""
    known = await shown("agents.md", tmp_path, say)
    printed = capsys.readouterr().out.splitlines()
    assert ["Two are ordered.", "so [('stock', {'item': 'black tea'})] ['0']"] == printed[:2]
    assert "2 of black tea ordered" in printed[2]
    assert "green tea, black tea" in known["told"]["react.act.tools"]["stock"]


def test_the_page_names_all_there_is() -> None:
    """Every mode, form and kind of observation has its line."""
    text = (DOCS / "agents.md").read_text(encoding="utf-8")
    assert [] == [
        name
        for name in (*MODES, *get_args(CallForm), *get_args(ObservationKind))
        if f"| `{name}`" not in text
    ]


def test_the_example_runs() -> None:
    """Without a key it answers, replays exactly, and shows that a live tool is asked again."""
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE], capture_output=True, text=True, check=True
    )
    assert "stock(black) -> Error (failed)" in done.stdout
    assert "exact replay, no model and no tool: identical" in done.stdout
    assert done.stdout.endswith("6 of 9 calls reused; 2 orders, since `order` is live\n")
