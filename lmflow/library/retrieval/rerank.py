"""Reranking: passages in the order that a model gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import attrs
import toolz

from lmflow.errors import UnknownInput
from lmflow.library.checks import check_positive
from lmflow.library.system import System, set_system_signature
from lmflow.programs.effects import Fork
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict
from lmflow.signatures.declaration import parse_signature
from lmflow.values.record import Record

RerankMode = Literal["pointwise", "listwise"]
_MODES: tuple[RerankMode, ...] = get_args(RerankMode)

_PASSAGES = "context: list[str], sources: list[str]"


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Rerank(System):
    """Passages scored one by one, or ordered as a list; see ``rerank``."""

    judge: Predict
    listwise: bool
    k: int | None

    def __attrs_post_init__(self) -> None:
        set_system_signature(self, parse_signature(f"query, {_PASSAGES} -> {_PASSAGES}"))

    async def body(self, inputs: Record) -> Record:
        """Return the first ``k`` passages in their new order."""
        context, sources = inputs.context, inputs.sources
        order: tuple[int, ...] = ()
        if context:
            order = await (self._order(inputs) if self.listwise else self._order_by_score(inputs))
        places = order[: self.k]
        return Record(
            context=tuple(context[place] for place in places),
            sources=tuple(sources[place] for place in places),
        )

    async def _order(self, inputs: Record) -> tuple[int, ...]:
        reply = await self.judge(query=inputs.query, passages=inputs.context)
        return complete_order(reply.order, len(inputs.context))

    async def _order_by_score(self, inputs: Record) -> tuple[int, ...]:
        pendings = tuple(self.judge(query=inputs.query, passage=text) for text in inputs.context)
        scores = [reply.score for reply in await Fork(pendings, name="passage")]
        return tuple(sorted(range(len(scores)), key=lambda place: -scores[place]))


def rerank(
    mode: RerankMode = "pointwise",
    *,
    k: int | None = None,
    name: str = "rerank",
) -> Rerank:
    """Make a program ``query, context, sources -> context, sources`` that reorders passages.

    It follows a search: ``search >> lf.rerank(k=3)``.

    Cost: pointwise 1 call for each passage, side by side, the step ``rerank.score`` (0 to 10);
    listwise 1 call, the step ``rerank.order`` (the numbers of the passages, best first). Without
    passages there is no call.

    Both are stable: passages with equal scores, and those that the list leaves out, keep their
    order; numbers that no passage has don't count.

    Args:
        mode: ``pointwise`` or ``listwise``.
        k: How many passages to keep, at least 1; by default all.
        name: The name of the program.

    Returns:
        The program.

    Raises:
        UnknownInput: There is no such mode.
        ValueError: ``k`` is less than 1.

    Pointwise: Nogueira, Cho 2019, arXiv 1901.04085; listwise: Sun et al. 2023, arXiv 2304.09542,
    section 3.
    """
    if mode not in _MODES:
        raise UnknownInput("rerank", str(mode), _MODES)
    if k is not None:
        check_positive("k", k)
    if mode == "listwise":
        text = (
            "Order the passages by how well they help with the query, best first. "
            "Give their numbers alone."
        )
        judge = predict("order", "query, passages: list[str] -> order: list[int]", text)
    else:
        text = (
            "How well does the passage help with the query? "
            "Give a number from 0, not at all, to 10, fully."
        )
        judge = predict("score", "query, passage -> score: float", text)
    return Rerank(name, judge, mode == "listwise", k)


def complete_order(numbers: Iterable[int], count: int) -> tuple[int, ...]:
    """Return the positions ``0`` to ``count - 1``, first those that a list of numbers names.

    Numbers count from 1; each position comes once, and the others follow in their order.
    """
    valid = (number - 1 for number in numbers if 0 < number <= count)
    return tuple(toolz.unique((*valid, *range(count))))
