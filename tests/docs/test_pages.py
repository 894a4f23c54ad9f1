"""What pages name exists: functions, commands and their options; and what isn't run says why."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import click
import pytest
from commanding import commands
from paths import DOCS, ROOT

import lmflow as lf

PAGES = sorted(
    path
    for path in [ROOT / "README.md", *DOCS.rglob("*.md")]
    if DOCS / "_build" not in path.parents
)
KNOWN: dict[str, click.Command] = dict(commands())
DSPY = re.compile(r"```py\n.*?```", re.DOTALL)

pages = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


@pages
def test_every_name_exists(path: Path) -> None:
    """What a page calls lf.something, ex.something or lmflow.module.something is there."""
    text = DSPY.sub("", path.read_text("utf-8"))
    executor = {*dir(lf.Executor), *dir(lf.Sync)}
    missing = [name for name in re.findall(r"\blf\.(\w+)", text) if not hasattr(lf, name)]
    missing += [name for name in re.findall(r"\bex\.(\w+)\(", text) if name not in executor]
    for module, name in re.findall(r"`(lmflow(?:\.[a-z_]+)+)\.(\w+)[`(]", text):
        missing += [] if _exists(module, name) else [f"{module}.{name}"]
    assert [] == missing


@pages
def test_every_command_exists(path: Path) -> None:
    """Commands that a page names are there, with their options."""
    for line in re.findall(
        r"(?:`|^\$ )(lmflow [a-z][^`\n]*)", path.read_text("utf-8"), re.MULTILINE
    ):
        words = line.partition(" #")[0].replace("\\|", "|").split()
        command = next(
            (" ".join(words[:end]) for end in (3, 2) if " ".join(words[:end]) in KNOWN), ""
        )
        assert command, line
        options = {
            name
            for parameter in KNOWN[command].params
            for name in (*parameter.opts, *parameter.secondary_opts)
        } | {"--help"}
        used = {word.partition("=")[0].rstrip(",.;:") for word in words if word.startswith("--")}
        assert used <= options, line


@pages
def test_what_is_skipped_says_why(path: Path) -> None:
    """A fence that no test runs carries a reason of some words."""
    text = path.read_text("utf-8")
    skips = re.findall(r"<!-- skip: (.*?) -->", text)
    assert [] == [skip for skip in skips if not re.fullmatch(r'next "[^"]{12,}"', skip)]


def _exists(module: str, name: str) -> bool:
    if importlib.util.find_spec(module) is None:
        return False
    own = importlib.util.find_spec(f"{module}.{name}") if _is_package(module) else None
    return own is not None or hasattr(importlib.import_module(module), name)


def _is_package(module: str) -> bool:
    return hasattr(importlib.import_module(module), "__path__")
