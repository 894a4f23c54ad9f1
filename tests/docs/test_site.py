"""The site builds without a warning, leads nowhere that isn't there, and requests nothing outside."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from paths import DOCS, ROOT

import lmflow as lf

CHECK: dict[str, Any] = runpy.run_path(str(DOCS / "check_site.py"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    line = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "--quiet", str(DOCS), str(folder)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr), done.stderr
    return folder


def test_the_site_has_no_dead_link_and_no_request_outside(site: Path) -> None:
    """Pages, anchors, styles, scripts and pictures are all in the site."""
    assert [] == list(CHECK["problems"](site))


def test_the_site_has_its_pages_as_text(site: Path) -> None:
    """llms.txt lists every page, and llms-full.txt holds each one's text without its hidden blocks."""
    listed = (site / "llms.txt").read_text("utf-8")
    whole = (site / "llms-full.txt").read_text("utf-8")
    pages = {str(path.relative_to(DOCS).with_suffix(".html")) for path in DOCS.rglob("*.md")}
    assert set() == {page for page in pages if f"]({page})" not in listed}
    assert "## Six tutorials in both" in whole
    assert "lf.Executor" in whole
    assert "invisible-code-block" not in whole


def test_the_reference_has_every_public_name_once(site: Path) -> None:
    """A name that is exported has its docstring on one page of the reference."""
    named = Counter(
        name
        for page in (DOCS / "reference").glob("*.md")
        for body in re.findall(r"```\{names\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        for name in body.split()
    )
    modules = {"errors", "serve", "testing"} & set(lf.__all__)
    assert dict.fromkeys(set(lf.__all__) - modules, 1) == dict(named)
    written = "".join(path.read_text("utf-8") for path in (site / "reference").glob("*.html"))
    assert [] == [name for name in named if f'id="lmflow.{name}"' not in written]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="b.html">b</a>', "a.html: a dead link, b.html"),
        ('<a href="#there">b</a>', "a.html: a dead link, #there"),
        ('<script src="https://cdn.example/x.js"></script>', "a.html: a request outside, https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', "a.html: a request outside, //fonts.example/x.css"),
        ("<style>@import 'https://fonts.example/x.css'</style>", "a.html: a request outside, https://fonts.example/x.css"),
        ('<img src="no.png">', "a.html: nothing at no.png"),
    ],
)  # fmt: skip
def test_a_problem_is_found(body: str, problem: str, tmp_path: Path) -> None:
    """Dead links, lost anchors, missing files, and what a browser would ask of another host."""
    (tmp_path / "a.html").write_text(f"<html><body>{body}</body></html>", "utf-8")
    assert [problem] == list(CHECK["problems"](tmp_path))


def test_what_leads_outside_is_no_request(tmp_path: Path) -> None:
    """A link to another host is only followed by a reader."""
    body = '<p id="x"></p><a href="https://example.org/">e</a> <a href="#x">x</a> <a href="a.html#x">x</a>'
    (tmp_path / "a.html").write_text(f"<html><body>{body}</body></html>", "utf-8")
    assert [] == list(CHECK["problems"](tmp_path))
