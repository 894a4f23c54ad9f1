"""The laws of tools of MCP servers: listed, typed, asked through the executor's door, and let go
of.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import asks, native
from paths import ROOT

import lmflow as lf
from lmflow.errors import StepTimeout, ToolFailed, ToolsUnavailable, WrongType
from lmflow.library.agents.mcp_connection import McpError, result_value
from lmflow.library.agents.mcp_tools import ToolsSkipped, listing_of, offline, tools_of
from lmflow.programs.tool import Tool
from lmflow.signatures.from_json_schema import valid_names

SERVER = ROOT / "tests" / "support" / "mcp_server.py"
COMMAND = [sys.executable, str(SERVER)]
LISTING = [
    {
        "name": "search-Notes",
        "description": "Find notes.",
        "inputSchema": {"properties": {"q": {"type": "string"}}},
    },
    {"name": "search.notes", "inputSchema": {}},
]


async def echo(tool: str, arguments: dict[str, Any]) -> Any:
    """What was asked."""
    return [tool, arguments]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The real server at a port of the loopback, for as long as the module's tests run."""
    pytest.importorskip("mcp.server.mcpserver", reason="the extra mcp is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([*COMMAND, str(port)], stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        try:
            while "running on" not in (line := child.stderr.readline()):
                assert line
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            child.kill()


@contextlib.asynccontextmanager
async def connected(
    server: Any, store: Any = None, **options: Any
) -> AsyncIterator[tuple[dict[str, Tool], lf.Executor]]:
    """The real server's tools by name, and an executor."""
    async with lf.mcp_tools(server, **options) as tools, lf.Executor(lf.scripted([]), store) as ex:
        yield {tool.name: tool for tool in tools}, ex


@pytest.fixture
def command() -> list[str]:
    """The real server as a command."""
    pytest.importorskip("mcp.server.mcpserver", reason="the extra mcp is not installed")
    return COMMAND


async def test_a_server_offers_its_tools(url: str) -> None:
    """Each tool of a server is one here: named as lmflow names, described and typed as the server
    says, and live.
    """
    async with connected(url) as (tools, _):
        assert ["add", "search_notes", "fail", "person", "tell", "leave"] == list(tools)
        search = tools["search_notes"]
        assert "query_text, max_results: int = 2, tag: str | None = null -> result: Any" == str(
            search.signature
        )
        assert ("Find notes.", "live") == (search.description, search.mode)
        assert search.parameters is not None
        assert ("query_text",) == search.parameters.required


async def test_calls_are_asked_under_the_servers_names(url: str) -> None:
    """Arguments go out under the server's names, those left out aren't sent, and structured results
    come back.
    """
    async with connected(url) as (tools, ex):
        traces = [
            await ex.run(tools["add"], a=1, b=2),
            await ex.run(tools["search_notes"], query_text="tea", max_results=1, tag="!"),
            await ex.run(tools["person"], name="Ada"),
        ]
    found = [trace.outputs.result for trace in traces if trace.outputs]
    assert [3, ("tea 0!",), lf.Record(name="Ada", born=1815)] == found


async def test_inputs_are_checked_before_they_are_sent(url: str) -> None:
    """A value that doesn't fit the server's schema is refused here."""
    async with connected(url, only=["add"]) as (tools, ex):
        with pytest.raises(WrongType):
            await ex.run(tools["add"], a="one", b=2)


async def test_a_tools_failure_is_recorded(url: str) -> None:
    """What a tool says of its failure is a failed tool."""
    async with connected(url) as (tools, ex):
        with pytest.raises(ToolFailed) as caught:
            await ex.run(tools["fail"], text="x")
    assert "McpError" == caught.value.kind


async def test_calls_side_by_side_are_not_mixed(url: str) -> None:
    """Of many calls at once each gets its own result."""
    async with connected(url, only=["add"]) as (tools, ex):
        run = await ex.map(tools["add"], [{"a": n, "b": n} for n in range(40)])
    assert [2 * n for n in range(40)] == [trace.outputs.result for trace in run if trace.outputs]


async def test_an_agent_uses_them_and_replays_without_the_server(url: str) -> None:
    """An agent's calls of a server are recorded: a replay is exact after the server has gone."""
    async with connected(url, only=["add"]) as (tools, _):
        agent = lf.react("question -> answer", tools.values())
        calls = iter([native(("add", {"a": 20, "b": 22})), native(text="42")])
        async with lf.Executor(
            lf.scripted(lambda request: next(calls) if asks(request) else "42")
        ) as ex:
            trace = await ex.run(agent, question="20 + 22?")
    assert trace.outputs is not None
    assert 42 == trace.outputs.trajectory[0].observations[0].value
    assert trace.root == lf.replay(trace, agent).root


async def test_tools_can_be_kept_for_replays(url: str) -> None:
    """Tools that were kept as JSON have the same keys without a server: recordings replay, new
    calls are refused.
    """
    async with connected(url) as (tools, ex):
        agent = lf.react("question -> answer", tools.values())
        trace = await ex.run(tools["search_notes"], query_text="tea")
        kept = json.loads(json.dumps(listing_of(tools.values())))
    again = offline(kept)
    assert agent.key == lf.react("question -> answer", again).key
    assert trace.root == lf.replay(trace, again[1]).root
    async with lf.Executor(lf.scripted([])) as ex:
        with pytest.raises(ToolsUnavailable, match="no server behind"):
            await ex.run(again[1], query_text="tea")


async def test_a_closed_connection_says_so(url: str) -> None:
    """A tool that outlives its block is refused with the line that mends it."""
    async with connected(url, only=["add"]) as (tools, _):
        pass
    async with lf.Executor(lf.scripted([])) as ex:
        with pytest.raises(ToolsUnavailable, match=r"inside `async with lf\.mcp_tools"):
            await ex.run(tools["add"], a=1, b=2)


async def test_a_command_is_started_and_ended(command: list[str], tmp_path: Path) -> None:
    """A command serves over its standard input and output; no process stays behind, also where the
    block fails, and what the block failed with is what comes out.
    """
    script = (
        f"import os, pathlib; pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()));"
    )
    script += f"exec(open({str(SERVER)!r}).read())"

    async def used() -> None:
        async with connected([command[0], "-c", script]) as (tools, ex):
            assert lf.Record(result=3) == (await ex.run(tools["add"], a=1, b=2)).outputs
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await used()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("url", {"headers": {"Authorization": "Bearer sk-canary-1234"}}),
        ("command", {"env": {"NOTES_KEY": "sk-canary-1234", "LANG": "the key"}}),
    ],
)
async def test_secrets_are_masked(place: str, options: Any, url: str, tmp_path: Path) -> None:
    """What a server was told in confidence and says again is neither in its result nor in the
    store.
    """
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with connected(url if place == "url" else COMMAND, store, **options) as (tools, ex):
            trace = await ex.run(tools["tell"])
    assert lf.Record(result="the key is ***") == trace.outputs
    assert b"sk-canary" not in (tmp_path / "s.db").read_bytes()


