"""Weights of steps, trained on what a teacher did well, alone or in turns with their prompts."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.data.dataset import Data
from lmflow.errors import ProgramError
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.optimizers.combinators import map_needs, prefix_labels
from lmflow.optimizers.lessons import Lessons, WeightsSource
from lmflow.optimizers.parts.bootstrap import TeacherSource
from lmflow.optimizers.parts.checks import check_teacher, runs_on
from lmflow.optimizers.parts.helpers import helper_executions
from lmflow.optimizers.parts.instructions import Proposers
from lmflow.optimizers.parts.inventing import can_invent
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import (
    SELECT,
    TRAIN,
    Plan,
    PlanOptimizer,
    Task,
    check_optimizers,
    plan_optimizer,
    with_best_so_far,
)
from lmflow.optimizers.parts.scoring import (
    Best,
    conclude,
    score_candidate,
)
from lmflow.programs.parameters import init
from lmflow.programs.program import Predict, Program
from lmflow.replays.teaching import student_params
from lmflow.training.names import TrainerSource, trainer_of
from lmflow.training.recipe import Recipe
from lmflow.values.record import Record
from lmflow.versions.version import Version

_NAMES_OF_TURNS = {"prompts", "weights"}


@explains_options(OPTIMIZER_OPTIONS)
def bootstrap_finetune(  # noqa: PLR0913 - each is an option
    *, teacher: TeacherSource = None, steps: Sequence[str] = (), base: str = "local/smollm2-135m",
    trainer: TrainerSource = "lora", rounds: int = 1, threshold: float | None = None,
    invented: int = 0, proposer: Predict | None = None, model: str = "", rank: int = 16,
    rate: float = 1e-3, epochs: int = 8, batch: int = 8, longest: int = 1024, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Train weights on the runs of a teacher that the metric accepts, and let steps use them.

    The teacher runs on the training examples. Each step of an accepted run becomes a chat: the
    prompt that the step is served with afterwards, without demonstrations, and the teacher's
    outputs as its adapter writes them. One job trains on the chats of all chosen steps; it is a
    recorded call, so it is resumed like one, and a replay gives its weights without training.
    With selection data the version is returned only if it scores higher there than the start.
    DSPy's ``BootstrapFinetune`` (Soylu et al. 2024, arXiv 2407.10930).

    Args:
        teacher: A version, a program or a model (``provider/model``) instead of the start version.
        steps: The steps that get the weights, by name; all that ask a model if empty.
        base: The model that is trained.
        trainer: ``lora``, ``together``, ``tinker``, or a trainer.
        rounds: The most tries an example, from the second on at temperature 1.
        threshold: The score that counts as success; any score above 0 if ``None``.
        invented: The most examples that are made up beside the training examples, each kept only if
            the metric accepts the teacher's answer and no other has its inputs. The version's
            origin says how many there are.
        proposer: The program that makes examples up, instead of the shipped one.
        model: The proposer's model, instead of the program's own.
        rank: The rank of the adapter.
        rate: The highest learning rate.
        epochs: How often each chat is seen.
        batch: Chats a step of the training.
        longest: The most tokens of a chat.
        seed: The seed of all random choices.

    Returns:
        An optimizer that requires the data part ``train``.

    Raises:
        ValueError: A number of the recipe is out of range, or there is no such trainer.
    """
    names = (steps,) if isinstance(steps, str) else tuple(steps)
    chosen_trainer = trainer_of(trainer)
    options = {
        "teacher": teacher, "steps": names, "base": base, "trainer": chosen_trainer.name,
        "rounds": rounds, "threshold": threshold, "invented": invented, "proposer": proposer,
        "model": model, "rank": rank, "rate": rate, "epochs": epochs, "batch": batch,
        "longest": longest, "seed": seed,
    }  # fmt: skip
    recipe = Recipe(
        rank=rank, alpha=2.0 * rank, rate=rate, epochs=epochs, batch=batch, longest=longest
    )
    weights = WeightsSource(names, base, chosen_trainer, recipe, seed)
    lessons = Lessons(teacher, rounds, threshold, invented, proposer, Proposers(model), seed)

    def plan(task: Task) -> Plan:
        rows = yield from lessons.rows(task)
        version = yield from weights.version(task, rows, lessons.count_invented(task, rows))
        if version is None or not len(task.data.select):
            return version or task.version
        _, best = yield from score_candidate(task, task.version, "start", Best(task.version))
        _, best = yield from score_candidate(task, version, "trained", best, "score the weights")
        return (yield from conclude(best))

    def bound(program: Program, data: Data) -> Bound:
        del program
        taught = rounds * len(data.train) + invented
        return Bound(taught + 2 * len(data.select), invented + 1)

    def requires(program: Program, traces: Any) -> None:
        weights.steps(program)
        runs_on("train", "select", teacher=teacher)(program, traces)
        check_teacher(program, traces.data.train, teacher)
        _check_same_steps(program, teacher, weights.steps(program))
        student_params(program, traces.version, weights.steps(program))
        if invented:
            can_invent(proposer, teacher)(program, traces)

    optimizer = plan_optimizer(
        "bootstrap_finetune", options, plan, bound, TRAIN, requires=requires, words=weights.words
    )
    if not invented:
        options = {name: value for name, value in options.items() if name != "model"}
    return attrs.evolve(optimizer, own_helpers=functools.partial(_helpers, options, weights.tool))


