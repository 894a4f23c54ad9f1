"""Reports: questions from several perspectives, an outline, sections that cite what was found, one
article.
"""

from __future__ import annotations

from typing import Any

import attrs
import toolz

from lmflow.library.frames import System, searching, signed
from lmflow.library.retrieval.passages import Passage, bare, closest, gathered
from lmflow.library.search.samples import fields_of, identity_of, positive, programs_in
from lmflow.library.writing.article import Article, Section, composed, supported
from lmflow.programs.effects import Fork
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program
from lmflow.signatures.signature import parse
from lmflow.values.record import Record

_GENERAL = "the general reader, who wants the basic facts"
_SUPPORT = 0.3


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Interview(Program):
    """Questions of one perspective by turns, each answered from a search of its own; it opens no
    frame.
    """

    search: Program
    ask: Predict
    reply: Predict
    turns: int

    def __attrs_post_init__(self) -> None:
        outputs = "questions: list[str], replies: list[str], context: list[str], sources: list[str]"
        object.__setattr__(self, "signature", parse(f"topic, perspective -> {outputs}"))

    @property
    def children(self) -> tuple[Program, ...]:
        """The search, who asks, and who replies."""
        return tuple(found for value in fields_of(self) for found in programs_in(value))

    @property
    def identity(self) -> Any:
        """All that it is made of."""
        return ["Interview", *(identity_of(value) for value in fields_of(self))]

    async def body(self, inputs: Record) -> Record:
        """The questions, the replies, and the passages that they are from."""
        questions: tuple[str, ...] = ()
        replies: tuple[str, ...] = ()
        passages: tuple[Passage, ...] = ()
        for _ in range(self.turns):
            log = tuple(map(_note, questions, replies))
            said = await self.ask(
                topic=inputs.topic, perspective=inputs.perspective, conversation=log
            )
            found = await self.search(query=said.question)
            reply = (
                await self.reply(topic=inputs.topic, question=said.question, context=found.context)
            ).reply
            questions, replies = (*questions, said.question), (*replies, reply)
            passages = gathered(passages, found.sources, found.context)
        context, sources = tuple(text for _, text in passages), tuple(id_ for id_, _ in passages)
        return Record(questions=questions, replies=replies, context=context, sources=sources)


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Report(System):
    """Interviews, an outline, sections side by side, and the article; see ``report``."""

    interview: Interview
    survey: Predict
    outline: Predict
    section: Predict
    lead: Predict
    perspectives: int
    sections: int
    passages: int

    def __attrs_post_init__(self) -> None:
        outputs = "markdown, html, outline: list[str], citations: list[str], questions: list[str], sources: list[str]"
        signed(self, parse(f"topic -> {outputs}"))

    async def body(self, inputs: Record) -> Record:
        """Who asks, what they learn, what the article is to say, its sections, and the whole."""
        topic = inputs.topic
        views = await self._views(topic)
        asked = tuple(self.interview(topic=topic, perspective=view) for view in views)
        logs = await Fork(asked, name="perspective")
        pool: tuple[Passage, ...] = ()
        for log in logs:
            pool = gathered(pool, log.sources, log.context)
        notes = tuple(note for log in logs for note in map(_note, log.questions, log.replies))
        headings = some((await self.outline(topic=topic, notes=notes)).headings, self.sections) or (
            topic,
        )
        written = await self._written(topic, headings, pool)
        article = await self._whole(topic, written)
        return Record(
            markdown=article.markdown(), html=article.html(), outline=headings,
            citations=tuple(id_ for id_, _ in article.references),
            questions=tuple(question for log in logs for question in log.questions),
            sources=tuple(id_ for id_, _ in pool),
        )  # fmt: skip

    async def _views(self, topic: str) -> tuple[str, ...]:
        if not self.perspectives:
            return (_GENERAL,)
        return (_GENERAL, *some((await self.survey(topic=topic)).perspectives, self.perspectives))

    async def _written(
        self, topic: str, headings: tuple[str, ...], pool: tuple[Passage, ...]
    ) -> list[Section]:
        texts = [text for _, text in pool]
        chosen = [
            tuple(pool[at] for at in closest(f"{heading} {topic}", texts, self.passages))
            for heading in headings
        ]
        asked = (
            self.section(topic=topic, heading=heading, context=tuple(text for _, text in passages))
            for heading, passages in zip(headings, chosen, strict=True)
        )
        said = await Fork(tuple(asked), name="section")
        drafts = (
            Section(h, it.text, passages)
            for h, it, passages in zip(headings, said, chosen, strict=True)
        )
        found = (supported(draft, _SUPPORT) for draft in drafts)
        return [section for section in found if bare(section.text)]

    async def _whole(self, topic: str, written: list[Section]) -> Article:
        read = tuple(f"{section.heading}: {bare(section.text)}" for section in written)
        lead = (await self.lead(topic=topic, sections=read)).lead
        return composed(topic, [Section("", lead), *written])


