"""What serving costs: ``lmflow serve`` beside a bare aiohttp handler, both in front of the same
mock model.

python bench/serve.py [--clients 64] [--seconds 60] [--rounds 3] [--rate 40]

Each client asks with a token of its own, which the model's answer repeats: an answer with another
token is mixed, none is lost. In the end the store must hold one finished run for each answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs
from common import ECHO, HERE, Child, mock_server, ratio, spread, table

import lmflow as lf

INSTRUCTION = "Answer the question in a few words."
LMFLOW = "from lmflow.cli.main import main; main()"
WARM = 2.0  # seconds of load before the first measurement

answer = lf.predict("answer", "question -> answer", INSTRUCTION)


@attrs.define
class Load:
    """What clients got of one server: the seconds of each answer, its trace and token, what was
    wrong, and its CPU.
    """

    seconds: list[float] = attrs.field(factory=list)
    traces: dict[str, str] = attrs.field(factory=dict)
    lost: int = 0
    mixed: int = 0
    took: float = 0.0
    cpu: float = 0.0

    def ms(self, percent: int) -> float:
        """A percentile in milliseconds."""
        return statistics.quantiles(self.seconds, n=100)[percent - 1] * 1000


def main() -> None:
    """Ask both by turns, as fast as they can and paced; print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument(
        "--seconds", type=float, default=60, help="of load on each server, in each of the two ways"
    )
    parser.add_argument("--rounds", type=int, default=3, help="in which the servers take turns")
    parser.add_argument(
        "--rate",
        type=float,
        default=40,
        help="requests a second of all clients together, where paced",
    )
    asked = parser.parse_args()
    rows, all_of_it = [("what", "lmflow", "bare aiohttp", "overhead", "ratio")], []
    with tempfile.TemporaryDirectory() as folder, mock_server() as model:
        store = Path(folder) / "bench.db"
        with served(model, store) as servers:
            all_of_it += [loaded(server, asked.clients, WARM) for server in servers.values()][:1]
            for words, rate in (
                ("as fast as they can", 0.0),
                (f"{asked.rate:g} a second", asked.rate),
            ):
                loads = {name: list[Load]() for name in servers}
                for _, (name, server) in itertools.product(range(asked.rounds), servers.items()):
                    loads[name].append(
                        loaded(server, asked.clients, asked.seconds / asked.rounds, rate)
                    )
                rows += compared(f"{asked.clients} clients, {words}", loads)
                all_of_it += loads["lmflow"]
        print(table(rows, right=(1, 2, 3, 4)))
        print(f"\n{checked(store, all_of_it)}")
    each = f"{asked.rounds} rounds of {asked.seconds / asked.rounds:g} s on each server, by turns"
    print(f"Medians (least to greatest) of {each}; overhead and ratio of their medians.")
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}."
    )


@attrs.frozen
class Server:
    """A process that serves at a URL."""

    url: str
    process: Child


@contextlib.contextmanager
def served(model: str, store: Path) -> Iterator[dict[str, Server]]:
    """Both servers while the block lasts; lmflow's is stopped as one is, and must end well."""
    os.environ |= {"OPENAI_BASE_URL": f"{model}{ECHO}/v1", "OPENAI_API_KEY": "none"}
    os.chdir(HERE)
    words = ("serve:answer", "--model", "openai/m", "--port", "0", "--json", "--store", str(store))
    ours = Child(sys.executable, "-c", LMFLOW, "serve", *words)
    bare = Child(sys.executable, str(HERE / "serve.py"), "bare", f"{model}{ECHO}/v1")
    try:
        yield {
            "lmflow": Server(f"{ours.line()['address']}/run", ours),
            "bare": Server(f"http://127.0.0.1:{bare.line()['port']}/run", bare),
        }
        assert ours.stop() == 0
    finally:
        bare.close()
        ours.close()


def loaded(server: Server, clients: int, seconds: float, rate: float = 0.0) -> Load:
    """The load of so many clients on a server: one request after the other, or ``rate`` a second of
    all.
    """
    found = Load()
    began, cpu = time.perf_counter(), server.process.cpu
    asyncio.run(_clients(server.url, clients, seconds, rate, found))
    found.took, found.cpu = time.perf_counter() - began, server.process.cpu - cpu
    return found


async def _clients(url: str, clients: int, seconds: float, rate: float, found: Load) -> None:
    import aiohttp

    until, numbers = time.perf_counter() + seconds, itertools.count(time.time_ns())

    async def client(position: int) -> None:
        due = time.perf_counter() + (position / rate if rate else 0)
        while due < until:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await _one(session, url, f"token-{next(numbers)}", found)
            due = max(due + clients / rate, time.perf_counter()) if rate else time.perf_counter()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(position) for position in range(clients)))


