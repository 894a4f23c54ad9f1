"""The pages on programs, search and systems name all that there is."""

from __future__ import annotations

from paths import DOCS

import lmflow as lf


def test_all_that_is_shipped_is_on_the_pages() -> None:
    """What the package exports of programs is named on one of the pages on programs."""
    names = ("programs", "inference-time", "systems", "agents", "evaluation", "retrieval", "code")
    pages = "".join((DOCS / f"{page}.md").read_text("utf-8") for page in names)
    shipped = [
        name
        for name in lf.__all__
        if _home(name).startswith(("lmflow.library.", "lmflow.evaluation.judges"))
    ]
    assert [] == [name for name in shipped if name not in pages]


def _home(name: str) -> str:
    """The module that a public name is defined in."""
    return str(getattr(getattr(lf, name), "__module__", ""))
