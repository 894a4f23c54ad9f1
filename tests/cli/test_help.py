"""The laws of the help: sections, one name an option, and the commands that usually follow."""

import shlex
import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner
from commanding import commands

from lmflow.cli.following import FOLLOWING, OTHER_NAMES, right_name
from lmflow.cli.main import COMMANDS, SECTIONS, main

ALL = {name.removeprefix("lmflow "): command for name, command in commands() if name != "lmflow"}


def test_every_command_is_in_one_section() -> None:
    """The help lists each command once, under what it is for."""
    text = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    assert ["Run", "Look", "Time travel", "Versions", "Tune", "Data", "Store", "Serve"] == list(
        SECTIONS
    )
    for title, names in SECTIONS.items():
        section = text.partition(f"\n{title}:\n")[2].partition("\n\n")[0]
        assert list(names) == [
            line.split()[0] for line in section.strip("\n").splitlines() if line[2:3] != " "
        ]
    assert list(COMMANDS) == list(main.commands)


def test_the_help_is_fast() -> None:
    """The help imports no command, so it waits for none."""
    code = "import sys; from lmflow.cli.main import main; main(['--help'], standalone_mode=False);"
    code += "print(sorted(m for m in sys.modules if m.startswith('lmflow.cli.commands')))"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.splitlines()[-1]
    assert 10 > time.monotonic() - started


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_help_ends_with_what_follows(name: str) -> None:
    """Each help ends with two command lines."""
    text = CliRunner().invoke(main, [*name.split(), "--help"], terminal_width=100).output
    lines = text.partition("Next:\n")[2].strip().splitlines()
    assert 2 == len(lines)
    assert all(line.strip().startswith("lmflow ") for line in lines)


@pytest.mark.parametrize("line", sorted({line for pair in FOLLOWING.values() for line in pair}))
def test_what_follows_is_a_command_with_these_options(line: str) -> None:
    """Each line names a command and options that exist."""
    words = shlex.split(line)[1:]
    name = next(" ".join(words[:size]) for size in (2, 1) if " ".join(words[:size]) in ALL)
    options = {option for param in ALL[name].params for option in param.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_no_option_has_another_name() -> None:
    """What one command calls --why, no other calls --note: the other names are no option anywhere."""
    names = {
        option for command in ALL.values() for param in command.params for option in param.opts
    }
    others = {other for group in OTHER_NAMES.values() for other in group}
    assert set() == names & others
    assert OTHER_NAMES.keys() <= names


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("edit prod answer.instruction --note x", "--why"),
        ("merge a b --message x", "--why"),
        ("ref set a b --reason x", "--why"),
        ("resume RUN --max-calls 3", "--budget-calls"),
        ("replay RUN --calls 3", "--budget-calls"),
        ("run app:rag --input x.jsonl", "--data"),
        ("eval app:rag --examples x.jsonl", "--data"),
        ("dataset from-runs --metric-name x", "--metric"),
        ("runs tail --last 3", "--limit"),
    ],
)
def test_the_other_name_is_an_error_that_names_the_right_one(line: str, name: str) -> None:
    """An earlier or a likely name is one line that says how the option is called."""
    result = CliRunner().invoke(main, line.split())
    assert 2 == result.exit_code
    assert f"It is called {name}." in result.stderr


def test_an_option_that_a_command_lacks_is_not_suggested() -> None:
    """The right name is told only where the command has it."""
    assert "--why" == right_name("--note")
    result = CliRunner().invoke(main, ["doctor", "--note", "x"])
    assert "--why" not in result.stderr


def test_h_is_help() -> None:
    """``-h`` is ``--help``, in groups and commands."""
    for words in ([], ["runs"], ["runs", "ls"]):
        assert (
            CliRunner().invoke(main, [*words, "-h"]).output
            == CliRunner().invoke(main, [*words, "--help"]).output
        )


def test_groups_are_commands_too() -> None:
    """Each group has the end of the help as well."""
    groups = [name for name, command in ALL.items() if isinstance(command, click.Group)]
    assert {"runs", "ref", "dataset", "store", "models", "mcp", "pin"} <= set(groups)
