"""Trainers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lmflow.errors import near
from lmflow.training.lora import lora
from lmflow.training.tinker import tinker
from lmflow.training.together import together
from lmflow.training.trainer import Trainer

TrainerSource = str | Trainer
"""A trainer, or its name: ``lora``, ``together`` or ``tinker``."""

_TRAINERS: Mapping[str, Callable[[], Trainer]] = {
    "lora": lora,
    "together": together,
    "tinker": tinker,
}


def trainer_of(source: TrainerSource) -> Trainer:
    """Return a trainer; a name's is made. ``ValueError`` if there is no such name."""
    if not isinstance(source, str):
        return source
    if source not in _TRAINERS:
        known = ", ".join(_TRAINERS)
        msg = f"there is no trainer {source!r}; there are {known}.{near(source, _TRAINERS)}"
        raise ValueError(msg)
    return _TRAINERS[source]()
