"""How fast: recorded calls, replay, import, bytes a call, memory; ratios of rounds that alternate
in one run.

python bench/speed.py [--rounds 5] [--concurrency 1 16 64 512] [--no-dspy]

dspy runs in an environment of its own, made at the first run in the user's cache (LMFLOW_BENCH_DSPY
names the Python of another); where it can't be made it is left out, with a note.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common import HERE, Child, mock_server, ratio, spread, table

import lmflow as lf
from lmflow.messages.requests import ChatRequest
from lmflow.stores.sqlite.store import reading

CALLS = {"bare": 2000, "lmflow": 1000, "dspy": 100}
BARRED = 64  # open calls at which the bars stand
SMALL = 0.25  # of the calls, one at a time
IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
READY = {
    "lmflow": "lmflow as lf; lf.predict('a', 'question -> answer'); lf.Executor('openai/m', lf.SqliteStore('{}'))",
    "dspy": "dspy; dspy.Predict('question -> answer'); dspy.LM('openai/m')",
}
"""What is imported until a program can run: of lmflow each name when it is first used."""


def main() -> None:
    """Run everything, print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64, 512])
    parser.add_argument("--no-dspy", action="store_true")
    wanted = parser.parse_args()
    gc.set_threshold(20_000)  # as the command line does, and all clients
    dspy, note = ("", "dspy left out, as asked") if wanted.no_dspy else _dspy()
    pythons = {"bare": sys.executable, "lmflow": sys.executable} | ({"dspy": dspy} if dspy else {})
    rows = [("what", "lmflow", "against", "theirs", "ratio", "bar")]
    rows += recorded(pythons, wanted.concurrency, wanted.rounds)
    rows += replayed(wanted.rounds)
    rows += imported(pythons)
    rows += stored()
    print(table(rows, right=(1, 3, 4)))
    print(
        f"\nMedians (least to greatest) of {wanted.rounds} rounds. In a round one client runs after the other."
    )
    machine = (
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}"
    )
    print(f"A ratio is of one round's pair. {machine}. {note}")


def recorded(
    pythons: dict[str, str], concurrencies: list[int], rounds: int
) -> Iterator[tuple[str, ...]]:
    """Recorded and committed calls a second, and the peak memory of each client."""
    with mock_server() as url, contextlib.ExitStack() as stack:
        clients = {
            name: Child(python, str(HERE / "clients.py"), name, url)
            for name, python in pythons.items()
        }
        for client in clients.values():
            stack.callback(client.close)
            client.ask(calls=20, concurrency=4)  # warm
        peaks = dict.fromkeys(clients, 0.0)
        for concurrency in concurrencies:
            speeds: dict[str, list[float]] = {name: [] for name in clients}
            works: dict[str, list[float]] = {name: [] for name in clients}
            for _ in range(rounds):
                for name, client in clients.items():
                    calls = max(
                        concurrency, round(CALLS[name] * (SMALL if concurrency == 1 else 1))
                    )
                    answer = client.ask(calls=calls, concurrency=concurrency)
                    speeds[name].append(calls / answer["seconds"])
                    works[name].append(answer["cpu"] / calls * 1e6)
                    peaks[name] = max(peaks[name], answer["peak_mb"])
            for name in (other for other in clients if other != "lmflow"):
                yield _compared(
                    f"recorded calls/s, {concurrency} open",
                    speeds["lmflow"],
                    name,
                    speeds[name],
                    concurrency,
                )
                part = ratio(works["lmflow"], works[name])
                yield (
                    f"CPU µs a call, {concurrency} open",
                    spread(works["lmflow"]),
                    name,
                    spread(works[name]),
                    part,
                    "",
                )
        for name in clients:
            if name != "lmflow":
                part = f"{peaks['lmflow'] / peaks[name]:.2f}"
                yield (
                    "peak memory, MB",
                    f"{peaks['lmflow']:.0f}",
                    name,
                    f"{peaks[name]:.0f}",
                    part,
                    "",
                )


def _compared(
    what: str, ours: list[float], name: str, theirs: list[float], concurrency: int
) -> tuple[str, ...]:
    bar = {"bare": "≥ 0.5", "dspy": "≥ 6"}[name] if concurrency == BARRED else ""
    return (
        what,
        spread(ours),
        "bare aiohttp" if name == "bare" else name,
        spread(theirs),
        ratio(ours, theirs),
        bar,
    )


def replayed(rounds: int, calls: int = 2000) -> Iterator[tuple[str, ...]]:
    """Replayed calls a second, with and without reading them from the store."""
    answer = lf.predict("answer", "question -> answer", "Answer the question in a few words.")

    async def record(store: lf.SqliteStore) -> str:
        async with lf.Executor(lf.scripted(lambda _: "Two minutes."), store, concurrency=64) as ex:
            return (
                await ex.map(answer, [{"question": f"How long, cup {n}?"} for n in range(calls)])
            ).id

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        with lf.SqliteStore(path) as store:
            run = asyncio.run(record(store))
        alone, whole = [], []
        for _ in range(rounds):
            started = time.perf_counter()
            with reading(path) as reader:
                recording = reader.run(run)
            read = time.perf_counter()
            again = lf.replay(recording, answer)
            done = time.perf_counter()
            assert again.root == recording.root
            alone.append(calls / (done - read))
            whole.append(calls / (done - started))
    yield ("replayed calls/s", spread(alone), "", "", "", "≥ 20,000")
    yield ("replayed calls/s, read from the store", spread(whole), "", "", "", "")


