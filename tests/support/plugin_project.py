"""A project of its own for tests of the pytest plugin: an app, its tests, and their recordings."""

from __future__ import annotations

import pytest

PLUGIN = ("-p", "no:lmflow", "-p", "lmflow.cli.pytest_plugin", "-p", "no:cacheprovider")
ASYNC = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")

APP = """
import lmflow as lf

answer = lf.predict("answer", "question -> answer", "{instruction}")

def script(request):
    with open("sent", "a") as file:
        file.write("x")
    return request.messages[-1].content.upper()[-4:]

MODEL = lf.scripted(script)
"""
ONE = """
from app import MODEL, answer

def test_one(lmflow_replay):
    assert lmflow_replay.run(answer, model=MODEL, question="why?").outputs.answer == "WHY?"
"""
MAPPED = """
import pytest
from app import MODEL, answer

@pytest.mark.lmflow_replay
async def test_many(lmflow_replay):
    async with lmflow_replay.executor(MODEL, concurrency=4) as ex:
        run = await ex.map(answer, [{"question": f"is {n}?"} for n in range(5)])
        last = await ex.run(answer, question="last")
    assert [trace.outputs.answer for trace in run] == [f"S {n}?" for n in range(5)]
    assert last.outputs.answer == "LAST"
"""


def plugin_project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Make a project with an app, outside CI."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.syspath_prepend(pytester.path)
    app(pytester)
    return pytester


def app(pytester: pytest.Pytester, instruction: str = "Answer.") -> None:
    """The app with an instruction."""
    pytester.makepyfile(app=APP.format(instruction=instruction))


def ran(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """A run of the project's tests."""
    return pytester.runpytest(*PLUGIN, *ASYNC, *args)


def sent(pytester: pytest.Pytester) -> int:
    """How many calls went to the model so far."""
    file = pytester.path / "sent"
    return len(file.read_text(encoding="utf-8")) if file.exists() else 0


def files(pytester: pytest.Pytester) -> dict[str, bytes]:
    """The recordings."""
    return {
        path.relative_to(pytester.path).as_posix(): path.read_bytes()
        for path in sorted(pytester.path.rglob("*.db*"))
    }