async def test_a_server_that_ends_is_a_failed_tool(command: list[str]) -> None:
    """Where the server went away its tools fail, and the block ends as it would."""
    async with connected(command) as (tools, ex):
        calls: list[tuple[str, dict[str, Any]]] = [("leave", {}), ("add", {"a": 1, "b": 2})]
        for name, inputs in calls:
            with pytest.raises(ToolFailed) as caught:
                await ex.run(tools[name], **inputs)
            assert "McpError" == caught.value.kind


async def test_modes_and_names_can_be_chosen(url: str) -> None:
    """A mode for one tool, a prefix for all, another name in the identities."""
    async with connected(url, mode={"add": "pure"}, prefix="my_", name="mine") as (tools, _):
        assert ("pure", "live") == (tools["my_add"].mode, tools["my_person"].mode)
        assert tools["my_add"].function.identity.startswith("mcp:mine/add:v1:b2:")


async def test_a_tool_that_is_not_there_is_named(url: str) -> None:
    """Of tools that were asked for by a wrong name the near one is suggested."""
    with pytest.raises(ToolsUnavailable, match=r"no tool 'ad'.*Did you mean 'add'"):
        async with connected(url, only=["ad"]):
            pass


async def test_the_time_of_a_call_is_bounded(url: str) -> None:
    """A call has a minute by default, and what is too late is a recorded timeout."""

    async def never(tool: str, arguments: dict[str, Any]) -> Any:
        del tool, arguments
        await asyncio.Event().wait()

    tool = tools_of("s", LISTING, never, timeout=0.01)[0]
    async with lf.Executor(lf.scripted([])) as ex:
        with pytest.raises(StepTimeout):
            await ex.run(tool, q="x")
    async with connected(url, only=["add"]) as (tools, _):
        assert 60.0 == tools["add"].timeout


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (["no-such-command-here"], "FileNotFoundError"),
        ([sys.executable, "-c", "raise SystemExit('boom')"], "It says:\n  boom"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "no connection after"),
        ([], "there is no command"),
        ("http://127.0.0.1:9/mcp", "ConnectError"),
        ("python server.py", "doesn't begin a URL"),
        ("http://user:secret@127.0.0.1/mcp", "holds a user or password"),
    ],
)
async def test_no_connection_is_one_error(server: Any, words: str) -> None:
    """Whatever keeps a server from being asked is a ``ToolsUnavailable`` with its reason, and no
    secret in it.
    """
    pytest.importorskip("mcp.server.mcpserver", reason="the extra mcp is not installed")
    with pytest.raises(ToolsUnavailable) as caught:
        async with lf.mcp_tools(server, starting=1.0 if "sleep" in str(server) else 30.0):
            pass
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_names_stay_apart() -> None:
    """Two of the server's names that are one here stay two tools, each asked under its own name."""
    tools = tools_of("s", LISTING, echo)
    assert ["search_notes", "search_notes_2"] == [tool.name for tool in tools]
    async with lf.Executor(lf.scripted([])) as ex:
        said = [
            (await ex.run(tool, **inputs)).outputs
            for tool, inputs in zip(tools, [{"q": "x"}, {}], strict=True)
        ]
    assert [("search-Notes", lf.Record(q="x")), ("search.notes", lf.Record())] == [
        tuple(it.result) for it in said if it
    ]


