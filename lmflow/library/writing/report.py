"""Reports: questions from several perspectives, an outline, sections that cite, one article."""

from __future__ import annotations

import attrs
import toolz

from lmflow.library.checks import check_not_negative, check_positive
from lmflow.library.composed import Composed, set_signature
from lmflow.library.retrieval.citations import (
    Passage,
    closest_texts,
    merge_passages,
    strip_citations,
)
from lmflow.library.retrieval.retrieve import check_search
from lmflow.library.system import System, set_system_signature
from lmflow.library.writing.article import (
    Article,
    Section,
    compose_article,
    keep_supported_citations,
)
from lmflow.programs.effects import Fork
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program
from lmflow.signatures.declaration import parse_signature
from lmflow.values.record import Record

_GENERAL = "the general reader, who wants the basic facts"
_SUPPORT = 0.3


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Interview(Composed):
    """Questions from one perspective by turns, each answered from a search of its own.

    It opens no frame.
    """

    search: Program
    ask: Predict
    reply: Predict
    turns: int

    def __attrs_post_init__(self) -> None:
        outputs = "questions: list[str], replies: list[str], context: list[str], sources: list[str]"
        set_signature(self, parse_signature(f"topic, perspective -> {outputs}"))

    async def body(self, inputs: Record) -> Record:
        """Return the questions, the replies, and the passages that the replies are from."""
        topic, perspective = inputs.topic, inputs.perspective
        questions: tuple[str, ...] = ()
        replies: tuple[str, ...] = ()
        passages: tuple[Passage, ...] = ()
        for _ in range(self.turns):
            log = tuple(map(_note, questions, replies))
            ask = self.ask(topic=topic, perspective=perspective, conversation=log)
            question = (await ask).question
            results = await self.search(query=question)
            answer = await self.reply(topic=topic, question=question, context=results.context)
            questions, replies = (*questions, question), (*replies, answer.reply)
            passages = merge_passages(passages, results.sources, results.context)
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
        outputs = (
            "markdown, html, outline: list[str], citations: list[str], questions: list[str], "
            "sources: list[str]"
        )
        set_system_signature(self, parse_signature(f"topic -> {outputs}"))

    async def body(self, inputs: Record) -> Record:
        """Interview from each perspective, outline, write the sections, and compose the article."""
        topic = inputs.topic
        perspectives = await self._perspectives(topic)
        pendings = tuple(self.interview(topic=topic, perspective=each) for each in perspectives)
        logs = await Fork(pendings, name="perspective")
        passages: tuple[Passage, ...] = ()
        notes: list[str] = []
        for log in logs:
            passages = merge_passages(passages, log.sources, log.context)
            notes += map(_note, log.questions, log.replies)
        outline = (await self.outline(topic=topic, notes=tuple(notes))).headings
        headings = clean_lines(outline, self.sections) or (topic,)
        sections = await self._write_sections(topic, headings, passages)
        article = await self._compose(topic, sections)
        return Record(
            markdown=article.markdown(),
            html=article.html(),
            outline=headings,
            citations=tuple(id_ for id_, _ in article.references),
            questions=tuple(question for log in logs for question in log.questions),
            sources=tuple(id_ for id_, _ in passages),
        )

    async def _perspectives(self, topic: str) -> tuple[str, ...]:
        if not self.perspectives:
            return (_GENERAL,)
        named = (await self.survey(topic=topic)).perspectives
        return (_GENERAL, *clean_lines(named, self.perspectives))

    async def _write_sections(
        self, topic: str, headings: tuple[str, ...], passages: tuple[Passage, ...]
    ) -> list[Section]:
        """Write a section for each heading from the passages that fit it best, side by side."""
        texts = [text for _, text in passages]
        chosen, pendings = [], []
        for heading in headings:
            places = closest_texts(f"{heading} {topic}", texts, self.passages)
            context = tuple(texts[place] for place in places)
            chosen.append(tuple(passages[place] for place in places))
            pendings.append(self.section(topic=topic, heading=heading, context=context))
        replies = await Fork(tuple(pendings), name="section")
        sections = []
        for heading, reply, own_passages in zip(headings, replies, chosen, strict=True):
            draft = Section(heading, reply.text, own_passages)
            section = keep_supported_citations(draft, _SUPPORT)
            if strip_citations(section.text):
                sections.append(section)
        return sections

    async def _compose(self, topic: str, sections: list[Section]) -> Article:
        texts = tuple(f"{each.heading}: {strip_citations(each.text)}" for each in sections)
        lead = (await self.lead(topic=topic, sections=texts)).lead
        return compose_article(topic, [Section("", lead), *sections])


