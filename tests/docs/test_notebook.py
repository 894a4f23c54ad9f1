"""The laws of the notebook: it runs without a key, and shows tables, trees and bars."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from markup import Markup
from paths import ROOT

NOTEBOOK = ROOT / "examples" / "notebook" / "first_look.ipynb"
SECONDS = 300

pytest.importorskip("nbconvert", reason="the extra notebook is not installed")
pytest.importorskip("ipykernel", reason="the extra notebook is not installed")


def code_cells(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook that hold code."""
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The cells of the notebook after nbconvert has executed it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("notebook")
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environ = {
        **os.environ,
        **{place: str(folder / place) for place in places},
        "JUPYTER_PLATFORM_DIRS": "1",
    }
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook"]
    subprocess.run(
        [*command, "--output-dir", str(folder), "--output", "executed.ipynb", str(NOTEBOOK)],
        check=True,
        cwd=folder,
        env=environ,
        timeout=SECONDS,
        capture_output=True,
    )
    return code_cells(folder / "executed.ipynb")


def shown(cells: list[dict[str, Any]], kind: str = "text/html") -> str:
    """All outputs of a kind, one below the other."""
    outputs = [output for cell in cells for output in cell["outputs"]]
    return "\n".join("".join(output.get("data", {}).get(kind, "")) for output in outputs)


def test_it_runs(executed: list[dict[str, Any]]) -> None:
    """No cell ends with an error, and nothing is said on standard error."""
    outputs = [output for cell in executed for output in cell["outputs"]]
    assert set() == {"error"} & {output["output_type"] for output in outputs}
    assert [] == [output for output in outputs if output.get("name") == "stderr"]


def test_it_shows_tables_trees_and_bars(executed: list[dict[str, Any]]) -> None:
    """Tables of traces, rows and runs; the tree of a trace; the bar of what is done."""
    page = shown(executed)
    assert page.count("<table") >= 8  # program, run, evaluation, version, plan, pairs, phases, runs
    assert "└─ out  {&quot;label&quot;:" in page
    assert "<progress" in page
    assert "█" in page
    assert "<svg" in page
    assert "<ins" in page


def test_it_shows_the_exact_messages(executed: list[dict[str, Any]]) -> None:
    """``lf.show`` displays what was sent, and the reply."""
    page = shown(executed)
    assert "&gt; [system]" in page
    assert "&lt; It is about power." in page


def test_its_pages_hold_no_script(executed: list[dict[str, Any]]) -> None:
    """A page is tags of text and tables alone; nothing is fetched."""
    page = Markup.of(shown(executed))
    assert set() == {"script", "link", "style", "img", "iframe"} & set(page.tags)
    assert set() == {"href", "src", "onclick", "onload"} & {name for name, _ in page.attributes}


def test_every_value_has_a_plain_text_of_one_line(executed: list[dict[str, Any]]) -> None:
    """What a cell gives is one line where HTML isn't shown."""
    results = [
        output
        for cell in executed
        for output in cell["outputs"]
        if output["output_type"] == "execute_result"
    ]
    texts = ["".join(output["data"]["text/plain"]) for output in results]
    assert [] == [text for text in texts if "\n" in text or not text.startswith("<")]


def test_the_committed_notebook_has_no_outputs() -> None:
    """Outputs would be out of date with the next change."""
    cells = code_cells(NOTEBOOK)
    assert [] == [cell["id"] for cell in cells if cell["outputs"] or cell["execution_count"]]