def report(  # noqa: PLR0913 - each is a choice of its own
    search: Program,
    *,
    perspectives: int = 2,
    turns: int = 1,
    sections: int = 4,
    passages: int = 3,
    name: str = "report",
) -> Report:
    """``topic -> markdown, html, outline, citations, questions, sources``: an article whose
    citations are passages.

    Cost: at most ``3 + 2 * turns * (perspectives + 1) + sections`` calls (without perspectives one
    less) and ``turns * (perspectives + 1)`` searches. A survey names perspectives on the topic; the
    general reader is always one more. Each asks ``turns`` questions, side by side, which are
    answered from a search. From these notes come an outline of at most ``sections`` headings,
    sections side by side, each from the ``passages`` passages that fit its heading best, and a
    lead. Steps: ``survey``, ``ask``, ``reply``, ``outline``, ``section``, ``lead``.

    The article is composed by code. Sections cite their passages by number; numbers are made those
    of one list of references; numbers that are no passage's are dropped, and so are citations of a
    passage that has less than three tenths of the sentence's words. A sentence without a citation
    cites the passage that has most of its words, if it has half of them. Sections without words are
    left out. So each ``[n]`` of the article is the n-th of ``citations``, a passage that was
    retrieved. Whether the passage supports the sentence is for a judge: ``lf.grounded``. Whatever
    models and passages say is shown as text: in Markdown marks are escaped, in HTML everything is.

    Shao et al. 2024, arXiv 2402.14207, section 3 (STORM), with one query a question, one outline,
    and no simulated expert beside the reply.
    """
    if perspectives < 0:
        msg = f"perspectives must be at least 0, found {perspectives}"
        raise ValueError(msg)
    interview = Interview(
        searching(search),
        predict(
            "ask",
            "topic, perspective, conversation: list[str] -> question",
            "You research a topic from the given perspective. Ask the next question, one that the conversation hasn't "
            "answered, in one sentence that a search engine could find the answer by.",
        ),
        predict(
            "reply",
            "topic, question, context: list[str] -> reply",
            "Answer the question from the context in two or three sentences. Say so where the context doesn't tell.",
        ),
        positive("turns", turns),
    )
    return Report(
        name,
        interview,
        predict(
            "survey",
            "topic -> perspectives: list[str]",
            f"Name {perspectives} kinds of readers or experts who would ask different questions about the topic, one a "
            "line.",
        ),
        predict(
            "outline",
            "topic, notes: list[str] -> headings: list[str]",
            f"Write the outline of an encyclopedia article: at most {sections} section headings that the notes can "
            "fill, one a line, without introduction and references.",
        ),
        predict(
            "section",
            "topic, heading, context: list[str] -> text",
            "Write this section of an article on the topic, from the context alone, in one or two paragraphs. End each "
            "sentence with the number of its passage in brackets, such as [1].",
        ),
        predict(
            "lead",
            "topic, sections: list[str] -> lead",
            "Write the lead of the article in two or three sentences.",
        ),
        perspectives,
        positive("sections", sections),
        positive("passages", passages),
    )


def _note(question: str, reply: str) -> str:
    """A question and its answer on one line, so that models are shown notes as numbered lines."""
    return " ".join(f"{question} {bare(reply)}".split())


def some(lines: tuple[str, ...], most: int) -> tuple[str, ...]:
    """The lines that say something, each once, on one line and without marks of a list, the first
    ``most`` of them.
    """
    said = (" ".join(bare(line).strip("#*- \t").split()) for line in lines)
    return tuple(toolz.unique((line for line in said if line), key=str.casefold))[:most]
