"""Simulated worlds with a known truth, behind the real optimizers.

python bench/simlm.py run [--presets small ...] [--steps 1 3] [--calls 300 1000] [--worlds 20]
                          [--optimizers auto mipro ...] [--seeds test|seen|dev] [--results FILE]
python bench/simlm.py report [--cells] [--results FILE]

A world is a scripted model: a chain of steps, each right or wrong on a row by chance, as its
instruction, its demonstrations, the row and the step before have it. Replies depend by hash on
what is asked, so a run can be repeated, and each version has a true score on rows that no
optimizer sees. Optimizers are the shipped ones, driven as the executor drives them but without a
store. All get the same calls. Cells that are in the results are not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from common import table
from worlds import PRESETS, World, ran

import lmflow as lf
from lmflow.optimizers import mipro as mipro_module
from lmflow.optimizers.parts import tpe
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces, drive_plan
from lmflow.traces.trace import Trace

# Constants are chosen on "dev"; nothing was tuned on "test". "seen" and "seen-again" are test seeds
# of earlier measurements, after which the search was changed.
SEEDS = {"dev": 0, "seen": 10_000, "seen-again": 20_000, "test": 30_000}


@attrs.frozen
class RandomPoints:
    """The trials of a search without a model: points drawn at random."""

    space: Mapping[str, int]
    draw: Any

    def ask(self) -> dict[str, int]:
        """A random point."""
        return {name: int(self.draw.integers(size)) for name, size in self.space.items()}

    def tell(self, value: float) -> None:
        """Learn nothing."""

    def add(self, point: Mapping[str, int], value: float) -> None:
        """Learn nothing."""


OPTIMIZERS: Mapping[str, Callable[[int, int], PlanOptimizer | None]] = {
    "start": lambda _calls, _seed: None,
    "labelled": lambda _calls, seed: lf.labeled_few_shot(k=8, seed=seed),
    "auto": lambda calls, seed: lf.auto(calls=calls, seed=seed),
    "auto safe": lambda calls, seed: lf.auto(calls=calls, seed=seed, safe=True),
    "mipro": lambda calls, seed: lf.mipro(calls=calls, seed=seed),
    "mipro stock": lambda _calls, seed: attrs.evolve(lf.mipro(seed=seed), fit=None),
    "random": lambda calls, seed: lf.mipro(calls=calls, seed=seed),
    "random_search": lambda calls, seed: lf.random_search(calls=calls, seed=seed),
    "gepa": lambda calls, seed: lf.gepa(calls=calls, seed=seed),
}


@attrs.frozen
class Cell:
    """One run: an optimizer in one world, within a number of calls."""

    optimizer: str
    preset: str
    steps: int
    calls: int
    world: int


def run_cell(cell: Cell) -> dict[str, Any]:
    """Run a cell; return the true scores of the start and of the answer, and what it took."""
    world = World(PRESETS[cell.preset], cell.world, cell.steps)
    start = lf.init(world.program)
    begun = time.process_time()
    optimizer = OPTIMIZERS[cell.optimizer](cell.calls, cell.world)
    version, calls, score = start, 0, None
    if optimizer is not None:
        bounded = lf.within(optimizer, max_calls=cell.calls)
        own_tpe = tpe.Tpe
        if cell.optimizer == "random":
            _use_tpe(lambda space, seed: RandomPoints(space, np.random.default_rng(seed)))
        try:
            version, calls, score = _drive(world, bounded)
        finally:
            _use_tpe(own_tpe)
    return {
        **attrs.asdict(cell), "start": world.truth(start), "answer": world.truth(version),
        "kept": version.tree == start.tree, "spent": calls, "select": score,
        "seconds": round(time.process_time() - begun, 2),
    }  # fmt: skip


def _use_tpe(factory: Any) -> None:
    vars(mipro_module)["Tpe"] = factory


def _drive(world: World, optimizer: PlanOptimizer) -> tuple[Any, int, float | None]:
    answers: dict[str, Trace] = {}
    score: list[float | None] = [None]

    def run_need(need: Need) -> tuple[Trace, ...]:
        score[0] = need.score
        for rollout in need.rollouts:
            if rollout.key not in answers:
                answers[rollout.key] = ran(world, rollout)
        return tuple(answers[rollout.key] for rollout in need.rollouts)

    traces = Traces(lf.init(world.program), world.data)
    plan = optimizer.begin(world.program, traces, lf.exact_match("answer"))
    version = drive_plan(plan, run_need)
    return version, sum(len(trace.calls) for trace in answers.values()), score[0]


def cells(words: argparse.Namespace) -> Iterator[Cell]:
    """All cells that the words ask for; worlds change slowest, so that a part says something."""
    first = SEEDS[words.seeds]
    for world in range(first, first + words.worlds):
        for preset in words.presets:
            for steps in [5] if preset == "deep" else words.steps:
                for calls in words.calls:
                    for optimizer in words.optimizers:
                        yield Cell(optimizer, preset, steps, calls, world)


def report(rows: list[dict[str, Any]], *, cells_too: bool = False) -> str:
    """Gains in points with standard errors by size and, if wanted, by cell; answers worse than the
    start; cells won by auto.
    """
    by: dict[tuple[str, int, int], dict[str, dict[int, dict[str, Any]]]] = {}
    for row in rows:
        key = (row["preset"], row["steps"], row["calls"])
        by.setdefault(key, {}).setdefault(row["optimizer"], {})[row["world"]] = row
    names = [name for name in OPTIMIZERS if any(name in own for own in by.values())]
    names = [name for name in names if name != "start"]
    lines = [["preset", "steps", "calls", "worlds", "start", *names]]
    for (preset, steps, calls), own in sorted(by.items()):
        start = [row["start"] for row in next(iter(own.values())).values()]
        gains = [_gain(own.get(name, {})) for name in names]
        worlds = max(map(len, own.values()))
        mean = f"{100 * statistics.fmean(start):.1f}"
        lines.append([preset, str(steps), f"{calls:,}", str(worlds), mean, *gains])
    by_cell = [table(lines, right=range(1, len(lines[0])))] if cells_too else []
    return "\n\n".join([*by_cell, *_by_size(by, names), _totals(by, names)])


def _by_size(by: Mapping[Any, Any], names: list[str]) -> list[str]:
    """By steps and calls, without null: the gain of each optimizer, and auto's lead over it."""
    gains: list[list[str]] = [["steps", "calls", "worlds", *names]]
    others = [name for name in names if name != "auto"]
    leads: list[list[str]] = [["steps", "calls", *(f"auto - {name}" for name in others)]]
    sizes = sorted({(steps, calls) for _, steps, calls in by})
    for steps, calls in sizes:
        own = {key: cell for key, cell in by.items() if key[1:] == (steps, calls)}
        useful = {key: cell for key, cell in own.items() if key[0] != "null"}
        worlds = sum(max(map(len, cell.values())) for cell in useful.values())
        size = [str(steps), f"{calls:,}"]
        gains.append([*size, str(worlds), *(_points(_gains(useful, name)) for name in names)])
        leads.append([*size, *(_lead(useful, name) for name in others)])
    return [table(lines, right=range(len(lines[0]))) for lines in (gains, leads)]


