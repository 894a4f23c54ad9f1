"""The part of ``speed.py`` about size: imports, bytes a call, and peak memory by rows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from clients import settled
from common import HERE, ratio, spread

import lmflow as lf
from lmflow.messages.requests import ChatRequest

Row = tuple[str, ...]
IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
READY = {
    "lmflow": "lmflow as lf; lf.predict('a', 'question -> answer'); lf.Executor('openai/m', lf.SqliteStore('{}'))",
    "dspy": "dspy; dspy.Predict('question -> answer'); dspy.LM('openai/m')",
}
"""What is imported until a program can run: of lmflow each name when it is first used."""
FILLER = "It is steeped for two minutes in water that is well below boiling, and then poured off. "


def imported(pythons: Mapping[str, str], rounds: int) -> Iterator[Row]:
    """The time of an import, and of one until a program can run, each in fresh processes that take
    turns.
    """
    homes = {"lmflow": sys.executable, "aiohttp": sys.executable, "dspy": pythons.get("dspy", "")}
    times: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:  # each round makes a new store
            ready = {name: code.format(Path(folder) / "bench.db") for name, code in READY.items()}
            for name, home in homes.items():
                if home:
                    times.setdefault((name, "import"), []).append(_seconds(home, name))
            for name, code in ready.items():
                if homes[name]:
                    times.setdefault((name, "ready"), []).append(_seconds(homes[name], code))
        del number
    ours = {kind: times.pop(("lmflow", kind)) for kind in ("import", "ready")}
    words = {"import": "import, ms", "ready": "import until ready to run, ms"}
    for (name, kind), theirs in times.items():
        bar = "≤ 0.25" if name == "dspy" else ""
        part = ratio(ours[kind], theirs)
        yield (words[kind], spread(ours[kind]), name, spread(theirs), part, bar)
    if ("dspy", "ready") not in times:
        yield (words["ready"], spread(ours["ready"]), "", "", "", "")


def _seconds(home: str, code: str) -> float:
    done = subprocess.run(
        [home, "-c", IMPORT.format(code)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1]) * 1000


def stored(versions: int = 10, examples: int = 40) -> Iterator[Row]:
    """Bytes a call of a simulated optimisation, three steps with four shared demonstrations,
    against JSON as sent.
    """
    program = lf.predict("plan", "question -> plan") >> lf.predict(
        "draft", "question, plan -> draft"
    )
    program = program >> lf.predict("answer", "question, draft -> answer")
    sizes: list[int] = []

    def script(request: ChatRequest) -> str:
        reply = f"{FILLER * 3}{len(sizes)}"
        sizes.append(
            len(json.dumps([[turn.role, turn.content] for turn in request.messages])) + len(reply)
        )
        return reply

    async def optimise(store: lf.SqliteStore) -> None:
        async with lf.Executor(lf.scripted(script), store) as ex:
            for number in range(versions):
                questions = [{"question": f"{FILLER}{n}?"} for n in range(examples)]
                await ex.map(program, questions, version=_version(program, number))
            settled(store)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        with lf.SqliteStore(path) as store:
            asyncio.run(optimise(store))
        calls, naive = len(sizes), statistics.fmean(sizes)
        size = path.stat().st_size / calls
        parts = [*_tables(path, calls), ("pages that the next calls use", _free(path) / calls)]
    yield ("bytes a call", f"{size:,.0f}", "JSON", f"{naive:,.0f}", f"{size / naive:.2f}", "≤ 950")
    for name, part in parts:
        yield (f"of which {name}", f"{part:,.0f}", "", "", "", "")


def _tables(path: Path, calls: int, most: int = 8) -> list[tuple[str, float]]:
    """The largest tables and indexes, in bytes a call, if this SQLite can tell."""
    sql = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT ?"
    with contextlib.closing(sqlite3.connect(path)) as db:
        try:
            return [(name, size / calls) for name, size in db.execute(sql, (most,))]
        except sqlite3.OperationalError:
            return []


def _free(path: Path) -> int:
    """The bytes of pages that held the log, and that hold nothing now."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        free: int = db.execute("PRAGMA freelist_count").fetchone()[0]
        return free * int(db.execute("PRAGMA page_size").fetchone()[0])


def _version(program: lf.Program, number: int) -> lf.Version:
    """The defaults with an instruction of its own and four demonstrations for each step."""
    changes: dict[str, object] = {}
    for name, step in program.steps.items():
        fields = [field.name for field in (*step.signature.inputs, *step.signature.outputs)]
        changes[f"{name}.demos"] = [
            {f: f"{FILLER * 3}{name} {f} {demo} {number % 3}" for f in fields} for demo in range(4)
        ]
        changes[f"{name}.instruction"] = f"{FILLER * 4} Try {number}."
    return lf.init(program).put(changes)


def remembered(counts: Iterable[int]) -> Iterator[Row]:
    """The peak memory of a map and of an evaluation by rows, and the wall time a row."""
    for job in ("map", "evaluate"):
        first: tuple[float, float] | None = None
        for count in counts:
            took = _job(job, count)
            peak, pace = took["peak_mb"], took["seconds"] / count * 1e6
            least = first = first or (peak, pace)
            bars = ("≤ 1.2", "≤ 1.1") if first[0] != peak else ("", "")
            part, slower = f"{peak / least[0]:.2f}", f"{pace / least[1]:.2f}"
            yield (f"{job}, {count:,} rows: peak MB", f"{peak:,.0f}", "", "", part, bars[0])
            yield (f"{job}, {count:,} rows: wall µs a row", f"{pace:,.0f}", "", "", slower, bars[1])


def _job(job: str, count: int) -> dict[str, float]:
    command = [sys.executable, str(HERE / "speed_job.py"), job, str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
