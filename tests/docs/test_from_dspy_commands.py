"""The commands of the page for those who come from DSPy work as they are written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from paths import DOCS

from lmflow.cli.main import main

APP = 'import lmflow as lf\n\nrag = lf.predict("answer", "question -> answer")\n'
FIELDS = [
    {"prefix": "Question:", "description": "${question}"},
    {"prefix": "Answer:", "description": "${answer}"},
]
STATE = {
    "answer": {
        "traces": [],
        "train": [],
        "demos": [{"augmented": True, "question": "q", "answer": "a"}, {"question": "r"}],
        "signature": {"instructions": "Answer in French.", "fields": FIELDS},
        "lm": None,
    },
    "metadata": {"dependency_versions": {"python": "3.12", "dspy": "3.4.1"}},
}


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A saved state becomes a version under a ref, and the next command shows it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = f"app_{tmp_path.name.replace('-', '_')}"
    Path(f"{module}.py").write_text(APP, "utf-8")
    Path("rag.json").write_text(json.dumps(STATE), "utf-8")
    page = (DOCS / "from-dspy.md").read_text("utf-8")
    block = re.search(r"```\n(lmflow import rag\.json.*?)```", page, re.DOTALL)
    assert block is not None
    shown = ""
    for line in block[1].strip().splitlines():
        words = line.replace("app:", f"{module}:").split()[1:]
        result = CliRunner().invoke(main, words)
        assert 0 == result.exit_code, result.output
        shown = result.output
    assert "Answer in French." in shown
    assert "1 demonstration of `answer` without outputs" in shown
