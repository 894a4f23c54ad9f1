"""Simulated worlds with a known truth, behind the real optimizers.

python bench/simlm.py run [--presets small ...] [--steps 1 3] [--calls 300 1000] [--worlds 20]
                          [--optimizers auto mipro ...] [--seeds test|dev] [--results FILE]
python bench/simlm.py report [--results FILE]

A world is a scripted model: a chain of steps, each right or wrong on a row by chance, as its
instruction, its demonstrations, the row and the step before have it. Replies depend by hash on
what is asked, so a run can be repeated, and each version has a true score on rows that no
optimizer sees. Optimizers are the shipped ones, driven as the executor drives them but without a
store. All get the same calls. Cells that are in the results are not run again.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import math
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from common import table

import lmflow as lf
from lmflow.interpreter.driver import drive_pure
from lmflow.interpreter.predict import ADAPTER
from lmflow.messages.replies import ChatReply
from lmflow.optimizers.parts import tpe
from lmflow.optimizers.parts.needs import Need, PlannedRollout
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces, drive_plan
from lmflow.programs.effects import Call
from lmflow.programs.environment import Env
from lmflow.programs.parameters import complete_params
from lmflow.replays.reuse import resolved
from lmflow.traces.trace import CallAttempt, Trace
from lmflow.values.record import Record

Array = Any

TRAIN, SELECT, TEST = 100, 100, 1000
RUN = TRAIN + SELECT
WORLD = Record(adapter=ADAPTER, models={"": {"model": "simulated/model", "endpoint": "here"}})
START = "Do the step."
TEST_SEEDS, DEV_SEEDS = 10_000, 0


@attrs.frozen
class Preset:
    """The sizes of what moves a step's chance of being right, on the logit scale."""

    instruction: float = 0.25  # spread of proposed instructions
    demos: float = 0.35  # spread of sets of demonstrations
    both: float = 0.15  # an instruction with a set
    across: float = 0.1  # the last step's instruction with the set of the step before
    idiosyncratic: float = 0.6  # a prompt with a row
    rows: float = 1.5  # difficulty of rows
    upstream: float = 2.5  # loss where the step before was wrong
    level: float = 1.2
    repeats: float = 0.6  # how far a reply stays when words before it change
    shared: float = 0.0  # how far a reply is the row's alone
    start: float = -0.15
    no_demos: float = -0.35
    mean: float = 0.0  # of proposed instructions
    clusters: int = 6  # skills that rows need
    skill: float = 0.15  # spread of an instruction over skills
    gain: float = 0.3  # mean of what a reflection adds on skills that failed
    gain_spread: float = 0.5
    side: float = -0.05  # mean of what it adds elsewhere
    side_spread: float = 0.15
    trap: float = 0.0  # share of proposals that shine on the rows at hand and fail on others


_NONE = dict(both=0.0, across=0.0, start=0.0, no_demos=0.0, skill=0.0, gain=0.0, gain_spread=0.0)
PRESETS: Mapping[str, Preset] = {
    "small": Preset(
        instruction=0.12, demos=0.18, start=-0.06, no_demos=-0.18, idiosyncratic=0.5
    ),
    "medium": Preset(),
    "hardq": Preset(rows=3.0, idiosyncratic=0.4, repeats=0.9, instruction=0.3, demos=0.45),
    "noisy": Preset(rows=0.8, idiosyncratic=0.8, repeats=0.5),
    "interact": Preset(instruction=0.2, demos=0.3, both=0.4, across=0.4),
    "hotpot": Preset(
        rows=2.0, shared=0.96, idiosyncratic=0.12, instruction=0.12, demos=0.18, start=-0.1,
        no_demos=-0.2, both=0.05, skill=0.08,
    ),
    "null": Preset(
        instruction=0.0, demos=0.0, idiosyncratic=0.3, side=0.0, side_spread=0.0, **_NONE
    ),
    "trap": Preset(trap=0.15),
    "deep": Preset(),
    "harm": Preset(
        instruction=0.25, demos=0.25, start=0.0, no_demos=0.25, mean=-0.5, gain=0.0
    ),
}  # fmt: skip


