"""Retrieval-augmented generation: search once, then answer from the passages."""

from __future__ import annotations

import attrs

from lmflow.library.retrieval.retrieve import check_search
from lmflow.library.system import System, set_system_signature
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program
from lmflow.signatures.declaration import parse_signature
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Rag(System):
    """A search by the question, then an answer; see ``rag``."""

    search: Program
    answer: Predict

    def __attrs_post_init__(self) -> None:
        text = "question -> answer, context: list[str], sources: list[str]"
        set_system_signature(self, parse_signature(text))

    async def body(self, inputs: Record) -> Record:
        """Search by the question and answer from the passages."""
        passages = await self.search(query=inputs.question)
        reply = await self.answer(context=passages.context, question=inputs.question)
        return Record(answer=reply.answer, context=passages.context, sources=passages.sources)


def rag(search: Program, *, name: str = "rag") -> Rag:
    """Make a program ``question -> answer, context, sources`` that searches once and answers.

    Cost: 1 search and 1 call, the step ``rag.answer``.

    Args:
        search: A program ``query -> context, sources``, such as ``lf.retrieve(corpus)``.
        name: The name of the program.

    Returns:
        The program; ``context`` are the texts of the passages, ``sources`` their ids.

    Raises:
        BadSignature: ``search`` is not a search program.

    Lewis et al. 2020, arXiv 2005.11401, with a frozen reader.
    """
    text = "Answer the question from the context, in a few words."
    answer = predict("answer", "context: list[str], question -> answer", text)
    return Rag(name, check_search(search), answer)
