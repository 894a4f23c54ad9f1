"""What the README and the docs say is run."""

import re
import subprocess
import sys
from pathlib import Path

from paths import ROOT

import lmflow as lf

FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_readme_s_example_runs(tmp_path: Path) -> None:
    """The 25 lines of the README print what their comments say."""
    (code,) = FENCE.findall((ROOT / "README.md").read_text("utf-8"))
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "two minutes") == (done.returncode, done.stdout.strip().splitlines()[-1]), (
        done.stderr
    )


def test_the_readme_s_example_is_short() -> None:
    """The first program that a reader sees has at most 25 lines of code."""
    (code,) = FENCE.findall((ROOT / "README.md").read_text("utf-8"))
    assert 25 >= len([line for line in code.splitlines() if line.strip()])


def test_links_resolve() -> None:
    """Every relative link of the README and the docs leads to a file."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))
    ]
    assert [] == [
        f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()
    ]


def test_every_public_name_is_documented() -> None:
    """Each name in ``lmflow.__all__`` has a docstring."""
    assert [] == [name for name in lf.__all__ if not getattr(lf, name).__doc__]