def _gains(by: Mapping[Any, Any], name: str) -> list[float]:
    rows = [row for own in by.values() for row in own.get(name, {}).values()]
    return [row["answer"] - row["start"] for row in rows]


def _lead(by: Mapping[Any, Any], name: str) -> str:
    differences, won = _against_auto(by, name)
    return f"{_points(differences)}, {won}"


def _gain(rows: Mapping[int, Mapping[str, Any]]) -> str:
    gains = [100 * (row["answer"] - row["start"]) for row in rows.values()]
    return _points([gain / 100 for gain in gains])


def _totals(by: Mapping[Any, Any], names: list[str]) -> str:
    lines = [["", "gain", "worse by > 0.5, no harm", "in harm", "null: kept", "null: diff",
              "select - truth", "auto - it", "cells auto wins", "s a run"]]  # fmt: skip
    for name in names:
        rows = [row for own in by.values() for row in own.get(name, {}).values()]
        if not rows:
            continue
        null = [row for row in rows if row["preset"] == "null"]
        rest = [row for row in rows if row["preset"] != "null"]
        harmful = [_is_worse(row) for row in rows if row["preset"] == "harm"]
        others = [_is_worse(row) for row in rows if row["preset"] != "harm"]
        optimism = [row["select"] - row["answer"] for row in rest if row["select"] is not None]
        paired, won = _against_auto(by, name)
        lines.append([
            name, _points([row["answer"] - row["start"] for row in rest]),
            _share(others), _share(harmful), _share([row["kept"] for row in null]),
            _points([row["answer"] - row["start"] for row in null]), _points(optimism),
            _points(paired), won, f"{statistics.fmean(row['seconds'] for row in rows):.2f}",
        ])  # fmt: skip
    return table(lines, right=range(1, len(lines[0])))


def _against_auto(by: Mapping[Any, Any], name: str) -> tuple[list[float], str]:
    differences, won, cells_ = [], 0, 0
    for (preset, _, _), own in by.items():
        common = own.get("auto", {}).keys() & own.get(name, {}).keys()
        if preset == "null" or not common or name == "auto":
            continue
        paired = [own["auto"][w]["answer"] - own[name][w]["answer"] for w in sorted(common)]
        differences += paired
        won, cells_ = won + (statistics.fmean(paired) >= 0), cells_ + 1
    return differences, f"{won} of {cells_}" if cells_ else "-"


def _is_worse(row: Mapping[str, Any]) -> bool:
    """Whether an answer is truly worse than the start by more than half a point."""
    return bool(row["answer"] < row["start"] - 0.005)


def _points(values: list[float]) -> str:
    if not values:
        return "-"
    spread = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{100 * statistics.fmean(values):+.1f} ({100 * spread:.1f})"


def _share(values: list[bool]) -> str:
    return f"{100 * statistics.fmean(values):.1f} %" if values else "-"


def main() -> None:
    """Run cells or report on them."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("verb", choices=["run", "report"])
    words.add_argument("--presets", nargs="+", default=[name for name in PRESETS if name != "deep"])
    words.add_argument("--steps", nargs="+", type=int, default=[1, 3])
    words.add_argument("--calls", nargs="+", type=int, default=[300, 1000])
    words.add_argument("--worlds", type=int, default=20)
    words.add_argument("--optimizers", nargs="+", default=list(OPTIMIZERS))
    words.add_argument("--seeds", choices=list(SEEDS), default="dev")
    words.add_argument("--cells", action="store_true", help="report each cell too")
    words.add_argument("--results", default="simlm.jsonl", type=Path)
    options = words.parse_args()
    known = _read(options.results)
    if options.verb == "run":
        names = [field.name for field in attrs.fields(Cell)]
        done = {tuple(row[name] for name in names) for row in known}
        with options.results.open("a", encoding="utf-8") as file:
            for cell in cells(options):
                if attrs.astuple(cell) not in done:
                    file.write(json.dumps(run_cell(cell)) + "\n")
                    file.flush()
        known = _read(options.results)
    print(report(known, cells_too=options.cells))


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
