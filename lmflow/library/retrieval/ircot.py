"""Retrieval interleaved with reasoning: each thought is the next query."""

from __future__ import annotations

import attrs

from lmflow.library.frames import System, searching, signed
from lmflow.library.retrieval.passages import Passage, gathered
from lmflow.library.search.samples import positive
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program
from lmflow.signatures.signature import parse
from lmflow.values.record import Record

_DONE = "answer is"


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Ircot(System):
    """Thoughts and searches by turns, then an answer; see ``ircot``."""

    search: Program
    thought: Predict
    answer: Predict
    steps_most: int
    passages: int

    def __attrs_post_init__(self) -> None:
        outputs = "answer, thoughts: list[str], context: list[str], sources: list[str]"
        signed(self, parse(f"question -> {outputs}"))

    async def body(self, inputs: Record) -> Record:
        """A search by the question, then by each thought until one says the answer; then the
        reader.
        """
        found = await self._found(inputs.question, ())
        thoughts: tuple[str, ...] = ()
        for step in range(self.steps_most):
            context = tuple(text for _, text in found)
            said = await self.thought(context=context, question=inputs.question, thoughts=thoughts)
            thoughts = (*thoughts, said.thought)
            if _DONE in said.thought.casefold() or step == self.steps_most - 1:
                break
            found = await self._found(said.thought, found)
        context = tuple(text for _, text in found)
        answer = (await self.answer(context=context, question=inputs.question)).answer
        return Record(
            answer=answer,
            thoughts=thoughts,
            context=context,
            sources=tuple(id_ for id_, _ in found),
        )

    async def _found(self, query: str, old: tuple[Passage, ...]) -> tuple[Passage, ...]:
        new = await self.search(query=query)
        return gathered(old, new.sources, new.context)[: self.passages]


def ircot(search: Program, *, steps: int = 4, passages: int = 15, name: str = "ircot") -> Ircot:
    """``question -> answer, thoughts, context, sources``: search by the question, then by each
    thought about it.

    Cost: at most ``steps`` searches and ``steps + 1`` calls: a thought each, until one says "answer
    is", and the answer by a reader that sees the passages and not the thoughts. At most
    ``passages`` passages are kept, those found first. Steps: ``thought``, ``answer``.

    Trivedi et al. 2022, arXiv 2212.10509, section 3.
    """
    return Ircot(
        name,
        searching(search),
        predict(
            "thought",
            "context: list[str], question, thoughts: list[str] -> thought",
            "Think towards the answer, one sentence at a time: write the next sentence only, from the context. Once "
            'the answer is known, write "So the answer is" and the answer.',
        ),
        predict(
            "answer",
            "context: list[str], question -> answer",
            "Answer the question from the context, in a few words.",
        ),
        positive("steps", steps),
        positive("passages", passages),
    )
