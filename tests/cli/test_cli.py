"""The command line: what it prints, and one line with the fix for each mistake."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest
from commanding import call, done

from lmflow.cli.lazy import LazyCommands
from lmflow.cli.main import main
from lmflow.stores.sqlite.store import SqliteStore


def test_a_run_prints_its_outputs(here: Path) -> None:
    """``run`` prints each output by name, and the trace on standard error."""
    result = call(here, "run app:size --set text=four")
    assert "size: 4\n" == result.stdout
    assert "tool size" in result.stderr


def test_a_run_is_listed_shown_replayed_and_verified(here: Path) -> None:
    """What ``run`` recorded, the reading commands find, and replay gives the same root."""
    done(here, "run app:size --set text=four")
    (row,) = done(here, "runs ls")
    shown = done(here, f"runs show {row['id'][-6:]}")
    replayed = done(here, f"replay {row['id']}")
    assert {"size": 4} == shown["items"][0]["outputs"]
    assert (shown["root"], 1, True) == (replayed["root"], replayed["calls"], replayed["same"])
    assert done(here, f"verify {row['id']}")["sound"]


def test_a_file_of_inputs_is_a_map(here: Path) -> None:
    """``--data`` runs each line, in order, as one run."""
    (here / "in.jsonl").write_text(
        '{"text": "a"}\n\n{"text": "bcd", "id": "x"}\n', encoding="utf-8"
    )
    result = done(here, "run app:size --data in.jsonl")
    assert [1, 3] == [trace["outputs"]["size"] for trace in result["traces"]]


def test_a_failed_trace_is_an_exit_code(here: Path) -> None:
    """A map with a failure prints it and exits with 1."""
    (here / "in.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    result = call(here, "run app:broken --data in.jsonl")
    assert 1 == result.exit_code
    assert "ZeroDivisionError" in result.stdout


MISTAKES = [
    ("run app", "MODULE:PROGRAM"),
    ("run app:siz --set text=a", "Did you mean 'size'?"),
    ("run nowhere:x --set text=a", "no module 'nowhere'"),
    ("run app:size", "--set text=..."),
    ("run app:size --set txt=a", "Did you mean 'text'?"),
    ("run app:size --set text", "--set text=..."),
    ("run app:answer --set question=x", "no model was given"),
    ("run app:answer --set question=x --model gpt", "openai/gpt"),
    ("run app:answer --set question=x --model opnai/gpt", "Did you mean 'openai'?"),
    ("run app:answer --set question=x --model openai/gpt", "OPENAI_API_KEY"),
    ("run app:answer --set question=x --model local/none", "none"),
    ("run app:size --set text=a --version prod", "no ref or version 'prod'"),
    ("run app:size --data bad.jsonl", "bad.jsonl, line 2: it is not JSON"),
    ("runs ls --store none.db", "no such file"),
    ("runs ls --store bad.jsonl", "isn't an SQLite database"),
    ("runs show zzz", "no run 'zzz'"),
]


@pytest.mark.parametrize(("line", "words"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line_with_the_fix(here: Path, line: str, words: str) -> None:
    """Each mistake exits with 1 and says in one line what was found and what mends it; nothing is
    recorded.
    """
    (here / "bad.jsonl").write_text('{"text": "a"}\n{"text"\n', encoding="utf-8")
    SqliteStore("lmflow.db").close()
    result = call(here, line)
    assert 1 == result.exit_code, result.output
    assert re.fullmatch(r"Error: [^\n]+\n", result.stderr), result.stderr
    assert words in result.stderr
    assert [] == done(here, "runs ls")


def test_a_tampered_store_is_named(here: Path) -> None:
    """``verify`` fails on a store whose blob was changed, and names the blob."""
    done(here, "run app:size --set text=four")
    with sqlite3.connect("lmflow.db") as db:
        db.execute(
            "UPDATE blob SET data = ? WHERE kind = 'reply'", (b'{"is":"ToolReply","value":5}',)
        )
    db.close()
    (row,) = done(here, "runs ls")
    result = call(here, f"verify {row['id']}")
    assert 1 == result.exit_code
    assert "reply blob" in result.stderr


def test_a_folder_is_indexed(here: Path) -> None:
    """``index`` makes a corpus of a folder and names what it skipped."""
    (here / "docs").mkdir()
    (here / "docs" / "a.md").write_text("# Tea\n\nGreen tea.", encoding="utf-8")
    (here / "docs" / "b.pdf").write_bytes(b"%PDF")
    result = done(here, "index docs --out tea.db")
    assert (1, 1) == (result["passages"], len(result["skipped"]))


def test_what_a_model_wrote_can_t_write_to_the_terminal(here: Path) -> None:
    """Control characters in outputs are shown as replacement characters."""
    result = call(here, "run app:size --set text=\x1b[31m")
    assert "\x1b" not in result.output


@pytest.mark.parametrize("group", [main, main.commands["runs"]], ids=["lmflow", "lmflow runs"])
def test_the_list_of_commands_says_what_they_say(group: click.Group) -> None:
    """The list is written without importing a command, and holds each command's own words."""
    assert isinstance(group.commands, LazyCommands)
    found = {name: group.commands.short_help(name) for name in group.commands}
    assert {
        name: command.get_short_help_str(62) for name, command in group.commands.items()
    } == found


def test_help_imports_no_command() -> None:
    """``lmflow --help`` waits for nothing that only a command needs."""
    code = "import sys; from lmflow.cli.main import main; main(['--help'], standalone_mode=False); "
    code += "print([m for m in ('sqlite3', 'asyncio', 'lmflow.cli.runs') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.splitlines()[-1]
