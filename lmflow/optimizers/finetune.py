"""Weights of steps, trained on what a teacher did well, alone or in turns with their prompts."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import toolz

from lmflow.data.dataset import Data, example_id
from lmflow.errors import ProgramError, TrainingFailed, listed, near
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.optimizers.combinators import map_needs, prefix_labels
from lmflow.optimizers.parts.bootstrap import TeacherSource, is_success, make_teacher
from lmflow.optimizers.parts.checks import check_teacher, runs_on
from lmflow.optimizers.parts.helpers import helper_executions
from lmflow.optimizers.parts.instructions import Proposers
from lmflow.optimizers.parts.inventing import Inventor, can_invent
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.needs import Need, PlannedRollout, need_rollouts
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
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import (
    Best,
    ScoredRollout,
    conclude,
    score_candidate,
    score_rollouts,
)
from lmflow.programs.parameters import init
from lmflow.programs.program import Predict, Program
from lmflow.replays.steps import completed_steps
from lmflow.replays.teaching import student_chat, student_params
from lmflow.traces.trace import Trace
from lmflow.training.job import Job, Quote, Weights
from lmflow.training.names import TrainerSource, trainer_of
from lmflow.training.recipe import Recipe
from lmflow.training.trainer import Trainer, job_inputs, training_tool, weights_in
from lmflow.values.record import Record, canonical, pretty
from lmflow.versions.version import Version

_NAMES_OF_TURNS = {"prompts", "weights"}
_EXAMPLES = 3  # training examples that a proposer reads
_SIDE_BY_SIDE = 8  # examples that are made up at once


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
        trainer: ``lora``, ``together``, or a trainer.
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
    weights = _WeightsSource(names, base, chosen_trainer, recipe, seed)
    lessons = _Lessons(teacher, rounds, threshold, invented, proposer, Proposers(model), seed)

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
        return Bound(taught + 1 + 2 * len(data.select), invented)

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


@attrs.frozen
class _Lessons:
    """Finds the runs of a teacher that are worth learning."""

    teacher: TeacherSource
    rounds: int
    threshold: float | None
    invented: int
    proposer: Predict | None
    proposers: Proposers
    seed: int

    def rows(self, task: Task) -> Generator[Need, tuple[Trace, ...], list[ScoredRollout]]:
        """Return the accepted runs, those on examples that were made up last."""
        teacher = make_teacher(task.program, task.version, self.teacher, {})
        rows: list[ScoredRollout] = []
        todo = list(task.data.train)
        for attempt in range(self.rounds):
            rollouts = [teacher.rollout(example, attempt) for example in todo]
            label = f"teach[{attempt}]"
            scored = yield from score_rollouts(task, rollouts, label, Best(task.version), "teach")
            good = [row for row in scored if is_success(row, self.threshold)]
            rows += good
            done = {example_id(row.rollout.example) for row in good}
            todo = [example for example in todo if example_id(example) not in done]
            if not todo:
                break
        if self.invented:
            source = Inventor.of(task, self.proposer, self.proposers, _EXAMPLES)
            rng = randomness(task.version, "bootstrap_finetune", self.seed)
            for first in range(0, self.invented, _SIDE_BY_SIDE):
                turns = range(first, min(self.invented, first + _SIDE_BY_SIDE))
                rows += yield from source.accepted(turns, teacher, self.threshold, rng)
        return rows

    def count_invented(self, task: Task, rows: Iterable[ScoredRollout]) -> int:
        """Return how many of the runs are on examples that were made up."""
        given = {example_id(example) for example in task.data.train}
        return sum(example_id(row.rollout.example) not in given for row in rows)


@attrs.frozen
class _WeightsSource:
    """Trains weights on accepted runs, and puts them into a version."""

    names: tuple[str, ...]
    base: str
    trainer: Trainer
    recipe: Recipe
    seed: int

    @property
    def tool(self) -> Program:
        """The program that trains."""
        return training_tool(self.trainer, self.base)

    def steps(self, program: Program) -> tuple[str, ...]:
        """Return the steps that get the weights. ``ProgramError`` if the program lacks one."""
        known = tuple(program.predictors)
        for name in self.names:
            if name not in known:
                has = f"it has {listed(known)}"
                msg = f"{program} has no step {name!r} that asks a model; {has}.{near(name, known)}"
                raise ProgramError(msg)
        if not known:
            msg = f"no step of {program} asks a model, so there is nothing to train"
            raise ProgramError(msg)
        return self.names or known

    def version(
        self, task: Task, rows: Sequence[ScoredRollout], made_up: int
    ) -> Generator[Need, tuple[Trace, ...], Version | None]:
        """Return a version with weights trained on runs; ``None`` if there is nothing to learn.

        Raises ``TrainingFailed`` if the job fails.
        """
        steps = self.steps(task.program)
        params = student_params(task.program, task.version, steps)
        chats = tuple(toolz.unique(_chats(task.program, params, steps, rows), key=canonical))
        if not chats:
            reason = "the metric accepted no run of the teacher, so there is nothing to learn"
            yield Need((), (), task.version, phase="done", reason=reason)
            return None
        job = Job(self.trainer.name, self.base, chats, self.recipe, self.seed)
        rollout, trace = yield from self._train(task, job)
        if trace.outputs is None:
            failure = trace.failure
            raise TrainingFailed(self.trainer.name, failure.text if failure else "it was stopped")
        weights = weights_in(trace.outputs)
        changes = {f"{step}.model": weights.model for step in steps}
        origin = self._origin(weights, rollout, rows, chats, made_up)
        note = f"{listed(steps)} on {weights.base} trained on {len(chats)} chats"
        return Version(
            params=params | changes,
            parents=(task.version.id,),
            note=note,
            origin=Record(dict.fromkeys(changes, origin)),
        )

    # A recorded failure answers its request for good, so a job that failed in an earlier run is
    # asked for anew as the next sample: it is one job still, and goes on from its checkpoint.
    def _train(
        self, task: Task, job: Job
    ) -> Generator[Need, tuple[Trace, ...], tuple[PlannedRollout, Trace]]:
        """Run a job, again if it failed in an earlier run; return its rollout and trace."""
        for sample in itertools.count():
            rollout = PlannedRollout(self.tool, init(self.tool), job_inputs(job), sample)
            phase = f"train {self.base}"
            (trace,) = yield need_rollouts("train", [rollout], task.version, phase=phase)
            is_earlier = bool(trace.calls) and all(call.source for call in trace.calls)
            if trace.outputs is not None or not is_earlier:
                return rollout, trace
        raise AssertionError

    def words(self, program: Program, data: Data, metric: Any) -> str:
        """Say what the training is expected to take at most."""
        del metric
        steps = self.steps(program)
        params = student_params(program, init(program), steps)
        chats = tuple(_expected_chats(params, steps, data))
        quote = self.trainer.quote(Job(self.trainer.name, self.base, chats, self.recipe, self.seed))
        head = f"trains {self.base} by {self.trainer.name} on at most {len(chats)} chats"
        return f"{head}, {quote_text(quote)}"

    def _origin(
        self,
        weights: Weights,
        rollout: PlannedRollout,
        rows: Sequence[ScoredRollout],
        chats: Sequence[Record],
        made_up: int,
    ) -> Record:
        return Record(
            training=rollout.key,
            job=weights.job,
            trainer=weights.trainer,
            base=weights.base,
            sha256=weights.sha256,
            recipe=self.recipe.to_json(),
            seed=self.seed,
            examples=len(rows),
            made_up=made_up,
            chats=len(chats),
        )


def quote_text(quote: Quote) -> str:
    """Return what a training is expected to take, in words."""
    parts = [f"about {quote.tokens:,} tokens"]
    if quote.seconds is not None:
        parts.append(f"{max(1, round(quote.seconds / 60))} min")
    parts.append("no known price" if quote.cost is None else f"${quote.cost / 1e9:.2f}")
    if quote.bytes:
        parts.append(f"{quote.bytes / 1e6:,.0f} MB of disk")
    return ", ".join(parts)


def _chats(
    program: Program, params: Record, steps: Sequence[str], rows: Iterable[ScoredRollout]
) -> Iterator[Record]:
    """Yield the chat of each step of accepted runs, as the student is served with it."""
    for row in rows:
        for recorded in completed_steps(row.trace, row.rollout.program):
            if recorded.step in steps:
                chat = student_chat(
                    program, params, recorded.step, recorded.inputs, recorded.outputs
                )
                yield Record(toolz.dissoc(chat.to_json(), "step"))


def _expected_chats(params: Record, steps: Sequence[str], data: Data) -> Iterator[Record]:
    """Yield about what chats of the training examples would be."""
    for example in data.train:
        for step in steps:
            system = {"role": "system", "content": params[f"{step}.instruction"]}
            user = {"role": "user", "content": pretty(example)}
            yield Record(messages=[system, user])


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
