"""The skill for coding agents, whose fences are tests as those of pages are (conftest.py)."""

from __future__ import annotations

import re
import tomllib

from commanding import commands
from paths import ROOT

FILE = ".agents/skills/lmflow/SKILL.md"
TEXT = (ROOT / "lmflow" / FILE).read_text(encoding="utf-8")


def test_it_is_shipped() -> None:
    """Wheel and sdist hold it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert FILE in project["tool"]["setuptools"]["package-data"]["lmflow"]


def test_it_begins_as_the_convention_says() -> None:
    """Its front matter has the name of its folder and a description of at most 1,024 characters."""
    front = re.match(r"---\nname: (\S+)\ndescription: (.+)\n---\n", TEXT)
    assert front is not None
    assert "lmflow" == front[1]
    assert 40 < len(front[2]) <= 1024


def test_it_is_short() -> None:
    """It takes less than 5,000 tokens, counted as one for each 3 characters, more than there are."""
    assert len(TEXT) / 3 < 5000


def test_its_commands_exist() -> None:
    """Each command in it is one of lmflow, also in its prose."""
    known = dict(commands())
    lines = re.findall(r"(?:`|\$ )lmflow ([a-z-]+)(?: ([a-z-]+))?", TEXT)
    assert lines
    assert [] == [
        words
        for words in lines
        if not {f"lmflow {words[0]}", f"lmflow {' '.join(words)}"} & {*known}
    ]
