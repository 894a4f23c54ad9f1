"""A store in PostgreSQL beside one in SQLite: rows a second, calls a second, and one database that
several processes write.

python bench/postgres.py [--url postgresql://...] [--only rows calls shared] [--rounds 7] [--seconds 60]

Without --url a server is started in a temporary folder by the programs of Debian's package
postgresql, as it is configured by default: each commit is flushed to the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
from common import ECHO, HERE, Child, mock_server, ratio, spread, table
from serve import LMFLOW, Load, Server, loaded
from speed_calls import Question, clients, rounds_of

import lmflow as lf
from lmflow.data.conditions import condition
from lmflow.errors import RefChanged
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.progress.update import silent
from lmflow.testing.sample_runs import VERSION, begun, trace_of
from lmflow.traces.events import CallEnded, CallStarted, Event, RunOpened, TraceClosed, TraceOpened
from lmflow.traces.trace import CallAttempt, Run

sys.path.append(str(HERE.parent / "tests" / "support"))
from postgres_server import programs, server

PARTS = ("rows", "calls", "shared")
BATCH, EXECUTIONS = 64, 3200
CLIENTS, MOVES_A_SECOND = 16, 2

answer = lf.predict("answer", "question -> answer", "Answer the question in a few words.")


def main() -> None:
    """Run the chosen parts, each with its table or its line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="", help="a database to use; it gets schemas bench_...")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    parts: dict[str, Callable[[str], None]] = {
        "rows": lambda url: print(rows(url, asked.rounds)),
        "calls": lambda url: print(calls(url, asked.rounds, asked.calls)),
        "shared": lambda url: print(shared(url, asked.seconds)),
    }
    with database(asked.url) as url:
        for name in asked.only:
            parts[name](f"{url}?schema=bench_{name}_{os.getpid()}")
            print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n", flush=True)


@contextlib.contextmanager
def database(url: str) -> Iterator[str]:
    """The URL of a database while the block lasts."""
    folder = programs()
    if url:
        yield url
    elif folder is None:
        sys.exit("PostgreSQL is not installed: apt-get install postgresql, or name one, --url.")
    else:
        with server(folder, "-c listen_addresses='' -c max_connections=200") as started:
            yield started


def rows(url: str, rounds: int) -> str:
    """Rows a second of a recorder that gets executions in batches of 64, by turns."""
    seconds: dict[str, list[float]] = {"PostgreSQL": [], "SQLite": []}
    cpu: dict[str, list[float]] = {"PostgreSQL": [], "SQLite": []}
    count = 0
    for number in range(rounds):
        recorded = executions()
        with tempfile.TemporaryDirectory() as folder:
            makers = {
                "PostgreSQL": lambda number=number: lf.PostgresStore(f"{url}_{number}"),
                "SQLite": lambda folder=folder: lf.SqliteStore(Path(folder) / "bench.db"),
            }
            for name in list(makers)[:: -1 if number % 2 else 1]:
                with makers[name]() as store:
                    took, worked, count = recorder(store, recorded)
                seconds[name].append(count / took)
                cpu[name].append(worked / EXECUTIONS * 1e6)
    ours, theirs = seconds["PostgreSQL"], seconds["SQLite"]
    work = spread(cpu["PostgreSQL"]), spread(cpu["SQLite"]), ratio(*cpu.values())
    return table(
        [
            ("what", "PostgreSQL", "SQLite", "ratio", "bar"),
            (
                f"rows/s, batches of {BATCH}",
                *map(spread, (ours, theirs)),
                ratio(ours, theirs),
                "≥ 10,000",
            ),
            ("CPU µs a call, client", *work, ""),
        ]
    )


