"""The clients that are compared, each in a process of its own: ``clients.py NAME URL``, where the
name is bare, dspy, or the store that lmflow records in: sqlite, memory, none, or
postgres, whose URL is in LMFLOW_BENCH_POSTGRES.

A line asked is ``{"calls": 1000, "concurrency": 64, "delay": 0, "way": "map"}``, its answer has the
wall seconds and the CPU seconds of all threads, until the last call was acknowledged (``seconds``,
``cpu``) and until the last row is where readers look (``settled_seconds``, ``settled_cpu``), and the
``peak_mb`` of the process.

All ask the same: one predictor, question -> answer, with the same instruction, a new question each
call. All keep what an application keeps: bare aiohttp its session, lmflow its executor and store,
dspy its LM, so that connections are opened once. All look for garbage as seldom as lmflow's
documentation advises for long runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

INSTRUCTION = "Answer the question in a few words."
REPLY = "Two minutes."


class Client(Protocol):
    """Asks a number of questions, so many of them open at once."""

    async def ask(self, calls: int, concurrency: int, delay: int, way: str) -> None:
        """Ask; return once all answers are there, and durable if they are stored."""

    async def settle(self) -> None:
        """Wait until everything that was acknowledged is where readers look."""


class Workers:
    """A client that asks one question at a time in each of its workers."""

    def __init__(self, one: Callable[[str, int], Awaitable[str]]) -> None:
        self._one = one

    async def ask(self, calls: int, concurrency: int, delay: int, way: str) -> None:
        """Ask."""
        del way
        await _workers(calls, concurrency, functools.partial(self._one, delay))

    async def settle(self) -> None:
        """Wait for nothing: nothing is kept."""


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Client]:
    """Only aiohttp: the body is made, sent, the reply read and its text taken; nothing is kept."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(delay: int, question: str) -> str:
            turns = [
                {"role": "system", "content": INSTRUCTION},
                {"role": "user", "content": question},
            ]
            async with session.post(
                f"{_base(url, 'bare', delay)}/chat/completions",
                json={"model": "m", "messages": turns},
            ) as answer:
                text: str = (await answer.json())["choices"][0]["message"]["content"]
                return text

        yield Workers(one)


class Lmflow:
    """lmflow with a store; one executor for each number of open calls, kept for all that is asked."""

    def __init__(self, url: str, store: Any, stack: contextlib.AsyncExitStack) -> None:
        import lmflow as lf

        self._url, self._store, self._stack = url, store, stack
        self._step = lf.predict("answer", "question -> answer", INSTRUCTION)
        self._kept: dict[tuple[int, int], lf.Executor] = {}

    async def ask(self, calls: int, concurrency: int, delay: int, way: str) -> None:
        """Ask by ``ex.map``, or by ``ex.run`` once a question."""
        ex = await self._executor(concurrency, delay)
        if way == "run":

            async def one(question: str) -> str:
                outputs = (await ex.run(self._step, question=question)).outputs
                assert outputs is not None
                return str(outputs.answer)

            await _workers(calls, concurrency, one)
            return
        run = await ex.map(self._step, [{"question": question} for question in _questions(calls)])
        assert not run.failures, run.failures[0].failure

    async def settle(self) -> None:
        """Wait until the store made rows of all that it acknowledged."""
        await asyncio.to_thread(settled, self._store)

    async def _executor(self, concurrency: int, delay: int) -> Any:
        import lmflow as lf

        if (concurrency, delay) not in self._kept:
            base = _base(self._url, "lmflow", delay)
            model = lf.model("openai/m", base_url=base, api_key="")
            ex = lf.Executor(model, self._store, concurrency=concurrency)
            self._kept[concurrency, delay] = await self._stack.enter_async_context(ex)
        return self._kept[concurrency, delay]


def settled(store: Any) -> None:
    """Wait until a store made rows of all that it acknowledged; stores without a log always have."""
    settle = getattr(store, "settle", None)
    if settle is not None:
        settle()


@asynccontextmanager
async def lmflow(url: str, kind: str) -> AsyncIterator[Client]:
    """lmflow: with SQLite every call is committed before its answer is used."""
    import lmflow as lf

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        store: Any = None
        if kind == "sqlite":
            store = stack.enter_context(lf.SqliteStore(Path(folder) / "bench.db"))
        elif kind == "memory":
            store = lf.MemoryStore()
        elif kind == "postgres":
            store = stack.enter_context(lf.PostgresStore(os.environ["LMFLOW_BENCH_POSTGRES"]))
        async with contextlib.AsyncExitStack() as executors:
            yield Lmflow(url, store, executors)


@asynccontextmanager
async def dspy(url: str) -> AsyncIterator[Client]:
    """dspy, with its caches off: they would answer in the model's place."""
    import dspy as library

    predict = library.Predict(library.Signature("question -> answer", INSTRUCTION))
    kept: dict[int, Any] = {}

    async def one(delay: int, question: str) -> str:
        if delay not in kept:
            base = _base(url, "dspy", delay)
            kept[delay] = library.LM("openai/m", api_base=base, api_key="none", cache=False)
        with library.context(lm=kept[delay]):
            return str((await predict.acall(question=question)).answer)

    yield Workers(one)


async def _workers(calls: int, concurrency: int, one: Callable[[str], Awaitable[str]]) -> None:
    questions = _questions(calls)

    async def work() -> None:
        for question in questions:
            assert await one(question) == REPLY

    await asyncio.gather(*(work() for _ in range(concurrency)))


def _questions(calls: int) -> Iterator[str]:
    begun = time.time_ns()
    return (
        f"How long is green tea steeped, in round {begun} and cup {number}?"
        for number in range(calls)
    )


def _base(url: str, name: str, delay: int) -> str:
    return f"{url}/{name}@{delay}/v1"


async def measured(client: Client, calls: int, concurrency: int, delay: int, way: str) -> Any:
    """Ask, and return what it took."""
    gc.collect()
    began, worked = time.perf_counter(), time.process_time()
    await client.ask(calls, concurrency, delay, way)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    await client.settle()
    whole, all_cpu = time.perf_counter() - began, time.process_time() - worked
    return {
        "seconds": seconds,
        "cpu": cpu,
        "settled_seconds": whole,
        "settled_cpu": all_cpu,
        "peak_mb": peak_mb(),
    }


def peak_mb() -> float:
    """The most memory that this process had so far, in MB."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


async def main(name: str, url: str) -> None:
    """Answer the lines of standard input."""
    loop = asyncio.get_running_loop()
    gc.set_threshold(20_000)
    makers: dict[str, Any] = {"bare": bare, "dspy": dspy}
    made = makers[name](url) if name in makers else lmflow(url, name)
    async with made as client:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await measured(client, **json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
