"""Retrieval-augmented generation: search once, answer from what was found."""

from __future__ import annotations

import attrs

from lmflow.library.frames import System, searching, signed
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program
from lmflow.signatures.signature import parse
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Rag(System):
    """Search by the question, then answer; see ``rag``."""

    search: Program
    answer: Predict

    def __attrs_post_init__(self) -> None:
        signed(self, parse("question -> answer, context: list[str], sources: list[str]"))

    async def body(self, inputs: Record) -> Record:
        """One search and one answer."""
        found = await self.search(query=inputs.question)
        said = await self.answer(context=found.context, question=inputs.question)
        return Record(answer=said.answer, context=found.context, sources=found.sources)


def rag(search: Program, *, name: str = "rag") -> Rag:
    """``question -> answer, context, sources``: an answer from the passages that one search finds.

    Cost: 1 search and 1 call, the step ``rag.answer``. ``search`` is ``query -> context, sources``,
    such as ``lf.retrieve(corpus)``. Lewis et al. 2020, arXiv 2005.11401, with a frozen reader.
    """
    text = "Answer the question from the context, in a few words."
    return Rag(
        name, searching(search), predict("answer", "context: list[str], question -> answer", text)
    )
