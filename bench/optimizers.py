"""What optimizers reach in a small budget of calls on a small local model, beside DSPy's own of the
same name.

    LMFLOW_DATA=... python bench/optimizers.py [--calls 300] [--seeds 0 1 2] [--tasks banking10 bbh/disambiguation_qa]
        [--optimizers random_search mipro] [--libraries lmflow dspy] [--folder optimizers-bench] [--report]

Counted are the calls of the task, of proposers and of judges while tuning, not those of the final
scoring. Both tune and select on the same rows of train, and are scored on the same rows of dev, by
the same comparison. Ours stops where the next need could go beyond the budget; DSPy's optimizers
know no budget: their number of candidates or trials is the most with which they stay within it,
found by running them again with one less over the calls that are cached. Every cell is a file in
``--folder`` beside a store with all of our calls, or DSPy's cache, so a bench that was stopped goes
on where it was. The cells of one seed come before those of the next, ours and DSPy's by turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
from common import table

import lmflow as lf
from lmflow.evaluation.stats import mean, paired_test
from lmflow.models.local.llama_server import LlamaServer
from lmflow.models.local.weights import locate
from lmflow.models.providers.openai import OpenAI
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.traces.counts import count_model_calls

LIMIT, THREADS = (
    48,
    2,
)  # one is answered, the next waits: a slot that is shared needs each prompt's head only once
LIBRARIES = ("lmflow", "dspy")
START = "none"  # the cell of the program as it is
TEXTS = {"banking10": "Say what the customer's message is about.", "bbh": "Answer the question."}


@attrs.frozen
class Task:
    """A data set: its signature, and the rows to learn from, to select by and to be scored on."""

    name: str
    signature: str
    instruction: str
    inputs: tuple[str, ...]
    output: str
    train: tuple[dict[str, Any], ...]
    select: tuple[dict[str, Any], ...]
    dev: tuple[dict[str, Any], ...]


@attrs.frozen
class Bench:
    """What was asked for."""

    folder: Path
    model: str
    calls: int
    python: str
    base_url: str = ""
    api_key: str = ""


async def main() -> None:
    """Run the cells that are missing, then say what all came to."""
    wanted = _arguments()
    data = os.environ.get("LMFLOW_DATA")
    if not data:
        print("skipped: LMFLOW_DATA names no folder of data sets")
        return
    wanted.folder.mkdir(parents=True, exist_ok=True)
    python = _dspy() if "dspy" in wanted.libraries and not wanted.report else ""
    bench = Bench(wanted.folder, wanted.model, wanted.calls, python)
    kinds = [
        (name, seed, kind)
        for seed in wanted.seeds
        for name in wanted.tasks
        for kind in wanted.optimizers
    ]
    cells = [*kinds, *((name, 0, START) for name in wanted.tasks)]
    if not wanted.report:
        server = LlamaServer(locate(wanted.model).path, slots=1, threads=wanted.server_threads)
        try:
            bench = attrs.evolve(bench, base_url=await server.start(), api_key=server.api_key)
            for name, seed, kind in cells:
                await _cell(
                    bench, task_of(Path(data), name, seed, wanted), kind, seed, wanted.libraries
                )
        finally:
            await server.stop()
    print(report(bench, wanted.tasks, wanted.optimizers, wanted.seeds))


def task_of(data: Path, name: str, seed: int, wanted: Any) -> Task:
    """The task, its train rows shuffled by the seed and parted."""
    folder = data / name
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    (output,), inputs = meta["outputs"], tuple(meta["inputs"])
    train, dev = (_rows(folder / f"{part}.jsonl") for part in ("train", "dev"))
    labels = meta.get("labels") or (
        sorted({row[output] for row in train}) if name.startswith("bbh") else []
    )
    random.Random(seed).shuffle(train)  # noqa: S311 - no secret
    end = min(wanted.train, len(train) // 2)
    kind = f": Literal{labels}" if labels else ""
    text = TEXTS[name.partition("/")[0]]
    return Task(name, f"{', '.join(inputs)} -> {output}{kind}", text, inputs, output, tuple(train[:end]),
                tuple(train[end : end + wanted.select]), tuple(dev[: wanted.dev]))  # fmt: skip


async def _cell(bench: Bench, task: Task, kind: str, seed: int, libraries: Sequence[str]) -> None:
    """The libraries on one task with one optimizer and seed, where they aren't recorded yet."""
    for library in libraries:
        path = path_of(bench, task.name, library, kind, seed)
        if path.exists():
            continue
        begun = time.monotonic()
        found = (
            await _ours(bench, task, kind, seed)
            if library == "lmflow"
            else await _theirs(bench, task, kind, seed)
        )
        right = {
            row["id"]: float(_same(found["answers"].get(row["id"]), row[task.output]))
            for row in task.dev
        }
        found |= {"scores": right, "seconds": time.monotonic() - begun, "budget": bench.calls}
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")
        share = sum(right.values()) / len(right)
        print(
            f"{path.stem}: {share:.3f} on {len(right)} rows, {found['calls']} calls, {found['seconds']:.0f} s",
            flush=True,
        )


