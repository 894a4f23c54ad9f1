"""Examples name one model, which stands for the reader's: names of real models expire."""

from __future__ import annotations

import re
from collections.abc import Iterator

from paths import DOCS, ROOT

from lmflow.models.registry import EXAMPLE_MODEL

REAL = re.compile(r"\b(?:gpt-\d|claude-[a-z]|gemini-\d|o\d-mini|text-embedding-\d|qwen3\b)\S*")
PLACES = (
    "README.md", "CONTRIBUTING.md", "docs/*.md", "docs/*/*.md", "cli/**/*.py", "lmflow/**/*.py",
    "lmflow/.agents/skills/*/SKILL.md", "examples/**/*.py",
)  # fmt: skip
ABOUT_THEM = {"docs/models.md", "lmflow/models/providers/openai_chat.py"}
"""Files about families of real models, whose options differ."""


def named() -> Iterator[str]:
    """Each name of a real model, with its file."""
    for path in sorted(path for place in PLACES for path in ROOT.glob(place)):
        file = str(path.relative_to(ROOT))
        if file not in ABOUT_THEM and DOCS / "_build" not in path.parents:
            yield from (f"{file}: {name}" for name in REAL.findall(path.read_text("utf-8")))


def test_no_example_names_a_real_model() -> None:
    """A model that a reader must have is written openai/MODEL."""
    assert [] == list(named())


def test_one_page_says_what_it_stands_for() -> None:
    """The page on models explains the name."""
    assert f"all say `{EXAMPLE_MODEL}`" in (DOCS / "models.md").read_text("utf-8")