def recorder(store: Any, recorded: Sequence[Sequence[Event]]) -> tuple[float, float, int]:
    """Seconds, CPU seconds and rows of recording executions, ``BATCH`` at a time."""
    store.append(RunOpened(Run("r", "map", "answer"), (VERSION,))).result()
    began, worked = time.perf_counter(), time.process_time()
    for at in range(0, len(recorded), BATCH):
        for future in [store.append(*events) for events in recorded[at : at + BATCH]]:
            future.result()
    store.settle()
    took, cpu = time.perf_counter() - began, time.process_time() - worked
    with store.reading() as reader:
        check = reader.check()
    assert check.problems == ()
    # Each execution has a trace, an item, a call, and an entry in the index of texts.
    return took, cpu, check.blobs + check.traces * 2 + check.calls * 2


def executions() -> list[tuple[Event, ...]]:
    """Executions of one call each, with prompts and answers of some hundred characters."""
    system = Message("system", "You answer questions about the weather in cities, briefly. " * 10)
    made: list[tuple[Event, ...]] = []
    for number in range(EXECUTIONS):
        text = f"What is the weather in city {number}? {'Consider wind, rain and sun. ' * 5}"
        request = ChatRequest((system, Message("user", text)), "scripted/m", "scripted")
        call = CallAttempt("answer[0]/call[0]", request, request.key, 0, None, 5, 0)
        reply = ChatReply(f"Sunny in city {number}, with wind. " * 5, usage=Usage(200, 50))
        ended = attrs.evolve(call, outcome=reply, ended=9)
        trace = trace_of(f"t{number}", ended)
        opened = TraceOpened("r", f"ex[{number}]", number, begun(trace))
        calls = CallStarted(trace.id, call), CallEnded(trace.id, ended)
        made.append((opened, *calls, TraceClosed(trace)))
    return made


def calls(url: str, rounds: int, count: int) -> str:
    """Calls a second of 64 open calls, each committed before its answer is used, by turns."""
    os.environ["LMFLOW_BENCH_POSTGRES"] = url
    named = dict.fromkeys(("postgres", "sqlite"), sys.executable)
    questions = {name: Question(count, 64) for name in named}
    with mock_server() as model, clients(named, model) as asked:
        answers = rounds_of(asked, questions, rounds)
    speeds = {
        kind: [[count / one[kind] for one in answers[name]] for name in ("postgres", "sqlite")]
        for kind in ("seconds", "settled_seconds")
    }
    cpu = [
        [one["settled_cpu"] / count * 1e6 for one in answers[name]]
        for name in ("postgres", "sqlite")
    ]
    return table(
        [
            ("what", "PostgreSQL", "SQLite", "ratio", "bar"),
            (
                "calls/s, 64 open",
                *map(spread, speeds["seconds"]),
                ratio(*speeds["seconds"]),
                "≥ 0.8",
            ),
            (
                "calls/s, 64 open, until rows are read",
                *map(spread, speeds["settled_seconds"]),
                ratio(*speeds["settled_seconds"]),
                "",
            ),
            ("CPU µs a call", *map(spread, cpu), ratio(*cpu), ""),
        ]
    )


def shared(url: str, seconds: float) -> str:
    """Two processes serve, one optimizes, and a thread moves the ref that is served."""
    with lf.PostgresStore(url) as store:
        first = lf.init(answer)
        lf.commit(store, "main", first, who="bench")
        with mock_server() as model:
            os.environ |= {"OPENAI_BASE_URL": f"{model}{ECHO}/v1", "OPENAI_API_KEY": "none"}
            loads, moved = _load(store, url, seconds)
        return _checked(store, loads, moved)


