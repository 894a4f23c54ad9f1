"""The pictures of the pages are what their scripts draw."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
from paths import DOCS

PICTURES = DOCS / "pictures"
DIAGRAMS: dict[str, Any] = runpy.run_path(str(PICTURES / "diagrams.py"))["DIAGRAMS"]


def test_the_terminal_is_as_the_commands_print() -> None:
    """The commands of now print what the pictures show; `python docs/pictures/make.py` draws them anew."""
    drawn = dict(runpy.run_path(str(PICTURES / "make.py"))["pictures"]())
    assert [] == [
        name
        for name, text in drawn.items()
        if text != (PICTURES / f"{name}.svg").read_text("utf-8")
    ]
    assert {*drawn, *DIAGRAMS, "performance"} == {path.stem for path in PICTURES.glob("*.svg")}


@pytest.mark.parametrize("name", DIAGRAMS)
def test_a_diagram_is_as_it_is_drawn(name: str) -> None:
    """Whoever changes a diagram changes the script; `python docs/pictures/diagrams.py` draws them anew."""
    assert DIAGRAMS[name]() == (PICTURES / f"{name}.svg").read_text("utf-8")


def test_the_curves_are_as_they_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture shows the figures that are kept; `python docs/pictures/curves.py` draws it anew."""
    monkeypatch.syspath_prepend(PICTURES)
    draw = runpy.run_path(str(PICTURES / "curves.py"))["draw"]
    assert draw() == (PICTURES / "performance.svg").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.svg")), ids=lambda path: path.stem)
def test_a_picture_requests_nothing(path: Any) -> None:
    """No font, script or image comes from elsewhere; each says in words what it is."""
    text = path.read_text("utf-8")
    assert "aria-label=" in text
    assert [] == [
        word for word in ("@import", "url(http", "href=", "<script", "<image") if word in text
    ]
