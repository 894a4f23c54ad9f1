"""What weights learn: the runs of a teacher that the metric accepts, and the job on them."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import attrs
import toolz

from lmflow.data.dataset import Data, example_id
from lmflow.errors import ProgramError, TrainingFailed, listed, near
from lmflow.optimizers.parts.bootstrap import TeacherSource, is_success, make_teacher
from lmflow.optimizers.parts.instructions import Proposers
from lmflow.optimizers.parts.inventing import Inventor
from lmflow.optimizers.parts.needs import Need, PlannedRollout, need_rollouts
from lmflow.optimizers.parts.plan import Task
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import Best, ScoredRollout, score_rollouts
from lmflow.programs.parameters import init
from lmflow.programs.program import Predict, Program
from lmflow.replays.steps import completed_steps
from lmflow.replays.teaching import student_chat, student_params
from lmflow.traces.trace import Trace
from lmflow.training.job import Job, Quote, Weights
from lmflow.training.recipe import Recipe
from lmflow.training.trainer import Trainer, job_inputs, training_tool, weights_in
from lmflow.values.record import Record, canonical, pretty
from lmflow.versions.version import Version

_EXAMPLES = 3  # training examples that a proposer reads
_SIDE_BY_SIDE = 8  # examples that are made up at once


@attrs.frozen
class Lessons:
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
class WeightsSource:
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
        chats = tuple(_expected_chats(program, params, steps, data))
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


def _expected_chats(
    program: Program, params: Record, steps: Sequence[str], data: Data
) -> Iterator[Record]:
    """Yield about what chats of the training examples would be."""
    for example in data.train:
        for step in steps:
            yield _expected_chat(program, params, step, example)


def _expected_chat(program: Program, params: Record, step: str, example: Record) -> Record:
    """Return a step's chat of an example; about so long a one if the example lacks its fields."""
    signature = program.predictors[step].signature
    inputs = example.only(*signature.input_names)
    outputs = example.only(*(field.name for field in signature.outputs))
    if len(inputs) + len(outputs) == len(signature.inputs) + len(signature.outputs):
        return Record(student_chat(program, params, step, inputs, outputs).to_json())
    system = {"role": "system", "content": params[f"{step}.instruction"]}
    return Record(messages=[system, {"role": "user", "content": pretty(example)}])