def better_together(
    prompts: PlanOptimizer,
    weights: PlanOptimizer,
    *,
    turns: Sequence[str] = ("prompts", "weights", "prompts"),
) -> PlanOptimizer:
    """Tune prompts and weights in turns, each from what the turn before came to, and choose the
    best of all turns and of the start by the mean on the selection data; ties go to the earlier.

    Soylu et al. 2024, arXiv 2407.10930 (BetterTogether).

    Args:
        prompts: The optimizer of prompts.
        weights: The optimizer of weights.
        turns: The order, of ``"prompts"`` and ``"weights"``.

    Returns:
        An optimizer that needs what its turns need and ``(1 + turns) * select`` rollouts, and
        requires the data part ``select`` too.

    Raises:
        TypeError: An argument is not an optimizer.
        ValueError: A turn is neither.
    """
    check_optimizers(prompts, weights)
    order = tuple(turns)
    if not order or not set(order) <= _NAMES_OF_TURNS:
        msg = f'turns are "prompts" and "weights", found {order!r}'
        raise ValueError(msg)
    by_name = {"prompts": prompts, "weights": weights}
    optimizers = tuple(by_name[turn] for turn in order)

    def plan(task: Task) -> Plan:
        start, current, origin = task.version, task.version, Record()
        _, best = yield from score_candidate(task, start, "start", Best(start))
        for number, optimizer in enumerate(optimizers):
            label = f"turn[{number}]"
            inner = optimizer.plan(attrs.evolve(task, version=current))
            best_so_far = best.version
            version = yield from map_needs(
                prefix_labels(inner, label),
                functools.partial(_with_version, version=best_so_far),
            )
            origin |= version.origin
            current = _child(start, version, origin, f"{order[number]}: {version.note}")
            _, best = yield from score_candidate(task, current, f"{label}/result", best)
        return (yield from conclude(best))

    def bound(program: Program, data: Data) -> Bound:
        parts = [optimizer.bound(program, data) for optimizer in optimizers]
        return sum(parts, Bound((1 + len(order)) * len(data.select)))

    def words(program: Program, data: Data, metric: Any) -> str:
        texts = (optimizer.words(program, data, metric) for optimizer in optimizers)
        return "; ".join(filter(None, texts))

    options = {"prompts": prompts, "weights": weights, "turns": order}
    return plan_optimizer(
        "better_together",
        options,
        with_best_so_far(plan),
        bound,
        SELECT,
        requires=runs_on("select"),
        inner=(prompts, weights),
        words=words,
    )


def _check_same_steps(program: Program, teacher: TeacherSource, steps: Iterable[str]) -> None:
    """Raise ``ProgramError`` if a teacher's program lacks a step, or has another of its name."""
    if not isinstance(teacher, Program):
        return
    for name in steps:
        own, other = program.predictors[name], teacher.predictors.get(name)
        if other is None or other.signature.identity != own.signature.identity:
            msg = f"the teacher {teacher} has no step {name!r} with the fields of {program}'s"
            raise ProgramError(msg)


def _helpers(
    options: Mapping[str, Any], tool: Program, program: Program, start: Version
) -> Iterator[tuple[Program, Version]]:
    yield from helper_executions(options, program, start)
    yield tool, init(tool)


def _with_version(need: Need, version: Version) -> Need:
    return attrs.evolve(need, best=version)


def _child(start: Version, version: Version, origin: Record, note: str) -> Version:
    if version.tree == start.tree:
        return start
    own = Record({path: value for path, value in origin.items() if path in version.params})
    return Version(params=version.params, parents=(start.id,), note=note, origin=own)
