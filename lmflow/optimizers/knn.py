"""Pools of demonstrations for steps that choose among them at run time."""

from __future__ import annotations

import math
from collections.abc import Container, Generator, Sequence

from lmflow.data.dataset import Data
from lmflow.errors import ProgramError
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.interpreter.nearest import question_text
from lmflow.interpreter.similarity import pack_vector, vector_key
from lmflow.optimizers.parts.bootstrap import (
    Bootstrap,
    TeacherSource,
    bootstrap_demos,
    bootstrap_note,
    make_teacher,
)
from lmflow.optimizers.parts.checks import check_teacher
from lmflow.optimizers.parts.demos import (
    Demo,
    DemoSet,
    Success,
    fill_with_labelled,
    labelled_demos,
    sample_demos,
    with_demos,
)
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.needs import Need, PlannedRollout, need_rollouts
from lmflow.optimizers.parts.plan import (
    TRAIN,
    Plan,
    PlanOptimizer,
    Task,
    Traces,
    plan_optimizer,
)
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import Best
from lmflow.programs.embedding import MAX_TEXTS_PER_CALL
from lmflow.programs.factories import embed
from lmflow.programs.parameters import complete_params, init
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.values.batches import batches
from lmflow.values.record import Record
from lmflow.versions.version import Version


@explains_options(OPTIMIZER_OPTIONS)
def knn_few_shot(  # noqa: PLR0913 - each is an option
    *, size: int = 200, bootstrap: bool = True, max_labeled: int = 4, rounds: int = 1,
    threshold: float | None = None, teacher: TeacherSource = None, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Fill the pool of each ``lf.nearest`` or ``lf.similar`` step, from which the program chooses
    demonstrations for each input.

    The pool holds the teacher's good runs on the training examples, then labelled examples that are
    not among them. Needs at most ``rounds * train`` rollouts, once: at run time the choice costs no
    call. If a step chooses by vectors, those of its pool are embedded too, 64 a call; a
    demonstration whose embedding fails is left out, and the version's note says so.
    Liu et al. 2022, arXiv 2101.06804, section 3; DSPy's ``KNNFewShot``.

    Args:
        size: The most demonstrations of a pool.
        bootstrap: Whether the teacher runs at all; without it the pool is labelled examples alone
            and costs nothing.
        max_labeled: The number of labelled demonstrations that the teacher is shown, none of the
            example that it runs on.
        rounds: The most tries an example, from the second on at temperature 1.
        threshold: The score that counts as success; any score above 0 if ``None``.
        teacher: A version, a program or a model (``provider/model``) instead of the start version.
        seed: The seed of all random choices.

    Returns:
        An optimizer that requires the data part ``train``; its plan raises ``ProgramError`` if no
        step of the program has a pool.
    """
    options = {
        "size": size, "bootstrap": bootstrap, "max_labeled": max_labeled, "rounds": rounds,
        "threshold": threshold, "teacher": teacher, "seed": seed,
    }  # fmt: skip

    def plan(task: Task) -> Plan:
        steps = _steps_with_pools(task.program)
        rng = randomness(task.version, "knn_few_shot", seed)
        labelled = labelled_demos(task.program, task.data.train)
        shown = sample_demos(rng, labelled, max_labeled)
        successes = yield from bootstrap_demos(
            task,
            make_teacher(task.program, task.version, teacher, shown),
            task.data.train,
            Bootstrap(size if bootstrap else 0, rounds, threshold),
            "bootstrap",
            Best(task.version),
            rng,
        )
        chosen = fill_with_labelled(successes, labelled, size, rng)
        pools: DemoSet = {step: chosen[step] for step in steps}
        vectors = yield from _embed_pools(task, pools)
        return _with_pools(task, successes, pools, vectors)

    def bound(program: Program, data: Data) -> Bound:
        embedding_steps = sum(step.similar for step in program.predictors.values())
        calls = math.ceil(min(size, len(data.train)) / MAX_TEXTS_PER_CALL)
        return Bound(rounds * len(data.train) if bootstrap else 0, embedding_steps * calls)

    def requires(program: Program, traces: Traces) -> None:
        _ = _steps_with_pools(program)
        if bootstrap:
            check_teacher(program, traces.data.train, teacher)

    return plan_optimizer("knn_few_shot", options, plan, bound, TRAIN, requires=requires)


_Vectors = dict[str, dict[str, str]]
"""For each step that chooses by vectors, the vectors of its pool, by demonstration key."""


def _with_pools(
    task: Task, successes: Sequence[Success], pools: DemoSet, vectors: _Vectors
) -> Version:
    embedded = {
        step: _embedded(task.program, step, pools[step], vectors_by_key)
        for step, vectors_by_key in vectors.items()
    }
    lost = sum(len(pools[step]) - len(demos) for step, demos in embedded.items())
    note = f"{bootstrap_note(successes)}, to choose from"
    if lost:
        note += f"; {lost} that could not be embedded are left out"
    return with_demos(
        task.version,
        {**pools, **embedded},
        note,
        slot="pool",
        more={f"{step}.vectors": vectors_by_key for step, vectors_by_key in vectors.items()},
    )


def _embed_pools(task: Task, pools: DemoSet) -> Generator[Need, tuple[Trace, ...], _Vectors]:
    """Embed the demonstrations of each step that chooses by vectors."""
    vectors: _Vectors = {}
    for name, step in task.program.predictors.items():
        if step.similar and name in pools:
            vectors[name] = yield from _embed_pool(task, name, pools[name])
    return vectors


def _embed_pool(
    task: Task, step: str, demos: Sequence[Demo]
) -> Generator[Need, tuple[Trace, ...], dict[str, str]]:
    signature = task.program.predictors[step].signature
    names = tuple(field.name for field in signature.inputs)
    texts = {vector_key(demo.record, names): question_text(demo.record, names) for demo in demos}
    embedder = embed(
        "embed",
        "texts: list[str] -> vectors: list[list[float]]",
        model=complete_params(task.program, task.version)[f"{step}_near.model"],
    )
    key_batches = list(batches(list(texts), MAX_TEXTS_PER_CALL))
    rollouts = [
        PlannedRollout(embedder, init(embedder), Record(texts=[texts[key] for key in keys]))
        for keys in key_batches
    ]
    traces = yield need_rollouts(f"embed[{step}]", rollouts, task.version, phase="embed the pool")
    vectors: dict[str, str] = {}
    for keys, trace in zip(key_batches, traces, strict=True):
        if trace.outputs is not None:
            packed = map(pack_vector, trace.outputs.vectors)
            vectors |= dict(zip(keys, packed, strict=True))
    return vectors


def _embedded(
    program: Program, step: str, demos: Sequence[Demo], keys: Container[str]
) -> tuple[Demo, ...]:
    names = tuple(field.name for field in program.steps[step].signature.inputs)
    return tuple(demo for demo in demos if vector_key(demo.record, names) in keys)


def _steps_with_pools(program: Program) -> list[str]:
    steps = [name for name, step in program.predictors.items() if step.nearest]
    if not steps:
        first = next(iter(program.predictors), "step")
        msg = (
            f"no step of {program} chooses its demonstrations; make one that does:"
            f" lf.nearest({first}, k=4)"
        )
        raise ProgramError(msg)
    return steps