def test_an_identity_is_server_tool_and_schema() -> None:
    """A tool is the same while server, name and schema are; its description is no part of it."""
    one = tools_of("s", LISTING, echo)
    again = tools_of("s", [{**LISTING[0], "description": "Other."}, LISTING[1]], echo)
    other = tools_of(
        "s", [{**LISTING[0], "inputSchema": {"properties": {"q": {}}}}, LISTING[1]], echo
    )
    assert one[0].key == again[0].key
    assert one[0].key != other[0].key
    assert one[0].key != tools_of("t", LISTING, echo)[0].key


@pytest.mark.parametrize(
    ("result", "value"),
    [
        ({"content": [{"type": "text", "text": "3"}], "structuredContent": {"result": 3}}, 3),
        ({"content": [], "structuredContent": {"a": 1, "result": 2}}, {"a": 1, "result": 2}),
        ({"content": [], "structuredContent": [1]}, [1]),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"content": []}, ""),
        ({"content": [{"type": "image", "data": "eA=="}]}, [{"type": "image", "data": "eA=="}]),
    ],
)
def test_what_a_result_holds(result: dict[str, Any], value: Any) -> None:
    """Structured content counts first, then texts, then the parts as they are."""
    assert value == result_value(result)


@pytest.mark.parametrize("content", [[{"type": "text", "text": "no"}], []])
def test_a_result_that_is_an_error_is_raised(content: list[Any]) -> None:
    """A tool that says it failed has failed, in its own words where it has some."""
    with pytest.raises(McpError, match=r"no\b|doesn't say"):
        result_value({"isError": True, "content": content})