def report(  # noqa: PLR0913 - each is a choice of its own
    search: Program,
    *,
    perspectives: int = 2,
    turns: int = 1,
    sections: int = 4,
    passages: int = 3,
    name: str = "report",
) -> Report:
    """Make a program that writes an article on a topic whose citations are retrieved passages.

    Its signature is ``topic -> markdown, html, outline, citations, questions, sources``.

    Cost: at most ``3 + 2 * turns * (perspectives + 1) + sections`` calls (without perspectives one
    less) and ``turns * (perspectives + 1)`` searches. A survey names perspectives on the topic; the
    general reader is always one more. Each asks questions, side by side, which are answered from a
    search. From these notes come an outline, sections side by side, each from the passages that fit
    its heading best, and a lead. Steps: ``survey``, ``ask``, ``reply``, ``outline``, ``section``,
    ``lead``.

    The article is composed by code. Sections cite their passages by number; numbers are made those
    of one list of references; numbers that no passage has are dropped, and so are citations of a
    passage that has less than three tenths of the sentence's words. A sentence without a citation
    cites the passage that has most of its words, if it has half of them. Sections without words are
    left out. So each ``[n]`` of the article is the n-th of ``citations``, a passage that was
    retrieved. Whether the passage supports the sentence is for a judge: ``lf.grounded``. Whatever
    models and passages say is shown as text: in Markdown marks are escaped, in HTML everything is.

    Args:
        search: A program ``query -> context, sources``, such as ``lf.retrieve(corpus)``.
        perspectives: How many perspectives the survey names, at least 0.
        turns: How many questions each perspective asks, at least 1.
        sections: The most headings of the outline, at least 1.
        passages: How many passages each section is written from, at least 1.
        name: The name of the program.

    Returns:
        The program.

    Raises:
        BadSignature: ``search`` is not a search program.
        ValueError: A number is too small.

    Shao et al. 2024, arXiv 2402.14207, section 3 (STORM), with one query a question, one outline,
    and no simulated expert beside the reply.
    """
    check_not_negative("perspectives", perspectives)
    survey = (
        f"Name {perspectives} kinds of readers or experts who would ask different questions "
        "about the topic, one a line."
    )
    return Report(
        name,
        _interview(search, turns),
        predict("survey", "topic -> perspectives: list[str]", survey),
        predict(
            "outline",
            "topic, notes: list[str] -> headings: list[str]",
            f"Write the outline of an encyclopedia article: at most {sections} section headings "
            "that the notes can fill, one a line, without introduction and references.",
        ),
        predict(
            "section",
            "topic, heading, context: list[str] -> text",
            "Write this section of an article on the topic, from the context alone, in one or two "
            "paragraphs. End each sentence with the number of its passage in brackets, such as "
            "[1].",
        ),
        predict(
            "lead",
            "topic, sections: list[str] -> lead",
            "Write the lead of the article in two or three sentences.",
        ),
        perspectives,
        check_positive("sections", sections),
        check_positive("passages", passages),
    )


def clean_lines(lines: tuple[str, ...], most: int) -> tuple[str, ...]:
    """Return the first ``most`` lines with words, each once, without citations and list marks."""
    texts = (" ".join(strip_citations(line).strip("#*- \t").split()) for line in lines)
    return tuple(toolz.unique((text for text in texts if text), key=str.casefold))[:most]


def _interview(search: Program, turns: int) -> Interview:
    return Interview(
        check_search(search),
        predict(
            "ask",
            "topic, perspective, conversation: list[str] -> question",
            "You research a topic from the given perspective. Ask the next question, one that the "
            "conversation hasn't answered, in one sentence that a search engine could find the "
            "answer by.",
        ),
        predict(
            "reply",
            "topic, question, context: list[str] -> reply",
            "Answer the question from the context in two or three sentences. Say so where the "
            "context doesn't tell.",
        ),
        check_positive("turns", turns),
    )


def _note(question: str, reply: str) -> str:
    """Write a question and its answer on one line, so that notes can be shown numbered."""
    return " ".join(f"{question} {strip_citations(reply)}".split())
