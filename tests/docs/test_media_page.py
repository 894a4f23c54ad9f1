"""The page on pictures, sounds and files: its Python runs, and so does its example."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from pages import run
from paths import ROOT
from pictures_and_sounds import PNG

import lmflow as lf


async def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From top to bottom, with a picture where it says that there is one."""
    (tmp_path / "cat.png").write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    async with lf.Executor(lf.scripted(lambda _: "Paris")) as ex:
        known = await run(
            "media.md", tmp_path, {"ex": ex, "__name__": "page", "download": lambda _: PNG}
        )
    picture = lf.Image(PNG)
    page = (ROOT / "docs" / "media.md").read_text(encoding="utf-8")
    assert f"# {picture}\n" in page
    assert ("", "Paris") == (known["trace"].outputs.thoughts, known["trace"].outputs.answer)
    assert ["fetch", "see_it"] == list(known["seen"].steps)


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