GOOD: dict[str, Any] = {
    "name": "good",
    "inputSchema": {"type": "object", "properties": {"q": {"type": "string"}}},
}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"name": "bad", "inputSchema": True}, "'bad' (TypeError: its schema is not an object"),
        ({"name": "bad", "inputSchema": ["x"]}, "'bad' (TypeError"),
        ({"name": "bad", "inputSchema": {"properties": 3}}, "'bad' ("),
        ({"name": "bad", "inputSchema": {"default": float("nan")}}, "'bad' ("),
        ({"name": "bad", "inputSchema": {"required": 3}}, "'bad' ("),
        ({"name": "", "inputSchema": {}}, "'' (ValueError: it has no name"),
        ({"name": None, "inputSchema": {}}, "it has no name"),
        ({"inputSchema": {}}, "it has no name"),
        ("bad", "it has no name"),
        (
            {"name": "good", "inputSchema": {}},
            "'good' (ValueError: the server lists its name twice",
        ),
    ],
)
def test_a_bad_tool_is_left_out_with_a_warning(bad: Any, words: str) -> None:
    """It doesn't cost the server its other tools, and it isn't left out in silence."""
    with pytest.warns(ToolsSkipped) as caught:
        tools = tools_of("s", [GOOD, bad, LISTING[0]], echo)
    assert ["good", "search_notes"] == [tool.name for tool in tools]
    (warning,) = caught
    assert words in str(warning.message)
    with pytest.raises(ToolsUnavailable, match="has tools that can't be offered"):
        tools_of("s", [GOOD, bad], echo, strict=True)


def test_many_bad_tools_are_one_warning() -> None:
    """The first are named, the others counted."""
    bad = [{"name": f"bad-{number}", "inputSchema": True} for number in range(100)]
    with pytest.warns(ToolsSkipped, match=r"bad-19.*; and 80 more") as caught:
        assert 1 == len(tools_of("s", [*bad, GOOD], echo))
    assert 1 == len(caught)


def test_a_wrong_mode_is_no_bad_tool() -> None:
    """A mode that the caller gives wrongly is refused, not a reason to leave a tool out."""
    with pytest.raises(ValueError, match="lives"):
        tools_of("s", [GOOD], echo, mode={"good": "lives"})


def test_five_thousand_tools_are_made_in_seconds() -> None:
    """The names of many tools are told apart in time that grows with their number."""
    listing = [{**GOOD, "name": f"{'aA'[number % 2]}-{number // 7}"} for number in range(5000)]
    began = time.perf_counter()
    names = valid_names(entry["name"] for entry in listing)
    assert time.perf_counter() - began < 2
    assert len(listing) == len(set(names))


async def test_a_server_with_bad_tools_offers_the_others() -> None:
    """Over the wire too: a listing with a tool that the protocol refuses is no broken connection."""
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    place = [sys.executable, str(SERVER.with_name("odd_mcp_server.py"))]
    with pytest.warns(ToolsSkipped) as caught:
        async with connected(place) as (tools, ex):
            trace = await ex.run(tools["without_a_type"], q="x")
    assert ["good", "names_oddly_2", "class_", "without_a_type", "last"] == list(tools)
    (warning,) = caught
    assert all(f"'{name}'" in str(warning.message) for name in ("schema-is-true", "", "good"))
    assert trace.outputs is not None
    assert {"name": "without-a-type", "arguments": {"q": "x"}} == json.loads(trace.outputs.result)


async def test_a_bad_tool_that_is_wanted_is_refused() -> None:
    """A tool of ``only`` must be one that can be offered, and so must all if ``strict``."""
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    place = [sys.executable, str(SERVER.with_name("odd_mcp_server.py"))]
    refusals: list[dict[str, Any]] = [{"only": ["schema-is-true"]}, {"strict": True}]
    for options in refusals:
        with pytest.raises(ToolsUnavailable, match="schema-is-true"):
            async with lf.mcp_tools(place, **options):
                pass
    async with lf.mcp_tools(place, only=["last"]) as tools:
        assert ["last"] == [tool.name for tool in tools]
