"""The page on pictures, sounds and files says what is not measured, and its example runs."""

from __future__ import annotations

import re
import runpy
from typing import Any

import pytest
from paths import ROOT


def test_the_page_says_what_is_not_measured() -> None:
    """No weights see or hear here, and the page says so."""
    page = (ROOT / "docs" / "media.md").read_text(encoding="utf-8")
    assert re.search(r"this project has no weights that see or hear", page)


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Without key or weights: nine calls, three pictures in the store, replayed."""
    found: dict[str, Any] = runpy.run_path(str(ROOT / "examples" / "pictures" / "pictures.py"))
    found["main"]()
    out = capsys.readouterr().out
    assert ["red", "green", "blue"] == re.findall(r">  (\w+)", out)
    assert "9 calls, 3 pictures in the store; replayed offline: exact" in out
