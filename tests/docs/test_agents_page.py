"""The page on agents names all there is, and its example runs."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

from paths import DOCS

from lmflow.interpreter.tools import CallForm, ObservationKind
from lmflow.messages.requests import MODES

EXAMPLE = DOCS.parent / "examples" / "agents" / "shop.py"


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
