"""The web view, timed on the store of ``bench/million.py``: ``python bench/ui.py [CALLS]``.

Asks the screens over HTTP and prints the 95th percentile of their times and their sizes, beside the
limits; with a trace of 10,000 calls and a grid of 500 examples and 40 evaluations. Then it measures
the memory of the server, how long a change takes to reach a page, and how much slower a recorder is
while 20 pages follow it.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import million

import lmflow as lf
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.traces.events import (
    CallEnded,
    Event,
    RunClosed,
    RunOpened,
    ScoreRecorded,
    TraceClosed,
    TraceOpened,
)
from lmflow.traces.trace import CallAttempt, Run, Trace

LIST_MS, TRACE_MS, MATRIX_MS = 150, 300, 500
FRAGMENT_BYTES, MEMORY_MB, LAG_SECONDS, SLOWED = 64_000, 200, 1.0, 0.05
TIMES, PAGES, SPANS, EXAMPLES, EVALUATIONS = 30, 20, 10_000, 500, 40


def long_trace() -> Iterator[Event]:
    """A run of one execution of 10,000 calls."""
    version = lf.Version(note="long")
    run = Run("x-long-run", "run", "long", started=1)
    trace = Trace(
        "x-long-trace", million.PROGRAM, "long", version, lf.Record(), million.WORLD, started=1
    )
    yield RunOpened(run, (version,))
    yield TraceOpened(run.id, "", 0, trace)
    calls = []
    for k in range(SPANS):
        request = ChatRequest((Message("user", f"call {k}"),), "local/m", "local")
        reply = ChatReply(f"reply {k}", usage=Usage(40, 5))
        address = f"loop[{k // 100}]/step[{k % 100}]/call[0]"
        call = CallAttempt(address, request, request.key, 0, reply, 2 + k * 1000, 900 + k * 1000)
        calls.append(call)
        yield CallEnded(trace.id, call)
    done = trace.finished(
        calls=tuple(calls), choices=lf.Record(), world=million.WORLD, outputs=lf.Record(answer="x"),
        failure=None, ended=SPANS * 1000, code=None,
    )  # fmt: skip
    yield TraceClosed(done)
    yield RunClosed(run.id, "done", "", SPANS * 1000)


def evaluations() -> Iterator[Event]:
    """Forty evaluations of 500 examples, without calls."""
    for k in range(EVALUATIONS):
        version = lf.Version(note=f"version {k}")
        run = Run(f"y-eval-{k:04d}", "evaluate", "graded", started=k + 1)
        yield RunOpened(run, (version,))
        for n in range(EXAMPLES):
            inputs = lf.Record(question=f"question {n}")
            trace = Trace(
                f"y-{k:04d}-{n:04d}", million.PROGRAM, "graded", version, inputs, million.WORLD,
                outputs=lf.Record(answer="x"), started=k + 1, ended=k + 2,
            )  # fmt: skip
            yield TraceOpened(run.id, f"ex[e{n}]", n, trace)
            yield TraceClosed(trace)
            yield ScoreRecorded(trace.id, "exact", float((n * k) % 3 > 0), at=k)
        yield RunClosed(run.id, "done", "", k + 2)


async def timed(
    session: aiohttp.ClientSession, url: str, process: int, times: int = TIMES
) -> tuple[float, int]:
    """Return the 95th percentile of a page's time in milliseconds, and its size; print the time that
    the server's processor spent on one, which other work on the machine doesn't change.
    """
    took, size, spent = [], 0, _cpu_ms(process)
    for _ in range(times):
        before = time.perf_counter()
        async with session.get(url) as response:
            size = len(await response.read())
            assert response.ok, url
        took.append((time.perf_counter() - before) * 1e3)
    print(
        f"  {url.partition('/')[2][-44:]:44}{(_cpu_ms(process) - spent) / times:10.1f} ms of processor time a request"
    )
    return statistics.quantiles(took, n=20)[-1], size


async def lag(session: aiohttp.ClientSession, url: str, store: Path) -> float:
    """Return the seconds from the end of a call to the event of a page."""
    answer = lf.predict("answer", "question -> answer", "Answer.")
    with lf.SqliteStore(store) as opened:
        async with (
            session.get(f"{url}/events") as events,
            lf.Executor(lf.scripted(lambda _: "x"), opened) as ex,
        ):
            await events.content.readuntil(b"\n\n")
            await asyncio.sleep(1)
            await ex.run(answer, question="?")
            before = time.perf_counter()
            await events.content.readuntil(b"\n\n")
            return time.perf_counter() - before


async def recorded(store: Path, calls: int = 1500) -> float:
    """Return the seconds that a recorder takes for calls."""
    answer = lf.predict("answer", "question -> answer", "Answer.")
    with lf.SqliteStore(store) as opened:
        async with lf.Executor(lf.scripted(lambda _: "x"), opened, concurrency=16) as ex:
            before = time.perf_counter()
            await ex.map(answer, [{"question": f"{time.time_ns()} {k}"} for k in range(calls)])
            return time.perf_counter() - before


async def slowed(session: aiohttp.ClientSession, url: str, store: Path) -> float:
    """Return by which part a recorder is slower while 20 pages follow it, in paired rounds."""
    ratios = []
    await recorded(store)
    for _ in range(5):
        alone = await recorded(store)
        pages = [await session.get(f"{url}/events") for _ in range(PAGES)]
        for page in pages:
            await page.content.readuntil(b"\n\n")
        ratios.append(await recorded(store) / alone)
        for page in pages:
            page.close()
    return statistics.median(ratios) - 1


def say(name: str, value: float, unit: str, limit: float) -> None:
    """Print a measurement beside its limit."""
    print(
        f"{name:46}{value:10.1f} {unit:4} limit {limit:g}{'' if value <= limit else '   MISSED'}",
        flush=True,
    )


async def measured(url: str, link: str, store: Path, process: int) -> None:
    """Measure all."""
    jar = aiohttp.CookieJar(unsafe=True)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(cookie_jar=jar, connector=connector) as session:
        await session.get(link)
        async with session.get(f"{url}/?format=json&where=program%3Dbench&limit=1") as response:
            run = (await response.json())["rows"][0]["id"]
        lists = {
            "runs": "/", "runs, a fragment": "/?fragment=rows", "runs of a kind": "/?where=kind%3Devaluate",
            "a run": f"/runs/{run}", "executions of a run, a fragment": "/runs/y-eval-0001?fragment=rows",
        }  # fmt: skip
        for name, path in lists.items():
            took, size = await timed(session, url + path, process)
            say(name, took, "ms", LIST_MS)
            say(f"{name}, bytes", size, "B", FRAGMENT_BYTES)
        took, size = await timed(session, f"{url}/traces/x-long-trace", process)
        say("a trace of 10,000 calls", took, "ms", TRACE_MS)
        say("its page, bytes", size, "B", FRAGMENT_BYTES)
        took, size = await timed(
            session, f"{url}/traces/x-long-trace?start=5000&fragment=rows", process
        )
        say("a part of its tree", took, "ms", TRACE_MS)
        say("its fragment, bytes", size, "B", FRAGMENT_BYTES)
        took, _ = await timed(session, f"{url}/examples?program=graded&limit=500", process, 10)
        say("a grid of 500 x 40", took, "ms", MATRIX_MS)
        say("from a call to a page", await lag(session, url, store), "s", LAG_SECONDS)
        say("memory of the server", _memory(process), "MB", MEMORY_MB)
        say("a recorder is slower by", 100 * await slowed(session, url, store), "%", 100 * SLOWED)


def _cpu_ms(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 10.0


def _memory(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Fill a store, serve it and measure."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        store = Path(*sys.argv[2:3]) if sys.argv[2:] else Path(folder) / "lmflow.db"
        if not store.exists():
            million.fill(store, calls)
            with lf.SqliteStore(store) as opened:
                opened.append(*long_trace()).result()
                opened.append(*evaluations()).result()
        code = "from lmflow.cli.main import main; main()"
        command = [sys.executable, "-c", code, "ui", "--store", str(store), "--port", "0", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            link = json.loads(server.stdout.readline())["url"]
            try:
                asyncio.run(measured(link.partition("/?")[0], link, store, server.pid))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
