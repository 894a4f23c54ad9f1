"""The pages for those who come from DSPy, test, keep data sets or serve: their Python runs, their
names exist.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import click
import pytest
from commanding import commands
from pages import run
from paths import DOCS

import lmflow as lf
from lmflow.stores.sqlite.store import SqliteStore

PAGES = ["from-dspy.md", "testing.md", "datasets.md", "serving.md"]


def page(name: str) -> str:
    """The text of a page."""
    return (DOCS / name).read_text(encoding="utf-8")


def find(question: str = "", query: str = "") -> list[str]:
    """A search over one document."""
    return [f"Black tea steeps three to five minutes. ({question or query})"]


async def test_the_programs_from_dspy_run(tmp_path: Path) -> None:
    """The same RAG, multi-hop and vote run, with every step of them recorded."""
    replies = {
        "Which tea": "[[answer]]\nblack",
        "How long": "[[reasoning]]\nIt says so.\n\n[[answer]]\nthree minutes",
    }
    script = lf.scripted(
        lambda request: next(text for key, text in replies.items() if key in str(request))
    )
    async with lf.Executor(script) as ex:
        rows = lf.dataset(
            {"question": f"How long {n}?", "answer": "three minutes"} for n in range(9)
        )
        known = await run("from-dspy.md", tmp_path, {"ex": ex, "find": find, "examples": rows})
    assert 2 == len(known["found"].version.params["answer.demos"])
    assert "three minutes" == known["trace"].outputs.answer
    assert ("black", 5) == (known["hops"].outputs.answer, len(known["hops"].calls))
    assert ("black", 5) == (known["vote"].outputs.answer, len(known["vote"].calls))


async def test_the_data_sets_run(tmp_path: Path) -> None:
    """The page on data sets keeps one."""
    rows = lf.dataset({"question": f"{n}?"} for n in range(10))
    with SqliteStore(tmp_path / "s.db") as store:
        known = await run("datasets.md", tmp_path, {"lf": lf, "store": store, "rows": rows})
    assert 8 == len(known["train"])


@pytest.mark.parametrize("name", PAGES)
def test_every_name_exists(name: str) -> None:
    """What a page calls lf.something, ex.something or lmflow.optimizers.something is there."""
    text = re.sub(r"```py\n.*?```", "", page(name), flags=re.DOTALL)
    missing = [found for found in re.findall(r"\blf\.(\w+)", text) if not hasattr(lf, found)]
    missing += [
        found
        for found in re.findall(r"\bex\.(\w+)", text)
        if not hasattr(lf.Executor("x/y"), found)
    ]
    for module, found in re.findall(r"`(lmflow\.optimizers\.\w+)\.(\w+)`", text):
        missing += [] if hasattr(importlib.import_module(module), found) else [found]
    assert [] == missing


@pytest.mark.parametrize("name", PAGES)
def test_every_command_exists(name: str) -> None:
    """Commands that a page names are there, with their options."""
    known: dict[str, click.Command] = dict(commands())
    for line in re.findall(r"(?:`|^)(lmflow [a-z][^`\n]*)", page(name), re.MULTILINE):
        words = line.replace("\\|", "|").split()
        path = next((" ".join(words[:end]) for end in (3, 2) if " ".join(words[:end]) in known), "")
        assert path, line
        options = {option for parameter in known[path].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_links_lead_somewhere() -> None:
    """Pages that are linked exist."""
    links = [target for name in PAGES for target in re.findall(r"\]\(([\w\-]+\.md)\)", page(name))]
    assert [] == [target for target in links if not (DOCS / target).is_file()]
