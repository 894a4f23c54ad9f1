"""Programs that are served in tests: an application on the loopback, and clients that ask it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import attrs
from aiohttp import web

import lmflow as lf
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, ModelRequest
from lmflow.models.base import Http, Send

JSON = {"Content-Type": "application/json"}
EVENTS = {**JSON, "Accept": "text/event-stream"}


@attrs.frozen
class Got:
    """What a client got."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The events of a stream, comments left out."""
        found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", self.text)
        return [(name, json.loads(data)) for name, data in found]


@attrs.define
class Client:
    """Asks one server."""

    url: str
    session: aiohttp.ClientSession

    async def ask(
        self,
        inputs: Any = None,
        path: str = "/run",
        *,
        method: str = "POST",
        data: Any = None,
        **headers: str,
    ) -> Got:
        """What it answers to inputs, or to raw ``data``; headers by their names with ``_``."""
        named = {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
        body = data if data is not None else None if inputs is None else json.dumps(inputs).encode()
        async with self.session.request(method, self.url + path, data=body, headers=named) as got:
            return Got(got.status, dict(got.headers), await got.text())

    async def get(self, path: str, **headers: str) -> Got:
        """What is at a path."""
        return await self.ask(path=path, method="GET", **headers)

    async def streamed(self, inputs: Any, **headers: str) -> Got:
        """What it answers as events."""
        return await self.ask(inputs, Accept="text/event-stream", **headers)


@contextlib.asynccontextmanager
async def served(application: web.Application) -> AsyncIterator[Client]:
    """A client of an application that is served while the block lasts."""
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            yield Client(f"http://127.0.0.1:{runner.addresses[0][1]}", session)
    finally:
        await runner.cleanup()


@attrs.define(eq=False)
class Held:
    """A model that answers with the last word that it is asked, each call when it is let go (at
    once where ``free``).

    ``shown`` is what it shows before.
    """

    free: bool = False
    shown: str = ""
    name: str = "held/model"
    endpoint: str = "held"
    open: int = 0
    most: int = 0
    stopped: int = 0
    asked: asyncio.Event = attrs.field(factory=asyncio.Event)
    let: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The last word."""
        assert isinstance(request, ChatRequest)
        word = request.messages[-1].content.split()[-1]

        async def exchange(http: Http) -> ChatReply:
            self.open += 1
            self.most = max(self.most, self.open)
            self.asked.set()
            try:
                if self.shown and http.hear:
                    http.hear(self.shown)
                if not self.free:
                    await self.let.wait()
            except asyncio.CancelledError:
                self.stopped += 1
                raise
            finally:
                self.open -= 1
            return ChatReply(
                self.shown + word, chunks=(len(self.shown), len(word)) if self.shown else ()
            )

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do."""


async def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - whatever it is, it tells nobody
            await asyncio.sleep(0.01)


@attrs.define
class Process:
    """A server that was started by its command."""

    process: subprocess.Popen[str]
    started: Any

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self.started.get("address") or self.started["url"])

    def line(self) -> Any:
        """The next line that it says."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to stop; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


@contextlib.contextmanager
def command(*words: str, folder: Path, verb: str = "serve", **env: str) -> Iterator[Process]:
    """A command that serves, started and listening, in a folder while the block lasts."""
    line = [
        sys.executable,
        "-c",
        "from lmflow.cli.main import main; main()",
        verb,
        *words,
        "--port",
        "0",
        "--json",
    ]
    with subprocess.Popen(
        line,
        cwd=folder,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            text = process.stdout.readline()
            assert text, process.stderr and process.stderr.read()
            yield Process(process, json.loads(text))
        finally:
            process.kill()


def echo(request: ChatRequest) -> str:
    """The last word of what is asked."""
    return request.messages[-1].content.split()[-1]


ANSWER = lf.predict("answer", "question -> answer", "Answer.")
SLOW = """
import pathlib, time
import lmflow as lf

def wait(text: str) -> str:
    pathlib.Path("began").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    return text

slow = lf.tool("slow", "text -> answer: str", wait)
"""


def appeared(path: Path) -> None:
    """Wait until a file is there."""
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)