async def _ours(bench: Bench, task: Task, kind: str, seed: int) -> dict[str, Any]:
    """The dev rows' answers by what an optimizer of ours made of the program, stopped before its
    budget.
    """
    program = lf.predict(
        "step", task.signature, task.instruction, options={"temperature": 0, "max_tokens": LIMIT}
    )
    model = OpenAI(
        f"local/{bench.model}", bench.model, bench.base_url, "local", bench.api_key, 600.0
    )
    metric, found = lf.exact_match(task.output, normalize=False), {"calls": 0}
    with lf.SqliteStore(bench.folder / f"{task.name.replace('/', '-')}-{kind}-{seed}.db") as store:
        async with lf.Executor(model, store, concurrency=THREADS) as ex:
            version = lf.init(program)
            if kind != START:
                optimizer = lf.within(_optimizer(kind, bench.calls, seed), max_calls=bench.calls)
                data = lf.Data([*task.train], [*task.select])
                done = await ex.optimize(optimizer, program, data, metric, version=version)
                version, found = done.version, _tuned(done)
            after = await ex.evaluate(program, task.dev, metric, version=version)
    return found | {
        "answers": {
            row.example.id: row.outputs[task.output] if row.outputs else None for row in after.rows
        }
    }


def _tuned(done: lf.Optimization) -> dict[str, Any]:
    """What is kept of an optimization beside its store."""
    version = done.version
    return {"calls": sum(count_model_calls(trace) for trace in done.run.traces), "version": version.id, "note": version.note,
            "curve": done.curve, "instruction": version["step.instruction"],
            "demos": len(version["step.demos"])}  # fmt: skip


_PLANNED: dict[str, Callable[..., PlanOptimizer]] = {
    "auto": lf.auto, "gepa": lf.gepa, "simba": lf.simba,
}  # fmt: skip


def _optimizer(kind: str, calls: int, seed: int) -> PlanOptimizer:
    if kind == "random_search":
        return lf.random_search(max_bootstrapped=4, max_labeled=4, seed=seed)
    if kind == "mipro":
        return lf.mipro(candidates=_candidates(calls), trials=30, seed=seed)
    if kind in _PLANNED:  # ours alone: --libraries lmflow
        return _PLANNED[kind](calls=calls, seed=seed)
    msg = f"no optimizer {kind!r} is compared here; random_search and mipro are, and {_PLANNED.keys()}"
    raise SystemExit(msg)


