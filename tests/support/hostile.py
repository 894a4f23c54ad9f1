"""Command lines that work, and wrong, missing and foreign words to put into them."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import click
from commanding import commands, done

import lmflow as lf

LINES = {
    "lmflow new": "fresh",
    "lmflow run": "app:size --set text=four",
    "lmflow map": "app:size data.jsonl --out out.jsonl",
    "lmflow work": "",
    "lmflow serve": "app:size --openapi",
    "lmflow mcp serve": "app:size",
    "lmflow mcp store": "app:size",
    "lmflow ui export": "RUN --out page.html",
    "lmflow otlp": "--map nothing",
    "lmflow export otlp": "--to nothing",
    "lmflow import traces": "spans.jsonl",
    "lmflow render": "app:answer --set context=[] --set question=why",
    "lmflow runs ls": "",
    "lmflow runs show": "RUN",
    "lmflow runs tail": "RUN",
    "lmflow runs search": "tea",
    "lmflow runs calls": "",
    "lmflow costs": "",
    "lmflow runs merge": "RUN",
    "lmflow runs export": "RUN",
    "lmflow replay": "RUN",
    "lmflow resume": "RUN",
    "lmflow bisect": 'prod prod --example \'{"text": "four"}\' --metric contains --program app:size',
    "lmflow why": "RUN",
    "lmflow verify": "RUN",
    "lmflow score": "RUN --name good --value 1",
    "lmflow eval": "app:size --data data.jsonl --metric exact_match:size",
    "lmflow compare": "prod prod --program app:size --data data.jsonl --metric exact_match:size",
    "lmflow optimize": "app:answer --optimizer labeled_few_shot --train qa.jsonl --metric f1 --dry-run",
    "lmflow steer": "RUN",
    "lmflow log": "prod",
    "lmflow show": "prod",
    "lmflow diff": "prod prod",
    "lmflow blame": "prod answer.instruction",
    "lmflow status": "prod --program app:answer",
    "lmflow ref ls": "",
    "lmflow ref set": "live prod",
    "lmflow ref rm": "prod",
    "lmflow rollback": "prod",
    "lmflow reflog": "prod",
    "lmflow edit": "prod answer.instruction",
    "lmflow merge": "prod prod",
    "lmflow pin add": "prod",
    "lmflow pin rm": "prod",
    "lmflow pin ls": "",
    "lmflow export": "prod",
    "lmflow import": "prod.json",
    "lmflow dataset ls": "",
    "lmflow dataset show": "qa",
    "lmflow dataset import": "qa.jsonl",
    "lmflow dataset from-runs": "--name good",
    "lmflow dataset export": "qa",
    "lmflow gc": "",
    "lmflow store merge": "lmflow.db --into merged.db",
    "lmflow push": "pushed.db",
    "lmflow pull": "lmflow.db",
    "lmflow store salvage": "lmflow.db rescued.db",
    "lmflow backup": "copy.db",
    "lmflow sql": '"select id from v_runs"',
    "lmflow index": "docs",
    "lmflow models ls": "",
    "lmflow models pull": "smollm2-135m",
    "lmflow models rm": "smollm2-135m",
    "lmflow doctor": "",
    "lmflow completion": "bash",
}
"""A command line of each command, without the command; RUN stands for a recorded run."""

STORES = [
    "folder",
    "none.db",
    "none/none.db",
    "notes.txt/x.db",
    "empty.db",
    "notes.txt",
    "binary.bin",
    "foreign.db",
    "cut.db",
    "x" * 300,
]
"""Files that are not a store of ours."""

WORDS = [
    "",
    "nope",
    "-",
    "..",
    "folder",
    "none/none.txt",
    "notes.txt/x",
    "empty.db",
    "binary.bin",
    "lmflow.db",
    "foreign.db",
    "a..b",
    "prod~99",
    "~",
    "=",
    "x=",
    "text=\udcff",
    "\udcff",
    "x" * 5000,
    "-1",
    "1e999",
    "nan",
    "9" * 40,
    "{",
    '{"a": 1}',
    "[" * 3000,
    ".5,.5",
    "app:",
    "app:nothing",
    ":x",
    "nowhere:x",
    "raising:x",
    "syntax:x",
    "ending:x",
    "contains:nothing",
    "exact_match:a,b,c",
    "nope/nope",
    "score>",
    "\x1b[31m",
]
"""Words that no command expects."""


def prepare(here: Path) -> str:
    """Fill a folder with a store and with files of all kinds; return a run."""
    (here / "folder").mkdir()
    (here / "docs").mkdir()
    (here / "docs" / "tea.md").write_text("# Tea\n\nGreen tea.", encoding="utf-8")
    (here / "notes.txt").write_text("my notes", encoding="utf-8")
    (here / "binary.bin").write_bytes(bytes(range(256)))
    (here / "empty.db").touch()
    (here / "raising.py").write_text("raise KeyError('x')", encoding="utf-8")
    (here / "syntax.py").write_text("def", encoding="utf-8")
    (here / "ending.py").write_text("import sys; sys.exit(3)", encoding="utf-8")
    (here / "data.jsonl").write_text('{"id": "a", "text": "four", "size": 4}\n', encoding="utf-8")
    (here / "qa.jsonl").write_text('{"id": "a", "question": "q", "answer": "x"}\n', "utf-8")
    db = sqlite3.connect(here / "foreign.db")
    db.execute("CREATE TABLE tea (leaf TEXT)")
    db.close()
    run = done(here, "run app:size --set text=four")
    (row,) = done(here, "runs ls")
    assert run["outputs"] == {"size": 4}
    with lf.SqliteStore("lmflow.db") as store:
        first = lf.Version(params={"answer.instruction": "Answer."})
        lf.commit(store, "prod", first)
        lf.commit(store, "prod", first.put({"answer.instruction": "Say it."}))
    done(here, "export prod --out prod.json")
    done(here, "dataset import qa.jsonl --name qa")
    whole = (here / "lmflow.db").read_bytes()
    (here / "cut.db").write_bytes(whole[: len(whole) // 2])
    return str(row["id"])


def leaves() -> dict[str, click.Command]:
    """The commands that aren't groups, by their words."""
    return {name: c for name, c in commands() if not isinstance(c, click.Group)}


def base(name: str, run: str) -> list[str]:
    """The words of a command line that works."""
    return [*name.split()[1:], *(run if w == "RUN" else w for w in shlex.split(LINES[name]))]


def places(name: str, command: click.Command) -> Iterator[tuple[int, str]]:
    """Where a word can be put: at the place of a word of the working line, or as an option."""
    words = shlex.split(LINES[name])
    for at, word in enumerate(words):
        if not word.startswith("--"):
            yield len(name.split()) - 1 + at, ""
    for param in command.params:
        if isinstance(param, click.Option) and not param.is_flag and param.name != "store":
            yield -1, param.opts[0]


def put(words: list[str], place: tuple[int, str], word: str) -> list[str]:
    """A command line with a word at a place."""
    at, option = place
    if option:
        return [*words, option, word]
    return [*words[:at], word, *words[at + 1 :]]
