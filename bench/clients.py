"""The clients that are compared, each in a process of its own: ``clients.py bare|lmflow|dspy
BASE_URL``.

A line asked is ``{"calls": 1000, "concurrency": 64}``, its answer ``{"seconds": 0.7, "cpu": 0.6,
"peak_mb": 61.2}``. All ask the same: one predictor, question -> answer, with the same instruction,
a new question each call. All look for garbage as seldom as lmflow's documentation advises for long
runs.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

INSTRUCTION = "Answer the question in a few words."
Ask = Callable[[int, int], Awaitable[None]]


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Ask]:
    """Only aiohttp: the body is made, sent, the reply read and its text taken; nothing is kept."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(question: str) -> str:
            turns = [
                {"role": "system", "content": INSTRUCTION},
                {"role": "user", "content": question},
            ]
            async with session.post(
                f"{url}/chat/completions", json={"model": "m", "messages": turns}
            ) as answer:
                text: str = (await answer.json())["choices"][0]["message"]["content"]
                return text

        yield lambda calls, concurrency: _workers(calls, concurrency, one)


@asynccontextmanager
async def lmflow(url: str) -> AsyncIterator[Ask]:
    """lmflow: every call recorded in SQLite and committed before its answer is used."""
    import lmflow as lf

    answer = lf.predict("answer", "question -> answer", INSTRUCTION)
    model = lf.model("openai/m", base_url=url, api_key="")
    with (
        tempfile.TemporaryDirectory() as folder,
        lf.SqliteStore(Path(folder) / "bench.db") as store,
    ):

        async def ask(calls: int, concurrency: int) -> None:
            async with lf.Executor(model, store, concurrency=concurrency) as ex:
                run = await ex.map(
                    answer, [{"question": question} for question in _questions(calls)]
                )
            assert not run.failures, run.failures[0].failure

        yield ask


@asynccontextmanager
async def dspy(url: str) -> AsyncIterator[Ask]:
    """dspy, with its caches off: they would answer in the model's place."""
    import dspy as library

    lm = library.LM("openai/m", api_base=url, api_key="none", cache=False)
    library.configure(lm=lm)
    predict = library.Predict(library.Signature("question -> answer", INSTRUCTION))

    async def one(question: str) -> str:
        return str((await predict.acall(question=question)).answer)

    yield lambda calls, concurrency: _workers(calls, concurrency, one)


async def _workers(calls: int, concurrency: int, one: Callable[[str], Awaitable[str]]) -> None:
    questions = _questions(calls)

    async def work() -> None:
        for question in questions:
            assert await one(question) == "Two minutes."

    await asyncio.gather(*(work() for _ in range(concurrency)))


def _questions(calls: int) -> Iterator[str]:
    begun = time.time_ns()
    return (
        f"How long is green tea steeped, in round {begun} and cup {number}?"
        for number in range(calls)
    )


async def main(name: str, url: str) -> None:
    """Answer the lines of standard input."""
    loop = asyncio.get_running_loop()
    gc.set_threshold(20_000)
    client: Any = {"bare": bare, "lmflow": lmflow, "dspy": dspy}[name]
    async with client(url) as ask:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            asked = json.loads(line)
            started, worked = time.perf_counter(), time.process_time()
            await ask(asked["calls"], asked["concurrency"])
            seconds, cpu = time.perf_counter() - started, time.process_time() - worked
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
                1e6 if sys.platform == "darwin" else 1e3
            )
            print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak}), flush=True)


if __name__ == "__main__":
    _, client_, url_ = sys.argv
    asyncio.run(main(client_, f"{url_}/{client_}/v1"))