async def _theirs(bench: Bench, task: Task, kind: str, seed: int) -> dict[str, Any]:
    """The same by DSPy's optimizer with as many candidates or trials as stay within the budget."""
    plain, least = (
        (3, 0) if kind == "random_search" else (1, 1)
    )  # evaluations that no candidate or trial takes
    size = max(least, bench.calls // len(task.select) - plain)
    beyond: list[int] = []
    cache = bench.folder / f"{task.name.replace('/', '-')}-{kind}-{seed}.dspy"
    while True:
        case = {
            "base_url": bench.base_url, "api_key": bench.api_key, "wire": bench.model, "optimizer": kind,
            "signature": task.signature, "instruction": task.instruction, "inputs": task.inputs, "output": task.output,
            "size": size, "candidates": _candidates(bench.calls), "seed": seed, "threads": THREADS,
            "max_tokens": 2 * LIMIT, "train": task.train, "select": task.select, "dev": task.dev,
            "budget": bench.calls if size > least else 0,
        }  # fmt: skip
        found = await asyncio.to_thread(_asked, bench.python, case, cache)
        if "answers" in found:
            return found | {"size": size, "beyond": beyond}
        beyond.append(found["calls"])
        size -= 1


def _asked(python: str, case: dict[str, Any], cache: Path) -> dict[str, Any]:
    """What DSPy's child says, over the cache of the cell."""
    child = subprocess.run(
        [python, str(Path(__file__).parent / "dspy_optimize.py")], input=json.dumps(case) + "\n", text=True,
        capture_output=True, check=False, env={**os.environ, "DSPY_CACHEDIR": str(cache), "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    if child.returncode:
        raise RuntimeError(child.stderr[-2000:])
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return found


def report(bench: Bench, tasks: Sequence[str], kinds: Sequence[str], seeds: Sequence[int]) -> str:
    """A row a task and optimizer, one an optimizer, one of all: means over seeds and rows, and
    paired differences.
    """
    head = [
        "task",
        "optimizer",
        "seeds",
        "start",
        "dspy's start",
        "lmflow",
        "dspy",
        "lmflow - dspy",
        "lmflow - start",
    ]
    rows = [[*head, "calls"]]
    found = {(name, kind): _pairs(bench, name, kind, seeds) for name in tasks for kind in kinds}
    rows += [_row(name, kind, [pairs]) for (name, kind), pairs in found.items()]
    if len(tasks) > 1:
        rows += [_row("all", kind, [found[name, kind] for name in tasks]) for kind in kinds]
    rows.append(_row("all", "both", [*found.values()]))
    words = "Means over seeds and dev rows; 95 % intervals by dev row; calls: the most of any seed, ours / theirs."
    return f"{table(rows, right=range(2, 10))}\n{words}"


@attrs.frozen
class Pairs:
    """The cells of one task and optimizer, of the seeds that both libraries have (ours alone where
    there is none), and both starts.
    """

    name: str
    ours: tuple[dict[str, Any], ...]
    theirs: tuple[dict[str, Any], ...]
    start: tuple[dict[str, Any], ...]
    their_start: tuple[dict[str, Any], ...]


def _pairs(bench: Bench, name: str, kind: str, seeds: Sequence[int]) -> Pairs:
    both = [
        [_read(path_of(bench, name, library, kind, seed)) for library in LIBRARIES]
        for seed in seeds
    ]
    whole = [(ours, theirs) for ours, theirs in both if ours and theirs]
    alone = tuple(ours for ours, _ in both if ours)
    starts = [_read(path_of(bench, name, library, START, 0)) for library in LIBRARIES]
    return Pairs(
        name, tuple(ours for ours, _ in whole) or alone, tuple(theirs for _, theirs in whole),
        *((cell,) if cell else () for cell in starts),
    )  # fmt: skip


def _row(name: str, kind: str, parts: Sequence[Pairs]) -> list[str]:
    parts = [part for part in parts if part.ours]
    if not parts:
        return [name, kind, "0", *["-"] * 7]
    start, their_start, own, others = (
        _per_row([(part.name, cell) for part in parts for cell in getattr(part, side)])
        for side in ("start", "their_start", "ours", "theirs")
    )
    spent = [
        max((cell["calls"] for part in parts for cell in getattr(part, side)), default="-")
        for side in ("ours", "theirs")
    ]
    means = [_mean(scores) for scores in (start, their_start, own, others)]
    seeds = "+".join(str(len(part.ours)) for part in parts)
    return [
        name,
        kind,
        seeds,
        *means,
        _difference(own, others),
        _difference(own, start),
        "{} / {}".format(*spent),
    ]


def _per_row(cells: Sequence[tuple[str, dict[str, Any]]]) -> dict[tuple[str, str], float]:
    """Per task and dev row the mean over cells."""
    found: dict[tuple[str, str], list[float]] = {}
    for name, cell in cells:
        for id_, score in cell["scores"].items():
            found.setdefault((name, id_), []).append(score)
    return {row: sum(scores) / len(scores) for row, scores in found.items()}


def _mean(scores: dict[tuple[str, str], float]) -> str:
    if not scores:
        return "-"
    found = mean([*scores.values()])
    return f"{found.value:.3f} ({_end(found.low)} to {_end(found.high)})"


def _difference(ours: dict[tuple[str, str], float], theirs: dict[tuple[str, str], float]) -> str:
    pairs = [ours[name] - theirs[name] for name in ours if name in theirs]
    if not pairs:
        return "-"
    found = paired_test(pairs).difference
    return f"{found.value:+.3f} ({_end(found.low, '+')} to {_end(found.high, '+')})"


def _end(value: float | None, sign: str = "") -> str:
    return "?" if value is None else f"{value:{sign}.3f}"


def path_of(bench: Bench, name: str, library: str, kind: str, seed: int) -> Path:
    """Where a cell is recorded."""
    return bench.folder / f"{name.replace('/', '-')}-{library}-{kind}-{seed}.json"


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _same(answer: str | None, gold: str) -> bool:
    return answer is not None and str(answer).strip() == str(gold).strip()


def _candidates(calls: int) -> int:
    """Sets of demonstrations of a joint search: MIPRO's light preset, fewer where the budget is
    tiny.
    """
    return 6 if calls >= 200 else 2  # noqa: PLR2004 - two thirds of the bench's budget


def _dspy() -> str:
    """The Python of an environment with dspy and optuna, made where there is none."""
    if given := os.environ.get("LMFLOW_BENCH_DSPY_OPTUNA"):
        return given
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        / "lmflow-bench"
        / "dspy-optuna"
    )
    python, done = cache / "bin" / "python", cache / "installed"
    if not done.exists():
        print("making an environment with dspy and optuna (once) ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(cache)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "dspy[optuna]"], check=True)
        done.touch()
    return str(python)


def _arguments() -> Any:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--model", default="qwen2.5-coder-0.5b")
    words.add_argument("--calls", type=int, default=300)
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--tasks", nargs="+", default=["banking10", "bbh/disambiguation_qa"])
    words.add_argument("--optimizers", nargs="+", default=["random_search", "mipro"])
    words.add_argument("--train", type=int, default=40)
    words.add_argument("--select", type=int, default=30)
    words.add_argument("--dev", type=int, default=60)
    words.add_argument("--folder", type=Path, default=Path("optimizers-bench"))
    words.add_argument(
        "--server-threads", type=int, help="1 is faster where other work keeps the cores busy"
    )
    words.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    words.add_argument("--report", action="store_true", help="only say what is recorded")
    return words.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
