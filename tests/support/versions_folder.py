"""A folder with a program and a store of three versions under two refs, for tests of commands."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from commanding import call

import lmflow as lf

APP = """
import lmflow as lf

answer = lf.predict("answer", "question -> answer", "Answer from the context, in a few words.")
rewrite = lf.predict("rewrite", "question, n: int -> query", "Search.")
renamed = lf.predict("reply", "question -> answer", "Answer.")
changed = lf.predict("answer", "question -> answer", "Answer the question.")
"""
ANSWER = lf.predict("answer", "question -> answer", "Answer from the context, in a few words.")
FIRST = lf.init(ANSWER)
TUNED = FIRST.put(
    {
        "answer.instruction": "Answer from the context, in one word.",
        "answer.demos": [{"question": "q", "answer": "a"}],
    },
    note="shorter",
    origin={"answer.demos": {"rollout": "r1", "address": "propose[0]"}},
)
SIDE = FIRST.put({"answer.options": {"seed": 1}}, note="seeded")
OLD_DIGITS = FIRST.id[6:18]


def versions_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder the current one, with a program, and a store with two refs."""
    name = f"vapp_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(APP, encoding="utf-8")
    (tmp_path / "name").write_text(name, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for variable in ("LMFLOW_STORE", "VISUAL", "EDITOR", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    with lf.SqliteStore("lmflow.db") as store:
        lf.commit(store, "prod", FIRST, why="begin", who="ann")
        lf.commit(store, "prod", TUNED, why="better on dev", who="ann")
        lf.commit(store, "side", SIDE)
    return tmp_path


def said(here: Path, line: str) -> str:
    """What a command prints."""
    result = call(here, line)
    assert result.exit_code == 0, result.output
    return result.stdout


def data(here: Path, line: str) -> Any:
    """What a command prints as JSON."""
    return json.loads(said(here, f"{line} --json"))


def refs(here: Path) -> dict[str, str]:
    """The refs of the store."""
    return {row["ref"]: row["version"] for row in data(here, "ref ls")}


def edits(here: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Make a shell script the editor; ``$1`` is the file."""
    editor = here / "editor.sh"
    editor.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("EDITOR", str(editor))
