"""The laws of parts of the user's modules on the command line: adapters and optimizers by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import lmflow as lf
from lmflow.cli.main import main

APP = '''
import lmflow as lf

answer = lf.predict("answer", "question -> answer, n: int", "Answer.")

def form(signature):
    return "Reply as name=value lines: " + ", ".join(field.name for field in signature.outputs)

def write(signature, outputs):
    return "\\n".join(f"{name}={lf.text_for_model(value)}" for name, value in outputs.items())

def read(signature, text, whole):
    pairs = (line.partition("=") for line in text.split("\\n"))
    return lf.read_texts(signature, {name: value for name, equals, value in pairs if equals}, whole=whole)

pairs = lf.Adapter("pairs", form, answer=write, read=read)

@lf.staged(bound=lambda program, data, tries, seed: tries * len(data.select), parts=["select"])
def numbered(task, *, tries: int = 2, seed: int = 0):
    """Try numbers."""
    best = lf.Best(task.version)
    for n in range(tries):
        candidate = task.version.put({"answer.instruction": f"Answer {n}."}, note=f"try {n}")
        _, best = yield from lf.score_candidate(task, candidate, f"try[{n}]", best)
    return best.version

ready = numbered(tries=1)

def not_one():
    return 3

def bare(task):
    yield from ()
'''
NAME = "own_parts_app"
ROWS = '{"question": "a?", "answer": "yes"}\n{"question": "b?", "answer": "no"}\n'
ADAPTER = ["--adapter", f"own/*={NAME}:pairs"]
MODEL = ["--model", "own/model"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an app, data, and a model under the name ``own/model``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{NAME}.py").write_text(APP)
    (tmp_path / "rows.jsonl").write_text(ROWS)
    (tmp_path / "more.jsonl").write_text('{"question": "c?", "answer": "yes"}\n')
    model = lf.scripted(lambda _: "answer=yes\nn=3", name="own/model")
    monkeypatch.setattr("lmflow.execution.models.model_in", lambda *_: model)
    yield tmp_path
    sys.modules.pop(NAME, None)


def _lmflow(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, [*words])
    assert code == result.exit_code, result.output
    return result.output


def test_a_run_with_an_adapter_of_one_s_own_replays() -> None:
    """It is named MODULE:NAME; a replay finds it beside the program by what is recorded."""
    run = ["run", f"{NAME}:answer", "--set", "question=why?", *MODEL, *ADAPTER]
    assert "answer: yes" in _lmflow(*run)
    assert "identical" in _lmflow("replay", "last")
    assert "1 same" in _lmflow("replay", "last", "--report")
    version = ["replay", "last", "--version", "main"]
    assert "main" in _lmflow(*version, code=1)  # no such ref: the error names it


def test_an_evaluation_with_it_replays() -> None:
    """Its specification names the adapter as it was written."""
    words = ["--data", "rows.jsonl", "--metric", "exact_match:answer", *MODEL, *ADAPTER]
    assert "exact_match 0.500" in _lmflow("eval", f"{NAME}:answer", *words)
    assert "identical" in _lmflow("replay", "last")


def test_render_shows_what_it_asks() -> None:
    """Before anything is sent."""
    shown = _lmflow("render", f"{NAME}:answer", "--set", "question=?", *MODEL, *ADAPTER)
    assert "Reply as name=value lines: answer, n" in shown


@pytest.mark.parametrize("optimizer", [f"{NAME}:numbered", f"{NAME}:ready"])
def test_an_optimizer_of_one_s_own_runs_and_replays(optimizer: str) -> None:
    """By its factory, whose options are texts, or made already; its run replays offline."""
    words = ["--train", "rows.jsonl", "--select", "more.jsonl", "--metric", "exact_match:answer"]
    options = ["--option", "tries=3"] if optimizer.endswith("numbered") else []
    optimize = ["optimize", f"{NAME}:answer", "--optimizer", optimizer, *options, *words]
    output = _lmflow(*optimize, *MODEL, *ADAPTER)
    assert "numbered: try 0" in output
    assert "identical" in _lmflow("replay", "last")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--optimizer", f"{NAME}:nope"], f"{NAME} has no optimizer 'nope'"),
        (["--optimizer", f"{NAME}:not_one"], "gave a int, not an optimizer"),
        (["--optimizer", f"{NAME}:ready", "--option", "tries=3"], "is made already"),
        (["--optimizer", f"{NAME}:numbered", "--option", "trys=3"], "Did you mean 'tries'"),
        (["--adapter", f"own/*={NAME}:nope"], f"{NAME} has no adapter 'nope'"),
        (["--adapter", "own/*=jsn"], "Did you mean 'json'"),
    ],
)
def test_a_part_that_is_none_is_named(words: list[str], problem: str) -> None:
    """A misspelt name, a value of another kind and an option too many say so in a line."""
    data = ["--train", "rows.jsonl", "--select", "more.jsonl", "--metric", "exact_match:answer"]
    optimizer = [] if "--optimizer" in words else ["--optimizer", f"{NAME}:ready"]
    output = _lmflow("optimize", f"{NAME}:answer", *data, *MODEL, *optimizer, *words, code=1)
    assert problem in output


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bare", "is a bare generator. Write `@lf.staged()` above it."),
        ("answer", f"'answer' in {NAME} is of the type Predict, no optimizer."),
    ],
)
def test_what_is_no_optimizer_says_what_it_is(name: str, words: str) -> None:
    """A generator without its decorator, or a program, is named with what it is."""
    files = ["--train", "more.jsonl", "--select", "rows.jsonl"]
    words_of_command = [
        "optimize",
        f"{NAME}:answer",
        *files,
        "--metric",
        "exact_match:answer",
        *MODEL,
    ]
    assert words in _lmflow(*words_of_command, "--optimizer", f"{NAME}:{name}", code=1)
