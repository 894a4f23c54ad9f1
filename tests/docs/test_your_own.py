"""The pages about parts of one's own show the examples, which run and keep the laws."""

from __future__ import annotations

import subprocess
import sys

import pytest
from paths import ROOT

PARTS = ("adapter", "model", "optimizer", "store", "tool")


@pytest.mark.parametrize("part", PARTS)
def test_an_example_keeps_the_laws(part: str) -> None:
    """Run as a script, an example checks itself, and prints what it came to."""
    script = ROOT / "examples" / "your_own" / f"{part}.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout


@pytest.mark.parametrize("part", PARTS)
def test_a_page_shows_its_example_whole(part: str) -> None:
    """What a page shows is the file, but for what the file does as a script."""
    source = (ROOT / "examples" / "your_own" / f"{part}.py").read_text("utf-8")
    page = (ROOT / "docs" / "your-own" / f"{part}.md").read_text("utf-8")
    assert source.partition("\n\nif __name__")[0].rstrip() in page
    assert f"lf.testing.check_{part}(" in page
