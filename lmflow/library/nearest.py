"""Steps that are shown the demonstrations nearest to each input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.interpreter.nearest import question_text
from lmflow.library.checks import check_step
from lmflow.library.composed import set_signature
from lmflow.programs.embedding import MINILM, Embed
from lmflow.programs.factories import embed
from lmflow.programs.program import Predict, Program
from lmflow.values.record import Record


def nearest(step: Predict, k: int = 4, *, pool: Iterable[Mapping[str, Any]] = ()) -> Predict:
    """Show a step those ``k`` demonstrations of a pool that are nearest to its inputs, by BM25.

    Cost: no call. The choice is a part of rendering, a pure function of pool and inputs: a replay
    chooses the same, ``lf.render`` shows it, and another pool changes only the calls whose
    neighbours differ.

    Args:
        step: The step. It gets one more parameter, ``step.pool``, and keeps its own demonstrations,
            which come first; the nearest comes last.
        k: How many to show, at least 1; it belongs to the program, the pool to the version.
        pool: The demonstrations to choose from. One with the very same inputs is never shown.

    Returns:
        The step with its pool.

    Raises:
        TypeError: ``step`` is not a predictor.
        ValueError: ``k`` is less than 1.

    Liu et al. 2022, arXiv 2101.06804, section 3; DSPy's ``KNNFewShot``, which bootstraps anew at
    each call.
    """
    check_step(step)
    return attrs.evolve(step, nearest=_check_k(k), pool=tuple(Record(demo) for demo in pool))


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Similar(Program):
    """A step that is shown the demonstrations whose vectors are nearest to its inputs'.

    The vector of the inputs is asked for first.
    """

    embed: Embed
    step: Predict

    def __attrs_post_init__(self) -> None:
        set_signature(self, self.step.signature)

    def __str__(self) -> str:
        return str(self.step)

    @property
    def children(self) -> tuple[Program, ...]:
        """The embedding step and the step."""
        return self.embed, self.step

    async def body(self, inputs: Record) -> Record:
        """Run the step with the vector of its inputs, by which its demonstrations are chosen."""
        names = (field.name for field in self.signature.inputs)
        embedding = await self.embed(text=question_text(inputs, names))
        overlay = {f"{self.step.name}.near": embedding.vector}
        outputs: Record = await self.step(**inputs).under(overlay)
        return outputs


def similar(step: Predict, k: int = 4, *, model: str = MINILM) -> Similar:
    """Show a step those ``k`` demonstrations of a pool that are nearest to its inputs in meaning.

    Cost: one recorded embedding call for each input, the step ``step_near``. The choice by cosine
    is a pure function of the vectors, so a replay chooses the same.

    Args:
        step: The step. It gets the parameters ``step.pool`` and ``step.vectors``, the pool's
            vectors, which belong to the version; ``lf.knn_few_shot()`` makes both.
        k: How many to show, at least 1.
        model: The embedding model.

    Returns:
        The program of the embedding step and the step. Running it raises ``MissingVector`` if the
        pool has demonstrations without vectors.

    Raises:
        TypeError: ``step`` is not a predictor.
        ValueError: ``k`` is less than 1.

    Liu et al. 2022, arXiv 2101.06804, section 3.
    """
    check_step(step)
    near = embed(f"{step.name}_near", "text -> vector: list[float]", model=model)
    return Similar(near, attrs.evolve(step, nearest=_check_k(k), similar=True))


def _check_k(k: int) -> int:
    if k < 1:
        msg = f"how many of the nearest? k is at least 1, found {k}"
        raise ValueError(msg)
    return k
