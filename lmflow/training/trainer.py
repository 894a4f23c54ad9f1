"""The protocol of trainers, and the tool by which a job runs as a recorded call."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from lmflow.models.local.adapters import trained_files
from lmflow.programs.tool import Tool
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.training.job import Job, Quote, Weights, weights_of
from lmflow.training.place import TrainingPlace, training_place
from lmflow.training.problems import TrainingProblem, disk_problem
from lmflow.training.recipe import recipe_of
from lmflow.values.functions import Function
from lmflow.values.hashed_files import HashedFiles
from lmflow.values.record import Record, record

_INPUTS = (
    Field(name="base"),
    Field(name="chats", type=list[dict[str, Any]]),
    Field(name="recipe", type=dict[str, Any]),
    Field(name="seed", type=int),
)
_OUTPUTS = (Field(name="weights", type=dict[str, Any]),)


class Trainer(Protocol):
    """Makes weights of chats.

    A job that was killed goes on from what its place holds: a checkpoint, or a provider's id.
    """

    @property
    def name(self) -> str:
        """The name that identifies how it trains, such as ``lora``."""
        ...

    def check(self, base: str) -> None:
        """Raise ``ModelUnavailable`` if the base, a key or an extra is missing."""
        ...

    def quote(self, job: Job) -> Quote:
        """Return what a job is expected to take. Nothing is sent."""
        ...

    async def train(self, job: Job, place: TrainingPlace) -> Weights:
        """Train, or go on with what was begun.

        Raises:
            TrainingProblem: The job can't be done; what was trained so far stays in its place.
        """
        ...


@attrs.frozen
class TrainingFunction:
    """The function of a training's tool, which an executor binds to the files of its store."""

    trainer: Trainer
    files: HashedFiles | None = None

    def with_files(self, files: HashedFiles | None) -> TrainingFunction:
        """Return the function with the folder in which it keeps weights."""
        return attrs.evolve(self, files=files)

    async def __call__(
        self, base: str, chats: Sequence[Any], recipe: Mapping[str, Any], seed: int
    ) -> dict[str, Any]:
        """Run the job, once: a job that has come to its end is not begun again."""
        job = job_of(self.trainer, Record(base=base, chats=chats, recipe=recipe, seed=seed))
        files = self.files or trained_files()
        with training_place(files, job) as place:
            weights = place.result()
            if weights is None:
                _check_room(files, self.trainer.quote(job).bytes)
                weights = await self._train(job, place)
            return {"weights": weights.to_json()}

    async def _train(self, job: Job, place: TrainingPlace) -> Weights:
        """Run the trainer. ``TrainingProblem`` if the disk is full."""
        try:
            place.tell({"begun": self.trainer.name, "chats": len(job.chats)})
            weights = await self.trainer.train(job, place)
            place.finish(weights)
            place.tell({"done": weights.model})
        except OSError as error:
            problem = disk_problem(error, place.files.folder)
            if problem is None:
                raise
            raise problem from None
        return weights


def training_tool(trainer: Trainer, base: str) -> Tool:
    """Make the program that trains a base: its call is recorded, and a replay gives the recorded
    weights without training.
    """
    function = Function("train", f"version:{trainer.name}/1", TrainingFunction(trainer))
    return Tool(
        name="train",
        signature=Signature(_INPUTS, _OUTPUTS),
        function=function,
        description=f"Train {base} by {trainer.name}.",
        check=functools.partial(trainer.check, base),
        price=functools.partial(_price, trainer),
    )


def job_inputs(job: Job) -> Record:
    """Return the inputs of the tool for a job."""
    recipe = Record(job.recipe.to_json())
    return Record(base=job.base, chats=list(job.chats), recipe=recipe, seed=job.seed)


def job_of(trainer: Trainer, inputs: Mapping[str, Any]) -> Job:
    """Return the job of the tool's inputs."""
    chats = tuple(record(chat) for chat in inputs["chats"])
    return Job(trainer.name, inputs["base"], chats, recipe_of(inputs["recipe"]), inputs["seed"])


def weights_in(outputs: Mapping[str, Any]) -> Weights:
    """Return the weights in the tool's outputs."""
    return weights_of(outputs["weights"])


def _price(trainer: Trainer, inputs: Mapping[str, Any]) -> int | None:
    if not inputs:
        return trainer.quote(Job(trainer.name, "", ())).cost
    return trainer.quote(job_of(trainer, inputs)).cost


def _check_room(files: HashedFiles, needed: int) -> None:
    """Raise ``TrainingProblem`` if the disk has too little room for a job."""
    free = files.free()
    if free < needed:
        msg = f"{files.folder} has {free:,} bytes free, a job needs about {needed:,}"
        raise TrainingProblem("disk", msg)
