"""Retrieval interleaved with reasoning: each thought is the next query."""

from __future__ import annotations

import attrs

from lmflow.library.checks import check_positive
from lmflow.library.retrieval.citations import Passage, merge_passages
from lmflow.library.retrieval.retrieve import check_search
from lmflow.library.system import System, set_system_signature
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program
from lmflow.signatures.declaration import parse_signature
from lmflow.values.record import Record

_DONE = "answer is"


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Ircot(System):
    """Thoughts and searches by turns, then an answer; see ``ircot``."""

    search: Program
    thought: Predict
    answer: Predict
    most_steps: int
    passages: int

    def __attrs_post_init__(self) -> None:
        outputs = "answer, thoughts: list[str], context: list[str], sources: list[str]"
        set_system_signature(self, parse_signature(f"question -> {outputs}"))

    async def body(self, inputs: Record) -> Record:
        """Search by the question and by each thought until one has the answer, then answer."""
        question = inputs.question
        passages = await self._search(question, ())
        thoughts: tuple[str, ...] = ()
        for step in range(self.most_steps):
            context = tuple(text for _, text in passages)
            reply = await self.thought(context=context, question=question, thoughts=thoughts)
            thoughts = (*thoughts, reply.thought)
            if _DONE in reply.thought.casefold() or step == self.most_steps - 1:
                break
            passages = await self._search(reply.thought, passages)
        context = tuple(text for _, text in passages)
        answer = (await self.answer(context=context, question=question)).answer
        sources = tuple(id_ for id_, _ in passages)
        return Record(answer=answer, thoughts=thoughts, context=context, sources=sources)

    async def _search(self, query: str, old: tuple[Passage, ...]) -> tuple[Passage, ...]:
        new = await self.search(query=query)
        return merge_passages(old, new.sources, new.context)[: self.passages]


def ircot(search: Program, *, steps: int = 4, passages: int = 15, name: str = "ircot") -> Ircot:
    """Make a program ``question -> answer, thoughts, context, sources`` that searches by thoughts.

    Cost: at most ``steps`` searches and ``steps + 1`` calls: a thought each, until one says "answer
    is", and the answer by a reader that sees the passages and not the thoughts. Steps: ``thought``,
    ``answer``.

    Args:
        search: A program ``query -> context, sources``, such as ``lf.retrieve(corpus)``.
        steps: The most thoughts, at least 1.
        passages: The most passages that are kept, those found first; at least 1.
        name: The name of the program.

    Returns:
        The program; ``context`` are the texts of the passages, ``sources`` their ids.

    Raises:
        BadSignature: ``search`` is not a search program.
        ValueError: A number is less than 1.

    Trivedi et al. 2022, arXiv 2212.10509, section 3.
    """
    thought = predict(
        "thought",
        "context: list[str], question, thoughts: list[str] -> thought",
        "Think towards the answer, one sentence at a time: write the next sentence only, from the "
        'context. Once the answer is known, write "So the answer is" and the answer.',
    )
    answer = predict(
        "answer",
        "context: list[str], question -> answer",
        "Answer the question from the context, in a few words.",
    )
    steps, passages = check_positive("steps", steps), check_positive("passages", passages)
    return Ircot(name, check_search(search), thought, answer, steps, passages)
