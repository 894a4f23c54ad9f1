"""An executor in several event loops: one after the other works and leaks nothing, two at once are
refused.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import OtherEventLoop

ANSWER = lf.predict("answer", "question -> reply")


async def serving(answer: Callable[[str], Awaitable[Any]]) -> Any:
    """Call with the base URL of a server that keeps its connections open."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(size)
                body = b'{"choices": [{"finish_reason": "stop", "message": {"content": "yes"}}]}'
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
                )
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        return await answer(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    finally:
        server.close()


@pytest.mark.parametrize("loops", [2, 4])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_one_executor_serves_several_runs(loops: int, concurrency: int, tmp_path: Path) -> None:
    """One ``asyncio.run`` after the other: calls wait for slots, are answered and recorded."""
    step = lf.tool("up", "x -> y", lambda x: x.upper(), version="1")
    rows = [{"x": name} for name in "abcdef"]
    with lf.SqliteStore(tmp_path / "s.db") as store:
        ex = lf.Executor(store=store, concurrency=concurrency)
        for _ in range(loops):
            run = asyncio.run(ex.map(step, rows))
            assert list("ABCDEF") == [trace.outputs.y for trace in run if trace.outputs]
        asyncio.run(ex.aclose())
        assert loops == len([run for run in store.runs() if run.status == "done"])


def test_connections_are_closed_with_their_loop() -> None:
    """A model over HTTP answers in a second loop, though nobody closed the first's connections."""
    kept: list[lf.Executor] = []

    async def ask(url: str) -> str:
        model = lf.model("openai/m", base_url=url, api_key="kkkk", timeout=5)
        kept.append(kept[0] if kept else lf.Executor(Rebased(model)))
        kept[0]._session.connections.models._default.model = model  # type: ignore[union-attr]
        trace = await kept[0].run(ANSWER, question="?")
        assert trace.outputs is not None
        return str(trace.outputs.reply)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert ["yes"] * 3 == [asyncio.run(serving(ask)) for _ in range(3)]
        asyncio.run(kept[0].aclose())
        kept.clear()
        gc.collect()
    assert [] == [str(warning.message) for warning in caught]


class Rebased:
    """A model whose server may be another one in each loop."""

    name = "openai/m"
    endpoint = ""

    def __init__(self, model: Any) -> None:
        self.model = model

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def __call__(self, request: Any, send: Any) -> Any:
        """As the model of this loop."""
        return await self.model(request, send)


def test_two_loops_at_once_are_refused() -> None:
    """The error comes at once and says how; the first loop's calls go on."""
    begun, ended = threading.Event(), threading.Event()

    def wait(x: str) -> str:
        begun.set()
        ended.wait(10)
        return x

    ex = lf.Executor()
    step = lf.tool("wait", "x -> y", wait, version="1")
    first: list[lf.Trace] = []
    thread = threading.Thread(target=lambda: first.append(asyncio.run(ex.run(step, x="a"))))
    thread.start()
    assert begun.wait(10)
    with pytest.raises(
        OtherEventLoop, match=r"which is running. Make one for each loop: async with lf\.Executor"
    ):
        asyncio.run(ex.run(step, x="b"))
    ended.set()
    thread.join(10)
    assert "a" == first[0].outputs.y  # type: ignore[union-attr]
    asyncio.run(ex.aclose())
