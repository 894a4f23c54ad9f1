"""Reranking: passages in the order that a model gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs
import toolz

from lmflow.library.frames import System, signed
from lmflow.library.search.samples import positive
from lmflow.programs.effects import Fork
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict
from lmflow.signatures.signature import parse
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Rerank(System):
    """Passages scored one by one, or ordered as a list; see ``rerank``."""

    judge: Predict
    listwise: bool
    k: int | None

    def __attrs_post_init__(self) -> None:
        sides = "query, context: list[str], sources: list[str] -> context: list[str], sources: list[str]"
        signed(self, parse(sides))

    async def body(self, inputs: Record) -> Record:
        """The passages in their new order, the first ``k`` of them."""
        context, sources = inputs.context, inputs.sources
        order = (
            await (self._listed(inputs) if self.listwise else self._scored(inputs))
            if context
            else ()
        )
        kept = tuple(order)[: self.k]
        return Record(
            context=tuple(context[at] for at in kept), sources=tuple(sources[at] for at in kept)
        )

    async def _listed(self, inputs: Record) -> tuple[int, ...]:
        said = await self.judge(query=inputs.query, passages=inputs.context)
        return ordered(said.order, len(inputs.context))

    async def _scored(self, inputs: Record) -> tuple[int, ...]:
        asked = tuple(self.judge(query=inputs.query, passage=text) for text in inputs.context)
        scores = [said.score for said in await Fork(asked, name="passage")]
        return tuple(sorted(range(len(scores)), key=lambda at: -scores[at]))


def rerank(
    mode: Literal["pointwise", "listwise"] = "pointwise",
    *,
    k: int | None = None,
    name: str = "rerank",
) -> Rerank:
    """``query, context, sources -> context, sources``: the passages in the order that a model gives
    them, the first ``k``: ``search >> lf.rerank(k=3)``.

    Cost: pointwise one call a passage, side by side, the step ``rerank.score`` (0 to 10); listwise
    1 call, the step ``rerank.order`` (the numbers of the passages, best first). Both are stable:
    passages with one score, and those that the list leaves out, keep the order that they came in;
    numbers that are no passage's don't count. Without passages nothing is asked.

    Pointwise: Nogueira, Cho 2019, arXiv 1901.04085; listwise: Sun et al. 2023, arXiv 2304.09542,
    section 3.
    """
    if k is not None:
        positive("k", k)
    if mode == "listwise":
        text = "Order the passages by how well they help with the query, best first. Give their numbers alone."
        return Rerank(
            name, predict("order", "query, passages: list[str] -> order: list[int]", text), True, k
        )  # noqa: FBT003
    text = "How well does the passage help with the query? Give a number from 0, not at all, to 10, fully."
    return Rerank(name, predict("score", "query, passage -> score: float", text), False, k)  # noqa: FBT003


def ordered(said: Iterable[int], count: int) -> tuple[int, ...]:
    """The positions from 0 to ``count - 1`` as a list of numbers from 1 has them, each once; the
    others follow.
    """
    valid = (number - 1 for number in said if 0 < number <= count)
    return tuple(toolz.unique((*valid, *range(count))))
