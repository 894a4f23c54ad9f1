"""The laws of programs as MCP tools: listed with their schemas, called over stdio by the real
client, recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from commanding import call, done
from serving import ANSWER, SLOW, Held, appeared, echo, until

import lmflow as lf
from lmflow.serve.limits import DEFAULT_LIMITS, Limits
from lmflow.serve.openapi import inputs_of, outputs_of
from lmflow.serve.results import CLIENT_GONE, AccessLog, AccessRecord, no_log
from lmflow.serve.service import Service, make_offers

mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")
tools = pytest.importorskip("lmflow.serve.mcp", reason="the extra mcp is not installed")


@lf.tool
def measure(text: str, times: int = 1) -> int:
    """Prints, which must not be taken for the protocol."""
    print("noise on standard output")  # noqa: T201
    return len(text) * times


broken = lf.tool("broken", "text -> n: int", lambda text: {}[text], version="1")


@lf.flow("text -> measure: int", uses=[measure])
async def documented(text: str) -> lf.Record:
    """How long a text is."""
    found: lf.Record = await measure(text=text)
    return found


COMMAND = [sys.executable, "-c", "from lmflow.cli.main import main; main()", "mcp", "serve"]
CALLING: list[dict[str, Any]] = [
    {
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/call", "params": {"name": "slow", "arguments": {"text": "tea"}}},
]


@contextlib.asynccontextmanager
async def client(
    ex: lf.Executor, version: Any = None, limits: Limits = DEFAULT_LIMITS, tell: AccessLog = no_log
) -> AsyncIterator[Any]:
    """A client of three programs, in this process."""
    programs = {"measure": measure, "broken": broken, "answer": ANSWER}
    service = Service(make_offers(programs, ex, version), limits)
    async with mcp.Client(tools.mcp_server(service, tell)) as found:
        yield found
    service.close()


async def test_a_program_is_a_tool_with_its_schemas() -> None:
    """The list of tools names each program, with the schemas of its signature."""
    async with lf.Executor(lf.scripted(echo)) as ex, client(ex) as asked:
        listed = (await asked.list_tools()).tools
    assert ["measure", "broken", "answer"] == [tool.name for tool in listed]
    assert (inputs_of(measure), outputs_of(measure)) == (
        listed[0].input_schema,
        listed[0].output_schema,
    )


async def test_a_call_gives_the_outputs_of_a_run() -> None:
    """The structured content is what ``ex.run`` gives, and its text says the same in JSON; the ids
    are beside it.
    """
    async with lf.Executor(lf.scripted(echo), store := lf.MemoryStore()) as ex, client(ex) as asked:
        got = await asked.call_tool("answer", {"question": "how long?"})
        run = await ex.run(ANSWER, question="how long?")
    assert (False, dict(run.outputs or {})) == (got.is_error, got.structured_content)
    assert got.structured_content == json.loads(got.content[0].text)
    recorded = store.run(got.meta["lmflow/run"])
    assert ("serve", "done", run.root) == (recorded.kind, recorded.status, recorded.traces[0].root)
    assert [recorded.traces[0].id, lf.init(ANSWER).id] == [
        got.meta[f"lmflow/{name}"] for name in ("trace", "version")
    ]


@pytest.mark.parametrize(
    ("words", "name", "arguments"),
    [
        ("WrongType: measure.text expects str, found 3", "measure", {"text": 3}),
        ("UnknownInput: measure has no input 'txt'; it takes `text`, `times`.", "measure", {"txt": "a"}),
        ("MissingInput: measure needs the input 'text'", "measure", {}),
        ("ToolFailed: the tool 'broken' failed with KeyError.", "broken", {"text": "secret"}),
    ],
)  # fmt: skip
async def test_an_error_is_the_tools(words: str, name: str, arguments: dict[str, Any]) -> None:
    """What is wrong is told as the tool's error, so that the model that called may mend it; nothing
    from outside.
    """
    async with lf.Executor(lf.scripted(echo), store := lf.MemoryStore()) as ex, client(ex) as asked:
        got = await asked.call_tool(name, arguments)
    assert got.is_error
    assert got.content[0].text.startswith(words)
    assert "secret" not in got.content[0].text
    assert [run.status for run in store.runs()] == ["failed"] * (name == "broken")


async def test_an_unknown_tool_is_the_protocols_error() -> None:
    """A tool that isn't there is no tool's error, and near names are told."""
    async with lf.Executor(lf.scripted(echo)) as ex, client(ex) as asked:
        with pytest.raises(mcp.MCPError, match="Did you mean 'answer'"):
            await asked.call_tool("answr", {})


async def test_limits_hold_for_calls() -> None:
    """The budget of a request is that of a call."""
    limits = Limits(budget=lf.Budget(calls=0))
    async with lf.Executor(lf.scripted(echo)) as ex, client(ex, limits=limits) as asked:
        got = await asked.call_tool("answer", {"question": "q"})
    assert (True, "BudgetExceeded") == (got.is_error, got.content[0].text.partition(":")[0])


async def test_a_moved_ref_answers_from_the_next_call_on() -> None:
    """Each call runs under the version that the ref points at when its turn comes."""
    first = lf.init(ANSWER)
    second = first.put({"answer.instruction": "Be brief."})
    async with lf.Executor(lf.scripted(echo), store := lf.MemoryStore()) as ex:
        lf.commit(store, "prod", first)
        async with client(ex, {"answer": "prod"}) as asked:
            seen = [(await asked.call_tool("answer", {"question": "q"})).meta["lmflow/version"]]
            lf.commit(store, "prod", second)
            seen.append((await asked.call_tool("answer", {"question": "q"})).meta["lmflow/version"])
    assert [first.id, second.id] == seen


@pytest.mark.parametrize(
    ("expected", "program"),
    [
        ("Answer.", ANSWER),
        ("How long a text is.", documented),
        ("How long a text is.", documented.named("other")),
        ("Prints, which must not be taken for the protocol.", measure),
        ("broken: text -> n: int", broken),
    ],
)
def test_a_tool_is_described_by_its_author(expected: str, program: lf.Program) -> None:
    """By instruction or docstring where there is one, else by what it makes of what."""
    assert expected == tools.description(program)


async def test_over_stdio_as_a_host_does(here: Path) -> None:
    """The command is started by the real client, which lists, calls and closes; prints don't
    disturb it, and each call is on record and replays offline.
    """
    module = (here / "name").read_text("utf-8")
    with (here / f"{module}.py").open("a", encoding="utf-8") as file:
        file.write(
            "\n@lf.tool\ndef noisy(text: str) -> str:\n    print('noise')\n    return text.upper()\n"
        )
    words = [*COMMAND[1:], f"{module}:noisy", f"{module}:size", "--json"]
    started = mcp.StdioServerParameters(
        command=COMMAND[0], args=words, cwd=str(here), env=dict(os.environ)
    )
    with (here / "said").open("w") as said:
        async with mcp.Client(mcp.stdio_client(started, errlog=said)) as asked:
            assert ["noisy", "size"] == [tool.name for tool in (await asked.list_tools()).tools]
            got = await asked.call_tool("noisy", {"text": "tea"})
            bad = await asked.call_tool("size", {"text": 3})
    assert ({"noisy": "TEA"}, True) == (got.structured_content, bad.is_error)
    assert [("serve", "done", 1)] == [
        (row["kind"], row["status"], row["calls"]) for row in done(here, "runs ls")
    ]
    assert done(here, f"replay {got.meta['lmflow/run']}")["same"]
    lines = [
        json.loads(text)
        for text in (here / "said").read_text("utf-8").splitlines()
        if text.startswith("{")
    ]
    assert [("started", None), ("stopped", 1)] == [
        (row["event"], row.get("answered")) for row in lines
    ]


async def test_a_program_is_a_tool_of_another(here: Path) -> None:
    """What ``lmflow mcp serve`` offers, ``lf.mcp_tools`` takes: a program asks another through the
    protocol.
    """
    module = (here / "name").read_text("utf-8")
    line = [*COMMAND, f"{module}:size", "--json"]
    async with lf.mcp_tools(line, cwd=here, env=dict(os.environ)) as (size,), lf.Executor() as ex:
        found = (await ex.run(size, text="tea")).outputs
    assert {"result": lf.Record(size=3)} == dict(found or {})
    assert [("serve", "size")] == [(row["kind"], row["name"]) for row in done(here, "runs ls")]


async def test_a_call_that_is_given_up_is_stopped() -> None:
    """Where the client gives a call up, its run stops, and is on record as stopped."""
    heard: list[AccessRecord] = []
    async with (
        lf.Executor(model := Held(), store := lf.MemoryStore()) as ex,
        client(ex, tell=heard.append) as asked,
    ):
        call_ = asyncio.create_task(asked.call_tool("answer", {"question": "q"}))
        await model.asked.wait()
        call_.cancel()
        await until(lambda: model.stopped == 1)
        await until(lambda: store.runs()[0].status == "stopped" and bool(heard))
    assert [("call answer", CLIENT_GONE)] == [(told.route, told.status) for told in heard]


@pytest.mark.parametrize(("number", "cut"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (None, 0)])
def test_a_stop_ends_it_well(here: Path, number: int | None, cut: int) -> None:
    """At a signal, and at the end of its input, it ends with exit code 0; what was open is on
    record as stopped.
    """
    (here / "slow_app.py").write_text(SLOW, encoding="utf-8")
    line = [*COMMAND, "slow_app:slow", "--json"]
    with subprocess.Popen(
        line,
        cwd=here,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.writelines(
            f"{json.dumps({'jsonrpc': '2.0', **message})}\n" for message in CALLING
        )
        process.stdin.flush()
        appeared(here / "began")
        if number is None:
            process.stdin.close()
        else:
            process.send_signal(number)
        started, stopped = (json.loads(process.stderr.readline()) for _ in range(2))
        (here / "go").touch()  # its thread can't be stopped
        assert 0 == process.wait(30)
    assert ("started", {"event": "stopped", "answered": 0, "failed": 0, "cut": cut}) == (
        started["event"],
        stopped,
    )
    assert [("serve", "stopped")] == [(row["kind"], row["status"]) for row in done(here, "runs ls")]


def test_the_missing_extra_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the command says what to install."""
    monkeypatch.delitem(sys.modules, "lmflow.serve.mcp")
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    result = call(here, "mcp serve app:size")
    assert (1, True) == (result.exit_code, "pip install 'lmflow-dsl[mcp]'" in result.stderr), (
        result.stderr
    )