def imported(pythons: dict[str, str]) -> Iterator[tuple[str, ...]]:
    """The time of an import, and of one until a program can run, each in fresh processes that take
    turns.
    """
    homes = {"lmflow": sys.executable, "aiohttp": sys.executable, "dspy": pythons.get("dspy", "")}
    with tempfile.TemporaryDirectory() as folder:
        made = {name: code.format(Path(folder) / "bench.db") for name, code in READY.items()}
        jobs = {(name, name): home for name, home in homes.items() if home}
        jobs |= {(name, made[name]): homes[name] for name in made if homes[name]}
        times: dict[tuple[str, str], list[float]] = {job: [] for job in jobs}
        for _ in range(7):
            for (name, code), home in jobs.items():
                done = subprocess.run(
                    [home, "-c", IMPORT.format(code)], capture_output=True, text=True, check=True
                )
                times[name, code].append(float(done.stdout.split()[-1]) * 1000)
    ours = times.pop(("lmflow", "lmflow"))
    ready = times.pop(("lmflow", made["lmflow"]))
    for (name, code), theirs in times.items():
        mine, what = (
            (ours, "import, ms") if code == name else (ready, "import until ready to run, ms")
        )
        bar = "≤ 0.25" if code == "dspy" else ""
        yield (what, spread(mine), name, spread(theirs), ratio(mine, theirs), bar)


def stored(versions: int = 10, examples: int = 40) -> Iterator[tuple[str, ...]]:
    """Bytes a call of a simulated optimisation, three steps with four shared demonstrations,
    against JSON as sent.
    """
    program = lf.predict("plan", "question -> plan") >> lf.predict(
        "draft", "question, plan -> draft"
    )
    program = program >> lf.predict("answer", "question, draft -> answer")
    filler = (
        "It is steeped for two minutes in water that is well below boiling, and then poured off. "
    )
    sizes: list[int] = []

    def script(request: ChatRequest) -> str:
        reply = f"{filler * 3}{len(sizes)}"
        sizes.append(
            len(json.dumps([[turn.role, turn.content] for turn in request.messages])) + len(reply)
        )
        return reply

    async def optimise(store: lf.SqliteStore) -> None:
        async with lf.Executor(lf.scripted(script), store) as ex:
            for number in range(versions):
                await ex.map(
                    program,
                    [{"question": f"{filler}{n}?"} for n in range(examples)],
                    version=_version(program, filler, number),
                )

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        with lf.SqliteStore(path) as store:
            asyncio.run(optimise(store))
        with contextlib.closing(sqlite3.connect(path)) as db:
            (index,) = db.execute("SELECT sum(length(block)) FROM search_data").fetchone()
        calls, size = len(sizes), path.stat().st_size
        naive = statistics.fmean(sizes)
    yield (
        "bytes a call",
        f"{size / calls:,.0f}",
        "JSON as sent",
        f"{naive:,.0f}",
        f"{size / calls / naive:.2f}",
        "",
    )
    yield ("of which the search index", f"{index / calls:,.0f}", "", "", "", "")


def _version(program: lf.Program, filler: str, number: int) -> lf.Version:
    """The defaults with an instruction of its own and four demonstrations for each step."""
    changes: dict[str, object] = {}
    for name, step in program.steps.items():
        fields = [field.name for field in (*step.signature.inputs, *step.signature.outputs)]
        changes[f"{name}.demos"] = [
            {f: f"{filler * 3}{name} {f} {demo} {number % 3}" for f in fields} for demo in range(4)
        ]
        changes[f"{name}.instruction"] = f"{filler * 4} Try {number}."
    return lf.init(program).put(changes)


def _dspy() -> tuple[str, str]:
    """The Python of an environment with dspy, made where there is none; or why there is none."""
    if given := os.environ.get("LMFLOW_BENCH_DSPY"):
        return given, ""
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmflow-bench" / "dspy"
    )
    python = cache / "bin" / "python"
    try:
        if not python.exists():
            print("making an environment with dspy (once) ...", file=sys.stderr)
            subprocess.run(
                [sys.executable, "-m", "venv", str(cache)], check=True, capture_output=True
            )
            pip = [str(python), "-m", "pip", "install", "--quiet", "dspy"]
            subprocess.run(pip, check=True, capture_output=True, timeout=900)
        subprocess.run(
            [str(python), "-c", "import dspy"], check=True, capture_output=True, timeout=120
        )
    except (OSError, subprocess.SubprocessError) as problem:
        words = (
            (getattr(problem, "stderr", b"") or str(problem).encode())
            .decode("utf-8", "replace")
            .strip()
        )
        return "", f"Without dspy, which can't be installed here ({words.splitlines()[-1][:120]})."
    return str(python), ""


if __name__ == "__main__":
    main()
