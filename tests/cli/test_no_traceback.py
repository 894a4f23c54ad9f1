"""The law of mistakes: whatever the words, a command ends with one line and exit code 0, 1 or 2."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hostile import LINES, STORES, WORDS, base, leaves, places, prepare, put

from lmflow.cli.main import main

LEAVES = leaves()
SHARE = 3  # of the words one in three at each place, all of them over the places of a command


@pytest.fixture
def folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder with a store and files of all kinds, and a run; nothing outside can be reached."""
    run = prepare(here)
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    shutil.copytree(here, here.parent / "copy")
    yield here, run
    shutil.rmtree(here.parent / "copy")


def invoke(here: Path, words: list[str]) -> Result:
    """Run a command line; ``app`` stands for the module in the folder."""
    module = (here / "name").read_text("utf-8")
    return CliRunner().invoke(main, [word.replace("app:", f"{module}:") for word in words])


def check(words: list[str], result: Result) -> None:
    """The command ended with a line, not with a traceback."""
    told = f"{words}\n{result.output}\n{result.exception!r}"
    assert result.exit_code in {0, 1, 2}, told
    assert result.exception is None or isinstance(result.exception, SystemExit), told
    assert "Traceback" not in result.output, told
    assert "unexpected " not in result.stderr, told
    if result.exit_code and "Error: " in result.stderr:
        assert result.stderr.rstrip("\n").splitlines()[-1], told


def test_each_command_has_a_line() -> None:
    """The law holds for each command: none is left out."""
    assert LEAVES.keys() == LINES.keys()


@pytest.mark.parametrize("name", LEAVES)
def test_other_files_than_stores_are_one_line(folder: tuple[Path, str], name: str) -> None:
    """A store that isn't there, or is something else, is named; a file of others is untouched."""
    here, run = folder
    if "store" not in {param.name for param in LEAVES[name].params}:
        return
    for store in STORES:
        words = [*base(name, run), "--store", store]
        check(words, invoke(here, words))
    for file in ("notes.txt", "binary.bin", "foreign.db"):
        assert (here.parent / "copy" / file).read_bytes() == (here / file).read_bytes()


@pytest.mark.parametrize("name", LEAVES)
def test_other_words_than_expected_are_one_line(folder: tuple[Path, str], name: str) -> None:
    """Wrong ids, paths, numbers, names and texts in each argument and option end in a line."""
    here, run = folder
    mistakes = [
        (place, word)
        for number, place in enumerate(places(name, LEAVES[name]))
        for word in WORDS[number % SHARE :: SHARE]
    ]
    for place, word in mistakes:
        if name == "lmflow runs tail" and not word:
            continue  # all runs: it goes on until it is stopped
        if name == "lmflow models pull":
            continue  # each word would start pip
        words = put(base(name, run), place, word)
        check(words, invoke(here, words))


@pytest.mark.parametrize("name", LEAVES)
def test_missing_words_are_one_line(folder: tuple[Path, str], name: str) -> None:
    """A command without its arguments, or with only some of them, says which one is missing."""
    here, run = folder
    words = base(name, run)
    for count in range(len(name.split()) - 1, len(words)):
        if name in {"lmflow runs tail", "lmflow otlp"}:
            continue  # they go on until they are stopped
        cut = words[:count]
        if name == "lmflow serve" and "--openapi" not in cut:
            cut = [*cut, "--openapi"]
        check(cut, invoke(here, cut))
