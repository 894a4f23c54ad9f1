"""The law of extras: what a program needs is looked for before its first call is paid."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import LmflowError, ModelUnavailable, SandboxUnavailable, ToolsUnavailable
from lmflow.library.agents.mcp_connection import Connection, McpServer
from lmflow.library.agents.mcp_tools import offline
from lmflow.messages.requests import ChatRequest
from lmflow.optimizers.opro import opro

THINK = lf.predict("think", "question -> thought", "Think.")
CODE = lf.program_of_thought("thought -> answer")
AGENT = lf.react("question -> answer", [lf.run_python()])
LONG = lf.rlm("question -> answer")
TOOL = offline(
    [{"name": "t", "identity": "mcp:s/t:1", "description": "", "parameters": {}, "mode": "live"}]
)
ROWS = [{"question": "1 + 1?", "answer": "2"}]
OTHERS = [{"question": "2 + 2?", "answer": "4"}]
DATA = lf.Data(train=lf.Dataset("rows", ROWS), select=lf.Dataset("others", OTHERS))

# Each shipped program that needs an extra, alone and behind a step that would be paid first.
PROGRAMS: dict[str, Any] = {
    "program_of_thought": lf.program_of_thought("question -> answer"),
    "program_of_thought_with_tools": lf.program_of_thought("question -> answer", tools=[THINK]),
    "rlm": LONG,
    "react_with_run_python": AGENT,
    "behind_a_step": THINK >> CODE,
    "sampled": lf.best_of_n(THINK >> CODE, lambda *_: 1, n=2, version="1"),
    "named": (THINK >> CODE).named("deep"),
}


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the package of the sandbox."""
    version = importlib.metadata.version

    def missing(name: str) -> str:
        if name == "pydantic-monty":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)


@pytest.fixture
def calls() -> list[ChatRequest]:
    """The requests that reached the model."""
    return []


@pytest.fixture
def model(calls: list[ChatRequest]) -> Any:
    """A model that notes what is asked of it."""

    def reply(request: ChatRequest) -> str:
        calls.append(request)
        return "print(2)"

    return lf.scripted(reply)


def search(program: Any) -> Any:
    """An optimizer that asks its proposer before anything else."""
    return opro(next(iter(program.predictors)), steps=1, breadth=1)


RUNS: dict[str, Callable[[lf.Executor, Any], Any]] = {
    "run": lambda ex, program: ex.run(program, question="1 + 1?"),
    "map": lambda ex, program: ex.map(program, ROWS),
    "evaluate": lambda ex, program: ex.evaluate(program, DATA.train, lf.exact_match("answer")),
    "optimize": lambda ex, program: ex.optimize(
        search(program), program, DATA, lf.exact_match("answer")
    ),
}


@pytest.mark.usefixtures("hidden")
@pytest.mark.parametrize("run", sorted(RUNS))
@pytest.mark.parametrize("name", sorted(PROGRAMS))
async def test_a_missing_extra_is_named_before_the_first_call(
    name: str, run: str, model: Any, calls: list[ChatRequest]
) -> None:
    """The error says which package is missing and how to install it, and nothing was sent."""
    async with lf.Executor(model) as ex:
        with pytest.raises(SandboxUnavailable, match=r"pydantic-monty.*lmflow-dsl\[code\]"):
            await RUNS[run](ex, PROGRAMS[name])
    assert [] == calls


JUDGED: dict[str, Callable[[lf.Executor, Any, Any], Any]] = {
    "evaluate": lambda ex, step, judge: ex.evaluate(step, DATA.train, judge),
    "optimize": lambda ex, step, judge: ex.optimize(search(step), step, DATA, judge),
}


@pytest.mark.usefixtures("hidden")
@pytest.mark.parametrize("run", sorted(JUDGED))
async def test_a_judge_that_needs_an_extra_is_looked_at_first(
    run: str, model: Any, calls: list[ChatRequest]
) -> None:
    """No run is paid that nobody could score."""
    judge = lf.Judge(
        lf.program_of_thought("answer -> score: float"), reads={"answer": "outputs.answer"}
    )
    step = lf.predict("answer", "question -> answer", "Answer.")
    async with lf.Executor(model) as ex:
        with pytest.raises(SandboxUnavailable):
            await JUDGED[run](ex, step, judge)
    assert [] == calls


async def test_tools_without_a_server_are_refused_before_the_first_call(
    model: Any, calls: list[ChatRequest]
) -> None:
    """An agent whose tools are kept for replays alone is not run at its owner's cost."""
    async with lf.Executor(model) as ex:
        with pytest.raises(ToolsUnavailable, match="no server behind"):
            await ex.run(lf.react("question -> answer", TOOL), question="?")
    assert [] == calls


NAMING: dict[str, Any] = {
    "cascade": lf.cascade(THINK, ["", "nobody/knows"], lambda *_: False, version="1"),
    "ensemble": lf.ensemble(
        THINK, [lf.init(THINK), lf.init(THINK).put({"think.model": "nobody/knows"})]
    ),
}
NAMING["nested"] = lf.self_consistency(NAMING["cascade"], n=3).named("deep")


@pytest.mark.parametrize("name", sorted(NAMING))
async def test_models_that_a_program_names_are_looked_up_before_the_first_call(
    name: str, model: Any, calls: list[ChatRequest]
) -> None:
    """A model that can't be used is named before another one is paid."""
    async with lf.Executor(model) as ex:
        with pytest.raises(ModelUnavailable, match="nobody/knows"):
            await ex.run(NAMING[name], question="?")
    assert [] == calls


async def test_the_extra_mcp_is_looked_for_before_a_server_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error names the extra."""
    monkeypatch.setitem(__import__("sys").modules, "mcp", None)
    with pytest.raises(ToolsUnavailable, match=r"lmflow-dsl\[mcp\]"):
        McpServer(["no-such-command"]).check_extra()
    connection = Connection(McpServer(["no-such-command"]), 5.0)
    with pytest.raises(LmflowError, match=r"lmflow-dsl\[mcp\]"):
        await connection.listing()
    await connection.close()


async def test_recordings_need_no_extra(monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    """A run that was recorded with the extra replays without it, exactly and as a what-if."""
    pytest.importorskip("pydantic_monty", reason="the extra code is not installed")
    async with lf.Executor(model, lf.MemoryStore()) as ex:
        trace = await ex.run(LONG, question="1 + 1?")
        run = await ex.map(LONG, ROWS)
        monkeypatch.setattr(importlib.metadata, "version", _missing)
        assert trace.root == lf.replay(trace, LONG).root
        assert run.root == (await ex.replay(run, LONG)).root


def _missing(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)
