"""Jobs, what they are expected to take, and the weights that come of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.training.recipe import Recipe
from lmflow.values.record import Record, digest, plain

_CHARACTERS_PER_TOKEN = 4  # of English text, roughly


@attrs.frozen(slots=False)
class Job:
    """Everything that a training depends on, as a value.

    Args:
        trainer: The trainer's name.
        base: The model to train, ``provider/model``.
        chats: The chats to learn, in the form of OpenAI's, the reply last.
        recipe: The recipe.
        seed: The seed of all random choices.
    """

    trainer: str
    base: str
    chats: tuple[Record, ...]
    recipe: Recipe = attrs.field(factory=Recipe)
    seed: int = 0

    @functools.cached_property
    def key(self) -> str:
        """The hash of all fields, as hexadecimal digits: equal jobs are one job."""
        parts = [self.trainer, self.base, list(self.chats), self.recipe.to_json(), self.seed]
        return digest("training", parts).rpartition(":")[2]

    @property
    def tokens(self) -> int:
        """About how many tokens are trained on, all epochs together."""
        characters = sum(
            len(str(turn["content"])) for chat in self.chats for turn in chat["messages"]
        )
        return self.recipe.epochs * characters // _CHARACTERS_PER_TOKEN

    def chats_json(self) -> list[dict[str, Any]]:
        """Return the chats as plain JSON values."""
        chats: list[dict[str, Any]] = plain(list(self.chats))
        return chats


@attrs.frozen
class Quote:
    """What a training is expected to take.

    ``seconds`` and ``cost``, in nano-dollars, are ``None`` if nobody can tell; ``bytes`` are those
    on this machine's disk while it lasts.
    """

    tokens: int
    seconds: float | None = None
    cost: int | None = None
    bytes: int = 0


@attrs.frozen
class Weights:
    """Weights that a training made.

    Args:
        model: The name that a step's ``model`` has to use them.
        base: The model that was trained.
        trainer: The trainer's name.
        job: The key of the job.
        sha256: The hash of their file; empty if a provider keeps them.
        size: The bytes of their file.
        details: What else the trainer tells, such as the provider's id of the job.
    """

    model: str
    base: str
    trainer: str
    job: str
    sha256: str = ""
    size: int = 0
    details: Record = attrs.field(factory=Record, converter=Record)

    def to_json(self) -> dict[str, Any]:
        """Return the weights as JSON values."""
        values: dict[str, Any] = plain(attrs.asdict(self, recurse=False))
        return values


def weights_of(values: Mapping[str, Any]) -> Weights:
    """Make weights of recorded JSON values."""
    return Weights(**values)
