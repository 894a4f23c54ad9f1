"""Demonstrations chosen for each input: a step that is shown those of its pool that are nearest to
what it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.interpreter.nearest import text_of
from lmflow.programs.embedding import MINILM, Embed
from lmflow.programs.factories import embed
from lmflow.programs.program import Predict, Program, check_step
from lmflow.values.record import Record


def nearest(step: Predict, k: int = 4, *, pool: Iterable[Mapping[str, Any]] = ()) -> Predict:
    """The same step with one more parameter, ``step.pool``: beside its own demonstrations it is
    shown the ``k`` of the pool that are nearest to its inputs, by BM25, the nearest last, never
    one of the very same inputs.

    The choice is a part of rendering, a pure function of pool and inputs: it costs no call, a
    replay chooses the same, ``lf.render`` shows it, and another pool changes only the calls whose
    neighbours differ. ``k`` belongs to the program, the pool to the version. ``ValueError`` where
    ``k`` is less than 1.

    Liu et al. 2022, arXiv 2101.06804, section 3; DSPy's ``KNNFewShot``, which bootstraps anew at
    each call.
    """
    check_step(step)
    return attrs.evolve(step, nearest=_positive(k), pool=tuple(Record(demo) for demo in pool))


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Similar(Program):
    """A step that is shown those of its pool whose vectors are nearest to that of its inputs, which
    is asked first.
    """

    embed: Embed
    step: Predict

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "signature", self.step.signature)
        _ = self.steps

    def __str__(self) -> str:
        return str(self.step)

    @property
    def children(self) -> tuple[Program, ...]:
        """The embedding step, and the step."""
        return self.embed, self.step

    async def body(self, inputs: Record) -> Record:
        """The vector of the inputs, then the step, which chooses by it."""
        found = await self.embed(
            text=text_of(inputs, (field.name for field in self.signature.inputs))
        )
        said: Record = await self.step(**inputs).under({f"{self.step.name}.near": found.vector})
        return said


def similar(step: Predict, k: int = 4, *, model: str = MINILM) -> Similar:
    """As ``nearest``, but by meaning: of its pool the step is shown the ``k`` demonstrations whose
    vectors have the highest cosine with that of its inputs, which the embedding ``model`` is
    asked for first.

    One recorded embedding call an input, ``step_near``, so it replays; then the choice is a pure
    function, as it is there. The pool's vectors, ``step.vectors``, belong to the version like the
    pool: ``lf.knn_few_shot()`` makes both. ``ValueError`` where ``k`` is less than 1,
    ``MissingVector`` at a run whose pool has demonstrations without vectors.

    Liu et al. 2022, arXiv 2101.06804, section 3.
    """
    check_step(step)
    near = embed(f"{step.name}_near", "text -> vector: list[float]", model=model)
    return Similar(near, attrs.evolve(step, nearest=_positive(k), similar=True))


def _positive(k: int) -> int:
    if k < 1:
        msg = f"how many of the nearest? k is at least 1, found {k}"
        raise ValueError(msg)
    return k