async def _one(session: object, url: str, token: str, found: Load) -> None:
    import aiohttp

    assert isinstance(session, aiohttp.ClientSession)
    began = time.perf_counter()
    try:
        async with session.post(url, json={"question": f"Say the last word: {token}"}) as got:
            body = await got.json(content_type=None)
    except (aiohttp.ClientError, ValueError):
        found.lost += 1
        return
    found.seconds.append(time.perf_counter() - began)
    found.lost += "outputs" not in body
    found.mixed += "outputs" in body and body["outputs"]["answer"] != token
    if "trace" in body:
        found.traces[body["trace"]] = token


def measured(rounds: int, clients: int = 64, seconds: float = 4.0) -> Iterator[tuple[str, ...]]:
    """The rows of ``speed.py``: both asked once a round, as fast as the clients can."""
    with tempfile.TemporaryDirectory() as folder, mock_server() as model:
        store = Path(folder) / "bench.db"
        loads: dict[str, list[Load]] = {"lmflow": [], "bare": []}
        with served(model, store) as servers:
            warm = [loaded(server, clients, WARM) for server in servers.values()]
            for number in range(rounds):
                turn = list(servers.items())[:: -1 if number % 2 else 1]
                for name, server in turn:
                    loads[name].append(loaded(server, clients, seconds))
        checked(store, [warm[0], *loads["lmflow"]])
    for what, ours, theirs, _, part in compared(f"serve, {clients} clients", loads):
        bar = "≤ 2.5" if "CPU" in what else ""
        yield (what, ours, "bare handler", theirs, part, bar)


def compared(what: str, loads: Mapping[str, Sequence[Load]]) -> Iterator[tuple[str, ...]]:
    """The rows of one way of asking."""
    ours, theirs = loads["lmflow"], loads["bare"]
    for name, figure, unit in (
        ("answers/s", lambda load: len(load.seconds) / load.took, ""),
        ("p50, ms", lambda load: load.ms(50), " ms"),
        ("p99, ms", lambda load: load.ms(99), " ms"),
        (
            "CPU of the server, ms a request",
            lambda load: load.cpu / len(load.seconds) * 1000,
            " ms",
        ),
    ):
        a, b = [figure(load) for load in ours], [figure(load) for load in theirs]
        more = f"{statistics.median(a) - statistics.median(b):+,.1f}{unit}" if unit else ""
        yield (f"{what}: {name}", spread(a, 1), spread(b, 1), more, ratio(a, b))
    wrong = [
        f"{sum(load.lost for load in side)} lost, {sum(load.mixed for load in side)} mixed"
        for side in (ours, theirs)
    ]
    many = [f"{sum(len(load.seconds) for load in side):,} answers, " for side in (ours, theirs)]
    yield (f"{what}: all", *(f"{a}{b}" for a, b in zip(many, wrong, strict=True)), "", "")


def checked(store: Path, loads: Sequence[Load]) -> str:
    """Whether the store holds just one finished run for each answer, with that answer's own inputs."""
    tokens = {trace: token for load in loads for trace, token in load.traces.items()}
    with contextlib.closing(sqlite3.connect(store)) as db:
        runs = dict(
            db.execute("SELECT status, count(*) FROM run WHERE kind = 'serve' GROUP BY status")
        )
        known = {row[0] for row in db.execute("SELECT uid FROM trace WHERE root IS NOT NULL")}
    assert runs == {"done": len(tokens)}, (runs, len(tokens))
    assert known == tokens.keys()
    with lf.SqliteStore(store) as kept:
        for trace, token in itertools.islice(tokens.items(), 0, None, max(1, len(tokens) // 500)):
            found = kept.trace(trace)
            assert found.inputs.question.endswith(token)
            assert found.outputs is not None
            assert found.outputs.answer == token
    return f"Recorded: {len(tokens):,} answers, {runs['done']:,} finished runs in the store, each under its own trace."


async def bare(model: str) -> None:
    """What an application would write by hand: take JSON, ask the model, give JSON; nothing is
    checked or kept.
    """
    import aiohttp
    from aiohttp import web

    async def run(request: web.Request) -> web.Response:
        question = (await request.json())["question"]
        turns = [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": question}]
        async with session.post(
            f"{model}/chat/completions", json={"model": "m", "messages": turns}
        ) as got:
            text = (await got.json())["choices"][0]["message"]["content"]
        return web.json_response({"outputs": {"answer": text}})

    app = web.Application()
    app.router.add_post("/run", run)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
        await asyncio.get_running_loop().run_in_executor(
            None, sys.stdin.read
        )  # until the parent closes it
        await runner.cleanup()


if __name__ == "__main__" and sys.argv[1:2] == ["bare"]:
    asyncio.run(bare(sys.argv[2]))
elif __name__ == "__main__":
    main()
