"""Programs that are typed at Python's prompt, where no source can be read."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from paths import ROOT

LINES = """
import lmflow as lf
answer = lf.predict("answer", "question -> answer")

@lf.flow(uses=[answer])
async def rag(question: str) -> str:
    return (await answer(question=question)).answer

@lf.metric
def brief(example, outputs):
    return len(outputs.rag) < 10

@lf.tool
def shout(text: str) -> str:
    return text.upper()

trace = lf.run(rag, model=lf.scripted(lambda request: "yes"), question="?")
print("same root", lf.replay(trace, rag).root == trace.root, trace.outputs.rag)
print("flow is", rag.key)
print("tool is", shout.key)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "PYTHON_BASIC_REPL": "1"}


def _typed_at_a_terminal(path: Path) -> str:
    """The screen after the lines were typed at a real prompt, which is a terminal."""
    inside, outside = pty.openpty()
    with path.open("wb+") as screen:
        process = subprocess.Popen(
            [sys.executable, "-i", "-q"], stdin=outside, stdout=screen, stderr=screen,
            env=ENVIRONMENT, start_new_session=True,
        )  # fmt: skip
        os.close(outside)
        os.write(inside, (LINES + "\nexit()\n").encode())
        process.wait(60)
    os.close(inside)
    return path.read_text(encoding="utf-8")


def _read_from_stdin(_: Path) -> str:
    return _output([sys.executable, "-"], LINES)


def _given_as_an_argument(_: Path) -> str:
    return _output([sys.executable, "-c", LINES], "")


def _executed(_: Path) -> str:
    return _output([sys.executable, "-c", f"exec({LINES!r})"], "")


def _output(command: list[str], text: str) -> str:
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=True
    )
    return done.stdout


WAYS = [_typed_at_a_terminal, _read_from_stdin, _given_as_an_argument, _executed]


@pytest.mark.parametrize("way", WAYS)
def test_a_program_typed_at_a_prompt_runs_and_replays(
    way: Callable[[Path], str], tmp_path: Path
) -> None:
    """Flows, metrics and tools work there, and the same lines have the same keys as elsewhere."""
    screen = way(tmp_path / "screen")
    assert "same root True yes" in screen
    assert "flow is v1:b2:" in screen


def test_the_same_lines_are_the_same_program() -> None:
    """Lines without source that are typed again, after others, make programs of the same keys."""
    screens = [_output([sys.executable, "-"], text) for text in (LINES, f"import math\n{LINES}")]
    one, other = ([line for line in screen.splitlines() if " is " in line] for screen in screens)
    assert one == other
    assert 2 == len(one)
