"""The pages on search and systems: their Python runs from top to bottom, and they name all that
there is.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import shown
from paths import DOCS

import lmflow as lf
from lmflow.messages.requests import ChatRequest

SAYS = {
    "Work in a Python session": "SUBMIT([note.split()[-1] for note in notes if note.startswith('Room 4711 ')][0])",
    "Is the answer right": "9",
    "as JSON": '{"data": {"name": "Ada Lovelace", "born": 1815}}',
    "Reply with only a JSON object": '{"name": "Ada Lovelace", "born": 1815}',
    "which label": "complaint",
    "Order the passages": "2, 1",
    "suffice": "true",
    "List the facts": "The Seine flows through Paris. [1]",
    "from the facts": "The Seine [1]",
    "Name 1 kinds": "travellers",
    "outline": "Capital\nRivers",
    "Write this section": "Paris is the capital of France [1].",
    "Solve it": "42",
    "Add it up": "(price('eggs') + price(name='tea')) / 100",
}


def say(request: ChatRequest) -> str:
    """The answer for the first key in the system message."""
    system = request.messages[0].content
    return next((answer for key, answer in SAYS.items() if key in system), "Paris")


async def test_the_page_on_search_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints a vote of five and curves over four samples."""
    known = await shown("search.md", tmp_path, say)
    assert capsys.readouterr().out.startswith("42 5\n")
    assert 1 == known["found"].enough(within=0.01)


async def test_the_page_on_systems_runs(tmp_path: Path) -> None:
    """It ends in values of the user's types and an article that cites."""
    known = await shown("systems.md", tmp_path, say)
    assert ("Ada Lovelace", 1815) == (known["person"].name, known["person"].born)
    assert ("complaint", "Paris") == (known["label"], known["summary"])
    assert "[1]" in known["article"].markdown
    assert 1 == len(known["article"].citations)
    known["corpus"].close()


async def test_the_page_on_adapters_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A conversation of two turns goes on as messages, and a long text says what is left out of it."""
    known = await shown("adapters.md", tmp_path, say)
    said = capsys.readouterr().out
    assert (
        "assistant 'Paris'\nuser '[[question]]\\nAnd through Lima?'\nassistant 'Paris'\nuser"
        in said
    )
    assert "characters left out …]" in said
    assert 2 == len(known["history"])


async def test_the_page_on_code_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It adds, tells a fault from a value, and answers from what ran."""
    pytest.importorskip("pydantic_monty")
    known = await shown("code.md", tmp_path, say)
    assert capsys.readouterr().out.startswith(
        "42 adding\n\nerror line 2: ZeroDivisionError: division by zero\n42.0 ["
    )
    assert 42.0 == known["voted"].outputs.answer
    assert ("6409", 2) == (known["found"].outputs.answer, len(known["found"].calls))
    assert (6.1, 6) == (known["bought"].outputs.answer, len(known["bought"].calls))


def test_all_that_is_shipped_is_on_the_pages() -> None:
    """What the package exports of programs is named on one of the pages on programs."""
    names = ("programs", "search", "systems", "agents", "evaluation", "retrieval", "code")
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
