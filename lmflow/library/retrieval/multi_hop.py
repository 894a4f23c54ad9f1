"""Multi-hop questions: query, search and condense to facts until they suffice, then answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import toolz

from lmflow.errors.calling import ParseFailure
from lmflow.library.checks import check_positive
from lmflow.library.retrieval.citations import (
    Passage,
    cited_numbers,
    likely_source,
    merge_passages,
    strip_citations,
)
from lmflow.library.retrieval.retrieve import check_search
from lmflow.library.system import System, set_system_signature
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program
from lmflow.signatures.declaration import parse_signature
from lmflow.values.record import Record

Fact = tuple[str, str]
"""A fact, and the id of the passage that it is from."""


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
            "answer, citations: list[str], facts: list[str], queries: list[str], "
            "context: list[str], sources: list[str]"
        )
        set_system_signature(self, parse_signature(f"question -> {outputs}"))

    async def body(self, inputs: Record) -> Record:
        """Hop until the facts suffice, then answer from them."""
        facts: tuple[Fact, ...] = ()
        passages: tuple[Passage, ...] = ()
        queries: tuple[str, ...] = ()
        for hop in range(self.hops):
            state = inputs | {"facts": tuple(text for text, _ in facts)}
            if hop and await self._suffice(state):
                break
            query = (await self.query(**state)).query if hop else inputs.question
            results = await self.search(query=query)
            context, sources = results.context, results.sources
            lines = await self._condense(state, context) if context else ()
            facts = merge_facts(facts, trace_facts(lines, context, sources), self.facts)
            passages = merge_passages(passages, sources, context)
            queries = (*queries, query)
        texts = tuple(text for text, _ in facts)
        answer = (await self.answer(question=inputs.question, facts=texts)).answer
        return Record(
            answer=strip_citations(answer),
            citations=cited_sources(answer, facts),
            facts=texts,
            queries=queries,
            context=tuple(text for _, text in passages),
            sources=tuple(id_ for id_, _ in passages),
        )

    async def _suffice(self, state: Record) -> bool:
        try:
            return bool((await self.enough(**state)).enough)
        except ParseFailure:
            return False

    async def _condense(self, state: Record, context: tuple[str, ...]) -> tuple[str, ...]:
        try:
            facts: tuple[str, ...] = (await self.condense(**state, context=context)).new_facts
        except ParseFailure:
            return ()
        return facts


def multi_hop(
    search: Program, hops: int = 2, *, facts: int = 8, name: str = "multi_hop"
) -> MultiHop:
    """Make a program that answers questions by several searches, each by what is still unknown.

    Its signature is ``question -> answer, citations, facts, queries, context, sources``.

    Cost: at most ``hops`` searches and ``3 * hops - 1`` calls. The first search is by the question;
    before each other one a step says whether the facts suffice, and one writes the query; a step
    condenses what a search finds to facts; the last call is the answer. So what a model reads grows
    with the facts, not with the passages. Facts that can't be read are none, and a check that can't
    be read means no. Steps: ``query``, ``condense``, ``enough``, ``answer``.

    A fact is kept with the id of the passage that the model cites for it, else of the one that has
    at least half of its words; a fact that no passage of its hop has is dropped.

    Args:
        search: A program ``query -> context, sources``, such as ``lf.retrieve(corpus)``.
        hops: The most searches, at least 1.
        facts: The most facts that are kept, at least 1.
        name: The name of the program.

    Returns:
        The program. ``citations`` are the ids of the passages behind the facts that the answer
        cites, whose marks are taken out of the answer; ``sources`` and ``context`` are the ids and
        texts of all passages that were found, each once, in order.

    Raises:
        BadSignature: ``search`` is not a search program.
        ValueError: A number is less than 1.

    Khattab et al. 2021, arXiv 2101.00436 (Baleen: condensed retrieval), its models replaced by
    prompts.
    """
    return MultiHop(
        name,
        check_search(search),
        predict(
            "query",
            "question, facts: list[str] -> query",
            "Write one search query for what is still unknown. Reply with the query alone.",
        ),
        predict(
            "condense",
            "question, facts: list[str], context: list[str] -> new_facts: list[str]",
            "List the facts in the context that help to answer the question and aren't known yet, "
            "at most three, one a line, in full sentences. End each with the number of its passage "
            "in brackets.",
        ),
        predict(
            "enough",
            "question, facts: list[str] -> enough: bool",
            "Do the facts suffice to answer the question? Say true or false.",
        ),
        predict(
            "answer",
            "question, facts: list[str] -> answer",
            "Answer the question from the facts, in a few words, then the numbers of the facts in "
            "brackets.",
        ),
        check_positive("hops", hops),
        check_positive("facts", facts),
    )


def trace_facts(lines: Iterable[str], context: Sequence[str], sources: Sequence[str]) -> list[Fact]:
    """Return the facts in lines with the ids of their passages.

    A fact's passage is the first that it cites, else the one with most of its words and at least
    half of them. Facts without a passage are left out.
    """
    facts = []
    for line in lines:
        text = strip_citations(line)
        places = [number - 1 for number in cited_numbers(line) if 0 < number <= len(context)]
        place = places[0] if places else likely_source(text, context)
        if text and place is not None:
            facts.append((text, sources[place]))
    return facts


def merge_facts(old: Iterable[Fact], new: Iterable[Fact], most: int) -> tuple[Fact, ...]:
    """Return the first ``most`` facts in the order in which they were found, each text once."""
    return tuple(toolz.unique([*old, *new], key=lambda fact: fact[0].casefold()))[:most]


def cited_sources(answer: str, facts: Sequence[Fact]) -> tuple[str, ...]:
    """Return the ids of the passages behind the facts that an answer cites, each once."""
    numbers = (number for number in cited_numbers(answer) if 0 < number <= len(facts))
    return tuple(toolz.unique(facts[number - 1][1] for number in numbers))
