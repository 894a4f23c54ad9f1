"""What an optimizer costs by itself, without models: CPU time a rollout, beside what Optuna takes.

python bench/overhead_optimizers.py [--rollouts 1000 3000 10000]

Each optimizer's plan is kept going, as the executor does, over rollouts that are answered at once:
a trace is made by driving the program against a ready answer, and that time is measured apart. What
is left is the optimizer's own: the versions that it makes, their keys, scores, labels, and finding
what was run before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import attrs
from common import table

import lmflow as lf
from lmflow.interpreter.driver import drive_pure
from lmflow.interpreter.predict import ADAPTER
from lmflow.messages.replies import ChatReply
from lmflow.optimizers.parts import tpe
from lmflow.optimizers.parts.needs import Need, PlannedRollout, unanswered
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces, drive_plan
from lmflow.programs.effects import Call
from lmflow.programs.environment import Env
from lmflow.programs.parameters import complete_params
from lmflow.replays.reuse import resolved
from lmflow.traces.trace import CallAttempt, Trace
from lmflow.values.record import Record

STEPS = (
    lf.predict("think", "question -> thought", "Think of it."),
    lf.predict("decide", "question, thought -> answer", "Decide it."),
)
PROGRAM = STEPS[0] >> STEPS[1]
SELECT, TRAIN = 100, 60
WORLD = Record(adapter=ADAPTER, models={"": {"model": "instant/model", "endpoint": "instant"}})
MAKERS: dict[str, Callable[[int], PlanOptimizer]] = {
    "random_search": lambda n: lf.random_search(candidates=max(1, n // SELECT - 4)),
    "bootstrap_optuna": lambda n: lf.bootstrap_optuna(trials=max(1, n // SELECT - 1)),
    "infer_rules": lambda n: lf.infer_rules(candidates=max(1, n // (SELECT + 2) - 2)),
    "opro": lambda n: lf.opro("decide", steps=max(1, n // (10 * (SELECT + 1))), breadth=10),
    "racing": lambda n: lf.racing(trials=max(1, (n - 8 * SELECT) // 10)),
    "auto": lambda n: lf.auto(calls=2 * n),
    "gepa": lambda n: lf.gepa(iterations=max(1, n // (6 + SELECT // 4))),
    "simba": lambda n: lf.simba(steps=max(1, (n - 7 * SELECT) // (32 * 13))),
    "mipro": lambda n: lf.mipro(trials=max(1, n // 55), candidates=12),
}


@attrs.define
class Watch:
    """CPU seconds by what they were spent on, and how many rollouts were asked for and run."""

    world: float = 0.0
    optuna: float = 0.0
    asked: int = 0
    ran: int = 0


def main() -> None:
    """One row an optimizer and size."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rollouts", type=int, nargs="+", default=[1000, 3000, 10_000])
    sizes = words.parse_args().rollouts
    rows = [["optimizer", "asked for", "run", "ms a rollout", "optuna ms", "world ms", "bar"]]
    for name, make in MAKERS.items():
        for size in sizes:
            watch = Watch()
            own = measured(make(size), watch)
            each = [1000 * seconds / watch.asked for seconds in (own, watch.optuna, watch.world)]
            rows.append(
                [name, f"{watch.asked:,}", f"{watch.ran:,}", *(f"{ms:.3f}" for ms in each), "≤ 2"]
            )
    print(table(rows, right=range(1, 7)))


def measured(optimizer: PlanOptimizer, watch: Watch) -> float:
    """The optimizer's own CPU seconds, all in all without the world's and Optuna's."""
    data = lf.Data(examples("t", TRAIN), examples("s", SELECT))
    restore = timed_optuna(watch)
    answers: dict[str, Trace] = {}
    begun = time.process_time()

    def run_need(need: Need) -> tuple[Trace, ...]:
        fresh = unanswered(need, answers)
        watch.asked += len(need.rollouts)
        watch.ran += len(fresh.rollouts)
        for rollout in fresh.rollouts:
            answers[rollout.key] = ran(rollout, watch)
        return tuple(answers[rollout.key] for rollout in need.rollouts)

    try:
        traces = Traces(lf.init(PROGRAM), data)
        drive_plan(optimizer.begin(PROGRAM, traces, lf.exact_match("answer")), run_need)
        return time.process_time() - begun - watch.world - watch.optuna
    finally:
        restore()


def timed_optuna(watch: Watch) -> Callable[[], None]:
    """Count the time inside the sampler's wrapper; gives back what undoes it."""
    kept = {name: getattr(tpe.Tpe, name) for name in ("__init__", "ask", "tell", "add")}

    def timed(inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            begun = time.process_time()
            try:
                return inner(*given, **named)
            finally:
                watch.optuna += time.process_time() - begun

        return call

    for name, inner in kept.items():
        setattr(tpe.Tpe, name, timed(inner))

    def restore() -> None:
        for name, inner in kept.items():
            setattr(tpe.Tpe, name, inner)

    return restore


def ran(rollout: PlannedRollout, watch: Watch) -> Trace:
    """The trace of a rollout whose model answers at once."""
    begun = time.process_time()
    calls: list[CallAttempt] = []

    def recall(call: Call, address: str) -> ChatReply:
        request: Any = resolved(call.request, WORLD, address)
        text = (
            f"Do {len(calls)} {request.key[-6:]}"
            if rollout.program is not PROGRAM
            else ["yes", "no"][int(request.key[-1], 16) % 2]
        )
        reply = ChatReply(text)
        calls.append(CallAttempt(address, request, request.key, 0, reply, 1, 2))
        return reply

    program = rollout.program
    inputs = rollout.example.only(*(field.name for field in program.signature.inputs))
    pending = attrs.evolve(program(**inputs), sample=rollout.sample)
    outputs = drive_pure(pending, Env(complete_params(program, rollout.version)), recall)
    trace = Trace(
        rollout.key[-18:], program.key, str(program), rollout.version, pending.inputs, WORLD,
        sample=rollout.sample, calls=tuple(calls), outputs=outputs, started=1, ended=2,
    )  # fmt: skip
    watch.world += time.process_time() - begun
    return trace


def examples(part: str, count: int) -> list[Record]:
    """Questions, with an answer that the model gives half the time."""
    return [
        Record(id=f"{part}{n}", question=f"{part} {n}: is it so?", answer="yes")
        for n in range(count)
    ]


if __name__ == "__main__":
    main()
