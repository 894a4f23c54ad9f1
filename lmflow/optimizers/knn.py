"""Pools of demonstrations for steps that choose among them at run time."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping

from toolz import partition_all

from lmflow.data.dataset import Data
from lmflow.errors import ProgramError
from lmflow.interpreter.nearest import text_of
from lmflow.interpreter.similarity import key_of, packed
from lmflow.optimizers.few_shot import Who, noted, taught
from lmflow.optimizers.parts.demos import (
    Bootstrap,
    Demo,
    DemoSet,
    bootstrapped,
    filled,
    labelled,
    sampled,
    with_demos,
)
from lmflow.optimizers.parts.plan import (
    TRAIN,
    Bound,
    Need,
    Plan,
    PlannedRollout,
    PlanOptimizer,
    Task,
    need_rollouts,
    randomness,
    plan_optimizer,
)
from lmflow.optimizers.parts.scoring import Best
from lmflow.programs.embedding import MOST
from lmflow.programs.factories import embed
from lmflow.programs.program import Program, completed, init
from lmflow.traces.trace import Trace
from lmflow.values.record import Record


def knn_few_shot(  # noqa: PLR0913 - each is an option
    *, size: int = 200, bootstrap: bool = True, max_labeled: int = 4, rounds: int = 1, threshold: float | None = None,
    teacher: Who = None, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """The pool of each ``lf.nearest`` or ``lf.similar`` step: what the teacher did in the training
    examples that it does well, then labelled ones that are not among them, up to ``size`` in
    all; the program chooses among them for each input.

    The teacher is shown ``max_labeled`` labelled demonstrations, none of the example that it is
    asked. Without ``bootstrap`` the pool is labelled examples alone and costs nothing. Asks for at
    most ``rounds * train`` rollouts, once: at run time a choice costs no call. Where a step chooses
    by vectors, those of its pool are asked for too, 64 a call; a demonstration whose vector fails
    is left out, and the version's note says so. ``ProgramError`` where no step of the program has a
    pool.

    Liu et al. 2022, arXiv 2101.06804, section 3; DSPy's ``KNNFewShot``.
    """
    options = {
        "size": size, "bootstrap": bootstrap, "max_labeled": max_labeled, "rounds": rounds, "threshold": threshold,
        "teacher": teacher, "seed": seed,
    }  # fmt: skip

    def plan(task: Task) -> Plan:
        pooled = _pooled(task.program)
        rng, shown = (
            randomness(task.version, "knn_few_shot", seed),
            labelled(task.program, task.data.train),
        )
        teach = taught(task.program, task.version, teacher, sampled(rng, shown, max_labeled))
        how = Bootstrap(size if bootstrap else 0, rounds, threshold)
        boot = yield from bootstrapped(
            task, teach, task.data.train, how, "bootstrap", Best(task.version), rng
        )
        found = filled(boot, shown, size, rng)
        chosen: DemoSet = {name: found[name] for name in pooled}
        vectors = yield from _vectors(task, chosen)
        having = {
            name: _having(task.program, name, chosen[name], kept) for name, kept in vectors.items()
        }
        lost = sum(len(chosen[name]) - len(kept) for name, kept in having.items())
        note = f"{noted(boot)}, to choose from{f'; {lost} that could not be embedded are left out' if lost else ''}"
        return with_demos(
            task.version, {**chosen, **having}, note, slot="pool",
            more={f"{name}.vectors": kept for name, kept in vectors.items()},
        )  # fmt: skip

    def bound(program: Program, data: Data) -> Bound:
        similar = sum(step.similar for step in program.predictors.values())
        calls = math.ceil(min(size, len(data.train)) / MOST)
        return Bound(rounds * len(data.train) if bootstrap else 0, similar * calls)

    return plan_optimizer("knn_few_shot", options, plan, bound, TRAIN)


def _vectors(
    task: Task, chosen: DemoSet
) -> Generator[Need, tuple[Trace, ...], dict[str, dict[str, str]]]:
    """Per step that chooses by vectors those of its pool, by what each demonstration asks."""
    found: dict[str, dict[str, str]] = {}
    params = completed(task.program, task.version)
    for name, step in task.program.predictors.items():
        if not step.similar or name not in chosen:
            continue
        names = tuple(field.name for field in step.signature.inputs)
        texts = {key_of(demo.record, names): text_of(demo.record, names) for demo in chosen[name]}
        asked = embed(
            "embed",
            "texts: list[str] -> vectors: list[list[float]]",
            model=params[f"{name}_near.model"],
        )
        batches = list(partition_all(MOST, texts.items()))
        rollouts = [
            PlannedRollout(asked, init(asked), Record(texts=[text for _, text in batch]))
            for batch in batches
        ]
        traces = yield need_rollouts(f"embed[{name}]", rollouts, task.version, phase="embed the pool")
        found[name] = {
            key: packed(vector)
            for batch, trace in zip(batches, traces, strict=True)
            if trace.outputs is not None
            for (key, _), vector in zip(batch, trace.outputs.vectors, strict=True)
        }
    return found


def _having(
    program: Program, name: str, demos: tuple[Demo, ...], vectors: Mapping[str, str]
) -> tuple[Demo, ...]:
    names = tuple(field.name for field in program.steps[name].signature.inputs)
    return tuple(demo for demo in demos if key_of(demo.record, names) in vectors)


def _pooled(program: Program) -> list[str]:
    found = [name for name, step in program.predictors.items() if step.nearest]
    if not found:
        first = next(iter(program.predictors), "step")
        msg = f"no step of {program} chooses its demonstrations; make one that does: lf.nearest({first}, k=4)"
        raise ProgramError(msg)
    return found
