"""How fast: recorded calls, latency, reuse, serving, import, bytes and memory, beside bare aiohttp
and dspy; ratios of rounds in which each client runs once.

python bench/speed.py [--only recorded] [--concurrency 64] [--rounds 9] [--no-dspy] [--write PAGE]

dspy runs in an environment of its own, made at the first run in the user's cache (LMFLOW_BENCH_DSPY
names the Python of another); where it can't be made it is left out, with a note.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from common import table
from pages import machine, write_table
from speed_calls import OURS, delayed, recorded
from speed_jobs import jobs
from speed_size import imported, remembered, stored

Row = tuple[str, ...]
HEAD: Row = ("what", "lmflow", "against", "theirs", "ratio", "bar")
MANY = 64  # open calls from which the latency of a model is measured
PARTS = ("recorded", "latency", "jobs", "serve", "import", "bytes", "memory")


def main() -> None:
    """Run the chosen parts; print a table of each once it is measured."""
    options = _options()
    gc.set_threshold(20_000)  # as the command line does, and all clients
    dspy, note = ("", "dspy left out, as asked.") if options.no_dspy else _dspy()
    pythons = {"bare": sys.executable} | dict.fromkeys(options.stores, sys.executable)
    pythons |= {"dspy": dspy} if dspy else {}
    for name in options.only:
        began = time.perf_counter()
        rows = [HEAD, *_part(name, pythons, options)]
        print(table(rows, right=(1, 3, 4)))
        words = f"{_rounds_of(name, options)}{machine()} {note}".rstrip()
        print(f"\n{words} ({time.perf_counter() - began:.0f} s)\n", flush=True)
        if options.write:
            write_table(options.write, name, rows, words)


def _part(name: str, pythons: dict[str, str], options: argparse.Namespace) -> Iterable[Row]:
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "recorded": lambda: recorded(pythons, options.concurrency, options.rounds, options.calls),
        "latency": lambda: delayed(
            pythons, [n for n in options.concurrency if n >= MANY], options.delays, options.rounds
        ),
        "jobs": lambda: jobs(options.rounds, options.calls),
        "serve": lambda: _served(options),
        "import": lambda: imported(pythons, options.rounds),
        "bytes": stored,
        "memory": lambda: remembered(options.rows),
    }
    return parts[name]()


def _served(options: argparse.Namespace) -> Iterator[Row]:
    from serve import measured

    return measured(options.rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="the parts")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=2000, help="a round, of lmflow and aiohttp")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64, 512])
    parser.add_argument("--delays", type=int, nargs="+", default=[0, 50, 500], help="ms a reply")
    parser.add_argument("--stores", nargs="+", choices=OURS, default=list(OURS))
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000], help="of memory")
    parser.add_argument("--no-dspy", action="store_true")
    parser.add_argument("--write", type=_absolute, help="a page whose tables are written anew")
    return parser.parse_args()


def _absolute(path: str) -> Path:
    """A path that stays right when serving changes the folder."""
    return Path(path).resolve()


def _rounds_of(name: str, options: argparse.Namespace) -> str:
    if name in {"bytes", "memory"}:
        return ""
    return (
        f"Medians (least to greatest) of {options.rounds} rounds, in each of which every client"
        " runs once; a ratio is of one round's pair. "
    )


def _dspy() -> tuple[str, str]:
    """The Python of an environment with dspy, made where there is none; or why there is none."""
    if given := os.environ.get("LMFLOW_BENCH_DSPY"):
        return given, ""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = home / "lmflow-bench" / "dspy"
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
        said = getattr(problem, "stderr", b"") or str(problem).encode()
        words = said.decode("utf-8", "replace").strip()
        return "", f"Without dspy, which can't be installed here ({words.splitlines()[-1][:120]})."
    return str(python), ""


if __name__ == "__main__":
    main()
