"""``lmflow new``: a project that works as it is written."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from commanding import call, done, endpoint

from lmflow.cli.main import main

REPLY = "[[topic]]\nbug\n[[urgent]]\ntrue"


def _python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_its_tests_pass(here: Path) -> None:
    """The tests of a new project pass at once, with no key, and are at least four."""
    done(here, "new tri-age")
    ran = _python(here / "tri-age", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert 0 == ran.returncode, ran.stdout
    assert "4 passed" in ran.stdout


def test_its_program_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's second command works: the program runs on an endpoint and answers as typed."""
    done(here, "new triage")
    monkeypatch.chdir(here / "triage")
    monkeypatch.setattr(sys, "path", [str(here / "triage"), *sys.path])
    monkeypatch.delitem(sys.modules, "app", raising=False)
    line = "run app:triage --set 'message=It hangs.' --model openai/any --json"
    with endpoint(REPLY) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        result = CliRunner().invoke(main, shlex.split(line))
    sys.modules.pop("app", None)
    assert 0 == result.exit_code, result.output
    assert {"topic": "bug", "urgent": True} == json.loads(result.stdout)["outputs"]


def test_its_data_is_split(here: Path) -> None:
    """Twelve rows to train on and eight to measure on, each with both labels, no id twice."""
    done(here, "new triage")
    rows = [
        [
            json.loads(line)
            for line in (here / "triage" / f"{split}.jsonl").read_text("utf-8").splitlines()
        ]
        for split in ("train", "dev")
    ]
    assert [12, 8] == [len(split) for split in rows]
    assert 20 == len({row["id"] for split in rows for row in split})
    assert {("id", "message", "topic", "urgent")} == {tuple(row) for split in rows for row in split}


def test_its_source_passes_the_linter(here: Path) -> None:
    """What is written is written as well as what is here, if the linter is."""
    pytest.importorskip("ruff")
    done(here, "new triage")
    ran = _python(here / "triage", "-m", "ruff", "check", "--isolated", "--line-length", "120", ".")
    assert 0 == ran.returncode, ran.stdout


def test_an_empty_folder_may_be_named(here: Path) -> None:
    """A folder that is there and empty is filled."""
    (here / "triage").mkdir()
    assert "app.py" in done(here, "new triage")["files"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("full", "nothing was written"),
        ("full/x.txt", "can't be a name"),
        ("2fast", "can't be a name"),
        ("class", "can't be a name"),
        ("a b", "can't be a name"),
        ("../", "can't be a name"),
        ("none/triage", "there is no folder none"),
    ],
)
def test_what_is_there_is_left_alone(here: Path, name: str, words: str) -> None:
    """A folder with something in it, or a name that is none, is refused in one line, and nothing is
    written.
    """
    (here / "full").mkdir()
    (here / "full" / "x.txt").touch()
    before = sorted(here.rglob("*"))
    result = CliRunner().invoke(main, ["new", name])
    assert (1, before) == (result.exit_code, sorted(here.rglob("*")))
    assert words in result.stderr


def test_it_says_what_is_next(here: Path) -> None:
    """A person is told the next command."""
    assert "cd triage && python -m pytest" in call(here, "new triage").stdout