def _load(store: lf.PostgresStore, url: str, seconds: float) -> tuple[list[Load], int]:
    """Load both servers while others move the ref; return what the clients got, and the number of
    moves that were acknowledged.
    """
    os.chdir(HERE)
    words = ("postgres:answer", "--ref", "main", "--model", "openai/m", "--port", "0", "--quiet")
    command = (sys.executable, "-c", LMFLOW, "serve", *words, "--json", "--store", url)
    servers = [Child(*command), Child(*command)]
    optimizer = Child(sys.executable, str(HERE / "postgres.py"), "optimize", url, str(seconds))
    loads: list[Load] = []
    try:
        addresses = [Server(f"{child.line()['address']}/run", child) for child in servers]
        threads = [
            threading.Thread(target=lambda at=at: loads.append(loaded(at, CLIENTS, seconds)))
            for at in addresses
        ]
        for thread in threads:
            thread.start()
        mine = _move(store, "by hand", time.perf_counter() + seconds)
        for thread in threads:
            thread.join()
        told = optimizer.line()
        assert not told["errors"], told
        assert [child.stop() for child in servers] == [0, 0]
    finally:
        for child in (*servers, optimizer):
            child.close()
    print(f"{told['optimizations']} optimizations, {told['moves']} + {mine} moves of the ref")
    return loads, told["moves"] + mine


def _move(store: lf.PostgresStore, who: str, until: float) -> int:
    moves = 0
    while time.perf_counter() < until:
        moves += _moved(store, f"{who} {moves}", who, store.version("main"))
        time.sleep(1 / MOVES_A_SECOND)
    return moves


def _moved(store: lf.PostgresStore, note: str, who: str, start: lf.Version) -> bool:
    """Move the ref from where it stands to a new version; say whether nobody was faster."""
    version = start.put({"answer.instruction": f"Answer in a few words ({note})."}, note=note)
    try:
        lf.commit(store, "main", version, who=who, before=start.id)
    except RefChanged:
        return False
    return True


async def optimize(url: str, seconds: float) -> dict[str, Any]:
    """Optimize again and again from where the ref stands, and move it."""
    rows = lf.dataset({"id": f"e{n}", "question": f"Say {n}", "answer": str(n)} for n in range(12))
    data = lf.Data(**lf.split(rows, {"train": 0.5, "held": 0.5}))
    until, done, moves, errors = time.perf_counter() + seconds, 0, 0, list[str]()
    with lf.PostgresStore(url) as store:
        async with lf.Executor("openai/m", store) as ex:
            while time.perf_counter() < until:
                start = store.version("main")
                optimizer = lf.labeled_few_shot(k=1 + done % 4)
                found = await ex.optimize(
                    optimizer,
                    answer,
                    data,
                    lf.exact_match("answer"),
                    version=start,
                    progress=silent,
                )
                done += 1
                errors += [str(found.not_judged)] if found.not_judged else []
                # Somebody was faster, perhaps: then from where the ref stands now.
                while not _moved(store, f"optimized {done}", "optimizer", store.version("main")):
                    pass
                moves += 1
    return {"optimizations": done, "moves": moves, "errors": errors}


def _checked(store: lf.PostgresStore, loads: Sequence[Load], moved: int) -> str:
    """Check that nothing was lost and the ref is where its log says."""
    log = store.reflog("main", 10**6)[::-1]
    assert len(log) == moved + 1, (len(log), moved)
    assert [move.before for move in log[1:]] == [move.version for move in log[:-1]]
    assert store.refs()["main"] == log[-1].version
    with store.reading() as reader:
        check = reader.check()
        assert check.problems == (), check.problems
        served = reader.listing.count([condition("kind=serve"), condition("status=done")])
    answers = sum(len(load.seconds) for load in loads)
    wrong = [(load.lost, load.mixed) for load in loads]
    assert wrong == [(0, 0)] * len(loads), wrong
    assert served == answers, (served, answers)
    each = ", ".join(f"p50 {load.ms(50):.0f} ms, p99 {load.ms(99):.0f} ms" for load in loads)
    return (
        f"{answers:,} answers of two servers ({each}), each recorded; 0 errors, 0 lost updates; "
        f"main is where its {len(log)} moves say; {check.calls:,} calls verified"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["optimize"]:
        print(json.dumps(asyncio.run(optimize(sys.argv[2], float(sys.argv[3])))), flush=True)
    else:
        main()
