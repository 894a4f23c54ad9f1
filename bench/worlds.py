"""Simulated worlds with a known truth: chains of steps that are right or wrong by chance.

A world is a scripted model. Each step is right on a row by a chance that its instruction, its
demonstrations, the row and the step before decide (the presets say how much); replies depend by
hash on what is asked, so a run can be repeated.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

import lmflow as lf
from lmflow.interpreter.driver import drive_pure
from lmflow.interpreter.predict import ADAPTER
from lmflow.messages.replies import ChatReply
from lmflow.optimizers.parts.needs import PlannedRollout
from lmflow.programs.effects import Call
from lmflow.programs.environment import Env
from lmflow.programs.parameters import complete_params
from lmflow.replays.reuse import resolved
from lmflow.traces.trace import CallAttempt, Trace
from lmflow.values.record import Record

Array = Any
Choice = tuple[tuple[str, Any], ...]

TRAIN, SELECT, TEST = 100, 100, 1000
RUN = TRAIN + SELECT
WORLD = Record(adapter=ADAPTER, models={"": {"model": "simulated/model", "endpoint": "here"}})
START = "Do the step."


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


_NOTHING = Preset(
    instruction=0.0, demos=0.0, both=0.0, across=0.0, idiosyncratic=0.3, start=0.0, no_demos=0.0,
    skill=0.0, gain=0.0, gain_spread=0.0, side=0.0, side_spread=0.0,
)  # fmt: skip
_TRAPPED = 0.85  # share of the rows at hand that need the skills on which a trap shines
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
    "null": _NOTHING,
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
    envs: dict[Any, Env] = attrs.field(factory=dict)  # what executions of a version share

    def __attrs_post_init__(self) -> None:
        p, rows = self.preset, RUN + TEST
        self.difficulty = p.rows * _normals(rows, self.seed, "row")
        self.local = [0.5 * p.rows * _normals(rows, self.seed, "local", s) for s in self.places]
        draw = np.random.default_rng(_hash(self.seed, "skills"))
        self.skills = [draw.integers(p.clusters, size=rows) for _ in self.places]
        if p.trap:
            half = p.clusters // 2
            for own in self.skills:
                easy = draw.random(RUN) < _TRAPPED
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

    def logits(self, step: int, choice: Choice, rows: slice) -> Array:
        """A step's logits under what all steps are told, where the step before was right."""
        p, (text, demos) = self.preset, choice[step]
        shown = [demo.digest for demo in demos]
        part, count = rows.start, rows.stop - rows.start
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

    def right(self, step: int, choice: Choice, *, before: bool) -> Array:
        """On which of the rows at hand a step is right, if the step before was, or was not."""
        prefix = tuple((text, tuple(d.digest for d in demos)) for text, demos in choice[: step + 1])
        last = step == self.steps - 1
        key = (step, prefix, before)
        if key not in self.replies:
            p, rows = self.preset, slice(0, RUN)
            logits = self.logits(step, choice, rows) - (0.0 if before else p.upstream)
            row = _normals(RUN, self.seed, "z0", step, before)
            near = _normals(RUN, self.seed, "z1", step, prefix[-1], before)
            far = _normals(RUN, self.seed, "z2", step, prefix, before, last)
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

    def choice(self, version: Any) -> Choice:
        """What a version tells each step: instruction and demonstrations."""
        params: Any = complete_params(self.program, version)
        return tuple(
            (params[f"step{s}.instruction"], params[f"step{s}.demos"]) for s in self.places
        )


def ran(world: World, rollout: PlannedRollout) -> Trace:
    """The trace of a rollout in a world."""
    calls: list[CallAttempt] = []
    program: Any = rollout.program
    choice = world.choice(rollout.version) if program is world.program else ()
    right = [True]

    def reply(request: Any) -> str:
        if program is not world.program:
            return proposal(world, rollout, request.key)
        step, row = len(calls), int(str(rollout.example["id"])[1:])
        right[0] = bool(world.right(step, choice, before=right[0])[row])
        return "right" if right[0] else "wrong"

    def recall(call: Call, address: str) -> ChatReply:
        request: Any = resolved(call.request, WORLD, address)
        answer = ChatReply(reply(request))
        calls.append(CallAttempt(address, request, request.key, 0, answer, 1, 2))
        return answer

    inputs = rollout.example.only(*(field.name for field in program.signature.inputs))
    pending = attrs.evolve(program(**inputs), sample=rollout.sample)
    name = (program.key, rollout.version.tree)
    if name not in world.envs:
        world.envs[name] = Env(complete_params(program, rollout.version))
    outputs = drive_pure(pending, world.envs[name], recall)
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
        runs = re.findall(r'"question": *"q(\d+)".*?score: ([0-9.]+)', inputs["runs"], re.DOTALL)
        failed = [int(row) for row, score in runs if float(score) < 1]
        world.reflect(step, inputs["present"], failed, text)
    return text