def _hash(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


def _normals(count: int, *parts: object) -> Array:
    return np.random.default_rng(_hash(*parts)).normal(size=count)


def _logistic(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))


_ERF = np.vectorize(math.erf)


def _phi(values: Array) -> Array:
    return 0.5 * (1 + _ERF(values / math.sqrt(2)))


@attrs.define(eq=False, slots=False)
class World:
    """A world of some steps: what each instruction does by skill, and the chances that follow."""

    preset: Preset
    seed: int
    steps: int
    words: dict[str, Array] = attrs.field(factory=dict)
    replies: dict[Any, Array] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        p, rows = self.preset, RUN + TEST
        self.difficulty = p.rows * _normals(rows, self.seed, "row")
        self.local = [0.5 * p.rows * _normals(rows, self.seed, "local", s) for s in self.places]
        draw = np.random.default_rng(_hash(self.seed, "skills"))
        self.skills = [draw.integers(p.clusters, size=rows) for _ in self.places]
        if p.trap:
            half = p.clusters // 2
            for own in self.skills:
                easy = draw.random(RUN) < 0.85
                own[:RUN] = np.where(easy, own[:RUN] % half, half + own[:RUN] % half)

    @property
    def places(self) -> range:
        """The positions of the steps."""
        return range(self.steps)

    @functools.cached_property
    def program(self) -> Any:
        """The chain of steps."""
        steps = []
        for at in self.places:
            out = "answer" if at == self.steps - 1 else f"note{at}"
            reads = "question" if at == 0 else f"question, note{at - 1}"
            steps.append(lf.predict(f"step{at}", f"{reads} -> {out}", START))
        return functools.reduce(lambda one, other: one >> other, steps)

    def rows(self, begin: int, count: int) -> list[Record]:
        """Examples; a right chain answers ``right``."""
        return [
            Record(id=f"q{n}", question=f"q{n}", answer="right")
            for n in range(begin, begin + count)
        ]

    @property
    def data(self) -> lf.Data:
        """The examples that optimizers get."""
        return lf.Data(self.rows(0, TRAIN), self.rows(TRAIN, SELECT))

    def effect(self, step: int, text: str) -> Array:
        """What an instruction adds, by skill."""
        key = f"{step}:{text}"
        if key not in self.words:
            if text == START:
                self.words[key] = np.full(self.preset.clusters, self.preset.start)
            else:
                self.words[key] = self._proposed(step, text)
        return self.words[key]

    def _proposed(self, step: int, text: str) -> Array:
        p, draw = self.preset, np.random.default_rng(_hash(self.seed, "word", step, text))
        effect = draw.normal(p.mean, p.instruction) + draw.normal(0, p.skill, p.clusters)
        if not p.instruction and not p.skill:
            effect = np.zeros(p.clusters)
        if p.trap and draw.random() < p.trap:
            effect = effect + np.where(np.arange(p.clusters) < p.clusters // 2, 0.6, -1.2)
        return effect

    def reflect(self, step: int, present: str, failed: list[int], text: str) -> None:
        """Give a rewritten instruction its effect: a gain on the skills of rows that failed."""
        p, draw = self.preset, np.random.default_rng(_hash(self.seed, "reflect", step, text))
        effect = self.effect(step, present).copy()
        bad = sorted({int(self.skills[step][row]) for row in failed})
        effect = effect + draw.normal(p.side, p.side_spread, p.clusters)
        for skill in bad:
            effect[skill] += draw.normal(p.gain, p.gain_spread) / math.sqrt(len(bad))
        self.words[f"{step}:{text}"] = np.minimum(effect, 2.5)

    def shown(self, step: int, demos: tuple[Any, ...]) -> float:
        """What demonstrations add: half by each, half by the set."""
        p = self.preset
        if not demos:
            return p.no_demos
        names = sorted(demo.digest for demo in demos)
        each = sum(_normals(1, self.seed, "demo", step, name)[0] for name in names)
        own = _normals(1, self.seed, "set", step, *names)[0]
        return float(p.demos * math.sqrt(0.5) * (each / math.sqrt(len(names)) + own))

    def logits(self, step: int, choice: tuple[tuple[str, Any], ...], rows: slice) -> Array:
        """A step's logits under what all steps are told, where the step before was right."""
        p, (text, demos) = self.preset, choice[step]
        shown = [demo.digest for demo in demos]
        part, count = (rows.start, rows.stop - rows.start)[0], rows.stop - rows.start
        own = p.idiosyncratic / math.sqrt(2)
        logits = p.level + self.effect(step, text)[self.skills[step][rows]]
        logits = logits + self.shown(step, demos)
        logits = logits + p.both * _normals(1, self.seed, "both", step, text, shown)[0]
        if step == self.steps - 1 and step > 0 and p.across:
            before = [demo.digest for demo in choice[step - 1][1]]
            logits = logits + p.across * _normals(1, self.seed, "across", text, before)[0]
        logits = logits + own * _normals(count, self.seed, "it", step, text, part)
        logits = logits + own * _normals(count, self.seed, "dt", step, shown, part)
        return logits - 0.8 * self.difficulty[rows] - 0.6 * self.local[step][rows]

    def right(self, step: int, choice: tuple[tuple[str, Any], ...], before: bool) -> Array:
        """On which of the rows at hand a step is right, if the step before was, or was not."""
        told = tuple((text, tuple(d.digest for d in demos)) for text, demos in choice[: step + 1])
        last = step == self.steps - 1
        key = (step, told, before)
        if key not in self.replies:
            p, rows = self.preset, slice(0, RUN)
            logits = self.logits(step, choice, rows) - (0.0 if before else p.upstream)
            row = _normals(RUN, self.seed, "z0", step, before)
            near = _normals(RUN, self.seed, "z1", step, told[-1], before)
            far = _normals(RUN, self.seed, "z2", step, told, before, last)
            own = math.sqrt(p.repeats) * near + math.sqrt(1 - p.repeats) * far
            luck = math.sqrt(p.shared) * row + math.sqrt(1 - p.shared) * own
            self.replies[key] = _phi(luck) < _logistic(logits)
        return self.replies[key]

    def truth(self, version: Any) -> float:
        """The true score of a version, on rows that nobody sees."""
        choice, rows = self.choice(version), slice(RUN, RUN + TEST)
        chance = np.ones(TEST)
        for step in self.places:
            logits = self.logits(step, choice, rows)
            wrong = _logistic(logits - self.preset.upstream)
            chance = chance * _logistic(logits) + (1 - chance) * wrong
        return float(chance.mean())

    def choice(self, version: Any) -> tuple[tuple[str, Any], ...]:
        """What a version tells each step: instruction and demonstrations."""
        params: Any = complete_params(self.program, version)
        return tuple((params[f"step{s}.instruction"], params[f"step{s}.demos"]) for s in self.places)


def ran(world: World, rollout: PlannedRollout) -> Trace:
    """The trace of a rollout in a world."""
    calls: list[CallAttempt] = []
    program: Any = rollout.program
    told = world.choice(rollout.version) if program is world.program else ()
    state = [True]

    def reply(request: Any) -> str:
        if program is not world.program:
            return proposal(world, rollout, request.key)
        step, row = len(calls), int(str(rollout.example["id"])[1:])
        state[0] = bool(world.right(step, told, state[0])[row])
        return "right" if state[0] else "wrong"

    def recall(call: Call, address: str) -> ChatReply:
        request: Any = resolved(call.request, WORLD, address)
        answer = ChatReply(reply(request))
        calls.append(CallAttempt(address, request, request.key, 0, answer, 1, 2))
        return answer

    inputs = rollout.example.only(*(field.name for field in program.signature.inputs))
    pending = attrs.evolve(program(**inputs), sample=rollout.sample)
    outputs = drive_pure(pending, Env(complete_params(program, rollout.version)), recall)
    return Trace(
        rollout.key[-18:], program.key, str(program), rollout.version, pending.inputs, WORLD,
        sample=rollout.sample, calls=tuple(calls), outputs=outputs, started=1, ended=2,
    )  # fmt: skip


def proposal(world: World, rollout: PlannedRollout, key: str) -> str:
    """What a proposer writes. A reflection knows which rows it was shown as failed."""
    text = f"Do it the way {key[-10:]}."
    if rollout.program.name == "reflect":
        inputs: Any = rollout.example
        step = int(re.search(r"step(\d+)", inputs["task"])[1])  # type: ignore[index]
        runs = re.findall(r'"question": *"q(\d+)".*?score: ([0-9.]+)', inputs["runs"], re.S)
        failed = [int(row) for row, score in runs if float(score) < 1]
        world.reflect(step, inputs["present"], failed, text)
    return text


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
    "mipro stock": lambda _calls, seed: lf.mipro(seed=seed),
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
    from lmflow.optimizers import mipro as module

    vars(module)["Tpe"] = factory


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
    first = TEST_SEEDS if words.seeds == "test" else DEV_SEEDS
    for world in range(first, first + words.worlds):
        for preset in words.presets:
            for steps in [5] if preset == "deep" else words.steps:
                for calls in words.calls:
                    for optimizer in words.optimizers:
                        yield Cell(optimizer, preset, steps, calls, world)


def report(rows: list[dict[str, Any]]) -> str:
    """Gains in points with standard errors, answers worse than the start, and cells won by auto."""
    by: dict[tuple[str, int, int], dict[str, dict[int, dict[str, Any]]]] = {}
    for row in rows:
        key = (row["preset"], row["steps"], row["calls"])
        by.setdefault(key, {}).setdefault(row["optimizer"], {})[row["world"]] = row
    names = [name for name in OPTIMIZERS if any(name in own for own in by.values())]
    lines = [["preset", "steps", "calls", "worlds", "start", *names[1:]]]
    for (preset, steps, calls), own in sorted(by.items()):
        start = [row["start"] for row in own[names[0]].values()] if names[0] in own else []
        start = start or [row["start"] for row in next(iter(own.values())).values()]
        gains = [_gain(own.get(name, {})) for name in names[1:]]
        worlds = max(map(len, own.values()))
        mean = f"{100 * statistics.fmean(start):.1f}"
        lines.append([preset, str(steps), f"{calls:,}", str(worlds), mean, *gains])
    return table(lines, right=range(1, len(lines[0]))) + "\n\n" + _totals(by, names)


def _gain(rows: Mapping[int, Mapping[str, Any]]) -> str:
    gains = [100 * (row["answer"] - row["start"]) for row in rows.values()]
    if len(gains) < 2:
        return "-"
    return f"{statistics.fmean(gains):+.1f} ({statistics.stdev(gains) / math.sqrt(len(gains)):.1f})"


def _totals(by: Mapping[Any, Any], names: list[str]) -> str:
    lines = [["", "gain", "worse by > 0.5, no harm", "in harm", "null: kept", "null: diff",
              "select - truth", "auto - it", "cells auto wins", "s a run"]]  # fmt: skip
    for name in names:
        rows = [row for own in by.values() for row in own.get(name, {}).values()]
        if not rows:
            continue
        null = [row for row in rows if row["preset"] == "null"]
        rest = [row for row in rows if row["preset"] != "null"]
        worse = {
            harm: [row["answer"] < row["start"] - 0.005 for row in rows if (row["preset"] == "harm") == harm]
            for harm in (False, True)
        }
        optimism = [row["select"] - row["answer"] for row in rest if row["select"] is not None]
        paired, won = _against_auto(by, name)
        lines.append([
            name, _points([row["answer"] - row["start"] for row in rest]),
            _share(worse[False]), _share(worse[True]), _share([row["kept"] for row in null]),
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
    words.add_argument("--seeds", choices=["test", "dev"], default="dev")
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
    print(report(known))


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
