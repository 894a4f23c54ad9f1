"""Multi-hop questions: query, search and condense to facts, until they suffice; then an answer that
cites them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import toolz

from lmflow.errors import ParseFailure
from lmflow.library.frames import System, searching, signed
from lmflow.library.retrieval.passages import Passage, bare, behind, gathered, numbers
from lmflow.library.search.samples import positive
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program
from lmflow.signatures.signature import parse
from lmflow.values.record import Record

Fact = tuple[str, str]
"""What is known, and the id of the passage that says it."""


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class MultiHop(System):
    """Hops of search that end in an answer; see ``multi_hop``."""

    search: Program
    query: Predict
    condense: Predict
    enough: Predict
    answer: Predict
    hops: int
    facts: int

    def __attrs_post_init__(self) -> None:
        outputs = (
            "answer, citations: list[str], facts: list[str], queries: list[str], context: list[str]"
        )
        signed(self, parse(f"question -> {outputs}, sources: list[str]"))

    async def body(self, inputs: Record) -> Record:
        """Hops until the facts suffice, then the answer."""
        facts: tuple[Fact, ...] = ()
        passages: tuple[Passage, ...] = ()
        queries: tuple[str, ...] = ()
        for hop in range(self.hops):
            asked = inputs | {"facts": tuple(text for text, _ in facts)}
            if hop and await self._suffice(asked):
                break
            query = (await self.query(**asked)).query if hop else inputs.question
            found = await self.search(query=query)
            new = await self._condensed(asked, found.context) if found.context else ()
            facts = merged(facts, traced(new, found.context, found.sources), self.facts)
            passages, queries = gathered(passages, found.sources, found.context), (*queries, query)
        known = tuple(text for text, _ in facts)
        said = (await self.answer(question=inputs.question, facts=known)).answer
        return Record(
            answer=bare(said), citations=cited(said, facts), facts=known, queries=queries,
            context=tuple(text for _, text in passages), sources=tuple(id_ for id_, _ in passages),
        )  # fmt: skip

    async def _suffice(self, asked: Record) -> bool:
        try:
            return bool((await self.enough(**asked)).enough)
        except ParseFailure:
            return False

    async def _condensed(self, asked: Record, context: tuple[str, ...]) -> tuple[str, ...]:
        try:
            found: tuple[str, ...] = (await self.condense(**asked, context=context)).new_facts
        except ParseFailure:
            return ()
        return found


def multi_hop(
    search: Program, hops: int = 2, *, facts: int = 8, name: str = "multi_hop"
) -> MultiHop:
    """``question -> answer, citations, facts, queries, context, sources`` over at most ``hops``
    searches.

    Cost: at most ``hops`` searches and ``3 * hops - 1`` calls. The first search is by the question;
    before each other one a step says whether the facts suffice, and one writes the query; what a
    search finds is condensed; the last call is the answer. So what a model reads grows with the
    facts, at most ``facts``, not with the passages. A condensing that can't be read brings no
    facts, and a check that can't be read is a no.

    A fact is kept with the id of the passage that the model cites for it, else of the one that has
    at least half of its words; a fact that no passage of its hop has is dropped. ``citations`` are
    the ids of the passages behind the facts that the answer cites, and the marks are taken out of
    the answer; ``sources`` and ``context`` are all passages that were found, each once, in order.
    Steps: ``query``, ``condense``, ``enough``, ``answer``.

    Khattab et al. 2021, arXiv 2101.00436 (Baleen: condensed retrieval), its models replaced by
    prompts.
    """
    return MultiHop(
        name,
        searching(search),
        predict(
            "query",
            "question, facts: list[str] -> query",
            "Write one search query for what is still unknown. Reply with the query alone.",
        ),
        predict(
            "condense",
            "question, facts: list[str], context: list[str] -> new_facts: list[str]",
            "List the facts in the context that help to answer the question and aren't known yet, at most three, one a "
            "line, in full sentences. End each with the number of its passage in brackets.",
        ),
        predict(
            "enough",
            "question, facts: list[str] -> enough: bool",
            "Do the facts suffice to answer the question? Say true or false.",
        ),
        predict(
            "answer",
            "question, facts: list[str] -> answer",
            "Answer the question from the facts, in a few words, then the numbers of the facts in brackets.",
        ),
        positive("hops", hops),
        positive("facts", facts),
    )


def traced(found: Iterable[str], context: Sequence[str], sources: Sequence[str]) -> list[Fact]:
    """Facts with the ids of their passages: the one that is cited, else the one with most of the
    words and at least half of them. Facts without either are left out.
    """
    facts = []
    for line in found:
        text = bare(line)
        cites = [number - 1 for number in numbers(line) if 0 < number <= len(context)]
        near = behind(text, context)
        if text and (place := (*cites, *near)):
            facts.append((text, sources[place[0]]))
    return facts


def merged(old: Iterable[Fact], new: Iterable[Fact], most: int) -> tuple[Fact, ...]:
    """Facts in the order in which they were found, each text once, the first ``most`` of them."""
    return tuple(toolz.unique([*old, *new], key=lambda fact: fact[0].casefold()))[:most]


def cited(answer: str, facts: Sequence[Fact]) -> tuple[str, ...]:
    """The ids of the passages behind the facts that an answer cites, each once."""
    return tuple(toolz.unique(facts[n - 1][1] for n in numbers(answer) if 0 < n <= len(facts)))
