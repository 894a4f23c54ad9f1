"""The laws of a store as MCP tools: eight that read, whose answers are bounded and paged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import lmflow as lf

mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")
tools = pytest.importorskip("lmflow.serve.mcp_tools", reason="the extra mcp is not installed")
from lmflow.cli.actions.store_tools import store_tools  # noqa: E402 - needs the extra

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
NAMES = ["runs", "trace", "diff", "why", "what_if", "search", "status", "compare"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[lf.SqliteStore]:
    """A store with a run, two evaluations and a hostile answer."""
    rows = [lf.Record({"question": str(n), "answer": "tea"}) for n in range(3)]
    metric = lf.exact_match("answer")
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(
            lf.scripted(lambda _: "tea\x1b]0;pwned\x07 " + "x" * 40_000), store
        ) as ex:
            await ex.run(ANSWER(question="long"))
        async with lf.Executor(lf.scripted(lambda _: "tea"), store) as ex:
            await ex.evaluate(ANSWER, rows, metric)
            await ex.evaluate(
                ANSWER,
                rows,
                metric,
                version=lf.Version(params=ANSWER.defaults).put({"answer.instruction": "Say tea."}),
            )
        lf.commit(store, "prod", lf.Version(params=ANSWER.defaults))
        yield store


@contextlib.asynccontextmanager
async def client(store: lf.SqliteStore) -> AsyncIterator[Any]:
    """A client of the tools, in this process."""
    programs = {"app:answer": ANSWER}
    async with mcp.Client(tools.tools_server("store", store_tools(store.name, programs))) as found:
        yield found


def digest(store: lf.SqliteStore) -> str:
    """The hash of a store's file."""
    return hashlib.sha256(Path(store.name).read_bytes()).hexdigest()


async def text(asked: Any, name: str, **arguments: Any) -> str:
    """The answer of a tool."""
    result = await asked.call_tool(name, arguments)
    assert not result.is_error, result.content[0].text
    found: str = result.content[0].text
    return found


async def test_there_are_eight_tools_that_read(store: lf.SqliteStore) -> None:
    """Each tool says that it only reads, and the file stays as it was, byte for byte."""
    before = digest(store)
    runs = [run.id for run in store.runs()]
    trace = store.run(runs[0]).traces[0].id
    async with client(store) as asked:
        listed = (await asked.list_tools()).tools
        assert NAMES == [tool.name for tool in listed]
        assert all(tool.annotations.read_only_hint for tool in listed)
        assert runs[0] in await text(asked, "runs")
        assert "answer[0]" in await text(asked, "trace", trace=trace)
        assert "no difference" in await text(asked, "diff", a="prod", b="prod")
        assert trace in await text(asked, "why", trace=trace)
        assert '"reused"' in await text(asked, "what_if", trace=trace, version="prod")
        assert "tea" in await text(asked, "search", words="tea")
        assert "prod" in await text(asked, "status")
        assert "verdict" in await text(asked, "compare", a=runs[1], b=runs[0])
    assert before == digest(store)


async def test_a_long_answer_is_read_page_by_page(store: lf.SqliteStore) -> None:
    """Pages are bounded, have all of the answer, and nothing that controls a terminal."""
    trace = store.run(store.runs()[-1].id).traces[0].id
    pages, offset = [], 0
    async with client(store) as asked:
        while True:
            page = await text(asked, "trace", trace=trace, messages=True, offset=offset)
            pages.append(page)
            assert len(page) <= tools.PAGE + 100
            if "call again with offset=" not in page:
                break
            offset = int(page.rpartition("offset=")[2])
    assert len(pages) >= 3
    assert "x" * 10_000 in pages[1]
    assert "\x1b" not in "".join(pages)
    assert "\x07" not in "".join(pages)


async def test_lists_are_paged(store: lf.SqliteStore) -> None:
    """A list names the run after which the next page begins."""
    async with client(store) as asked:
        seen, before = list[str](), dict[str, Any]()
        while before is not None:
            page = json.loads(await text(asked, "runs", limit=1, **before))
            seen += [run["id"] for run in page["runs"]]
            before = page["more"]
    assert [run.id for run in store.runs()] == seen


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("trace", {}, "needs `trace`"),
        ("trace", {"trace": 3}, "string"),
        ("trace", {"trace": "nothing"}, "nothing"),
        ("trace", {"trase": "x"}, "Did you mean 'trace'"),
        ("runs", {"limit": 1000}, "integer"),
        ("runs", {"where": ["color=red"]}, "color"),
        ("runs", {"where": "kind=run"}, "array"),
        ("runs", {"offset": -1}, "offset"),
        ("search", {"words": " "}, "empty"),
        ("diff", {"a": "prod", "b": "none"}, "none"),
        ("compare", {"a": "last", "b": "nope"}, "nope"),
    ],
)
async def test_mistakes_are_the_tools(
    store: lf.SqliteStore, name: str, arguments: dict[str, Any], words: str
) -> None:
    """A wrong argument is an error in words that the calling model may act on."""
    async with client(store) as asked:
        result = await asked.call_tool(name, arguments)
    assert result.is_error
    assert words in result.content[0].text


async def test_no_other_code_is_loaded(store: lf.SqliteStore) -> None:
    """A what-if of a program that the server wasn't started with is refused."""
    trace = store.run(store.runs()[0].id).traces[0].id
    async with mcp.Client(tools.tools_server("store", store_tools(store.name, {}))) as asked:
        result = await asked.call_tool("what_if", {"trace": trace, "version": "prod"})
    assert result.is_error
    assert "lmflow mcp store MODULE:PROGRAM" in result.content[0].text


async def test_over_stdio(store: lf.SqliteStore) -> None:
    """The command serves the tools as a host starts it."""
    command = [
        sys.executable,
        "-c",
        "from lmflow.cli.main import main; main()",
        "mcp",
        "store",
        "--store",
        store.name,
    ]
    parameters = mcp.StdioServerParameters(command=command[0], args=command[1:])
    async with mcp.Client(mcp.stdio_client(parameters)) as asked:
        assert "prod" in await text(asked, "status")
