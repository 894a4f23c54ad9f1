"""The laws of systems: values within their bounds, replayable, tunable, and honest about where
things come from.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from chances import Chances
from passages import PASSAGES, SEARCH, found, told

import lmflow as lf
from lmflow.errors import BadSignature, ParseFailure, UnknownInput
from lmflow.library.writing.chunking import split_text
from lmflow.messages.requests import ChatRequest, ToolRequest

LABELS = [f"label {n}" for n in range(50)]
LONG = "\n\n".join(
    f"Paragraph {n} says that {n} is a number. It goes on for a while." for n in range(12)
)
CONTEXT: dict[str, Any] = {"context": list(PASSAGES.values()), "sources": list(PASSAGES)}


@attrs.frozen
class Person:
    """A person."""

    name: str
    born: int | None = None


# Each system, inputs for it, and the most model calls and searches that its docstring allows.
SYSTEMS: dict[str, tuple[Callable[[], lf.Program], dict[str, Any], int, int]] = {
    "rag": (lambda: lf.rag(SEARCH), {"question": "capital of France?"}, 1, 1),
    "multi_hop": (lambda: lf.multi_hop(SEARCH, 3), {"question": "Who built it?"}, 8, 3),
    "ircot": (lambda: lf.ircot(SEARCH, steps=3), {"question": "Who built it?"}, 4, 3),
    "report": (lambda: lf.report(SEARCH, turns=2), {"topic": "Paris"}, 3 + 2 * 2 * 3 + 4, 6),
    "report_alone": (
        lambda: lf.report(SEARCH, perspectives=0, sections=1),
        {"topic": "Paris"},
        2 + 2 + 1,
        1,
    ),
    "classify": (lambda: lf.classify(LABELS[:5]), {"text": "this"}, 1, 0),
    "classify_many": (lambda: lf.classify(LABELS), {"text": "this"}, 3 + 2, 0),
    "summarize": (lambda: lf.summarize(size=200), {"text": LONG}, 2 * 4 - 1, 0),
    "program_of_thought": (
        lambda: lf.program_of_thought("question -> answer", tries=2),
        {"question": "6 * 7?"},
        3,
        2,
    ),
    "program_direct": (
        lambda: lf.program_of_thought("question -> n: int", tries=2, direct=True),
        {"question": "?"},
        2,
        2,
    ),
    "rlm": (lambda: lf.rlm("text -> n: int", steps=2), {"text": LONG}, 3, 2),
    "rerank": (lf.rerank, {"query": "Paris", **CONTEXT}, 3, 0),
    "rerank_list": (lambda: lf.rerank("listwise", k=2), {"query": "Paris", **CONTEXT}, 1, 0),
}
SAYS = {
    "write it again": "print(6 * 7)",
    "Write a short Python program": "6 / 0",
    "Work in a Python session": "text.count('number')",
    "what the steps found": "12",
    "rag.answer": "Paris",
    "Write one search query": "Eiffel Tower built",
    "List the facts": "The Eiffel Tower was built by Gustave Eiffel [1]",
    "Do the facts suffice": "false",
    "from the facts": "Gustave Eiffel [1]",
    "Think towards": "The tower was built by Eiffel.",
    "Name 2 kinds": "historians\narchitects",
    "Write the outline": "History\nTower\nRivers\nTrade",
    "Write this section": "The Eiffel Tower was built in 1889 [1]. Paris is the capital of France [2].",
    "Say which label": "label 3",
    "Give a number from 0": "5",
    "Order the passages": "3, 1",
}


def say(request: ChatRequest, _: object) -> str:
    """The answer for the first key in the system message."""
    system = request.messages[0].content
    return next((answer for key, answer in SAYS.items() if key in system), "Something about Paris.")


async def once(
    program: lf.Program, inputs: dict[str, Any], model: Any = None, concurrency: int = 16
) -> lf.Run:
    """A run of one."""
    async with lf.Executor(model or Chances(say), concurrency=concurrency) as ex:
        return await ex.map(program, [inputs])


def counted(run: lf.Run) -> tuple[int, int]:
    """How many calls of models, and of tools."""
    tools = sum(isinstance(call.request, ToolRequest) for call in run.traces[0].calls)
    return len(run.traces[0].calls) - tools, tools


@pytest.fixture(params=sorted(SYSTEMS))
def system(
    request: pytest.FixtureRequest,
) -> tuple[Callable[[], lf.Program], dict[str, Any], int, int]:
    """Each system."""
    return SYSTEMS[request.param]


async def test_calls_are_as_many_as_the_docstring_says(system: Any) -> None:
    """Where nothing ends early, a system makes just the calls of its formula; never more."""
    make, inputs, calls, searches = system
    run = await once(make(), inputs)
    assert () == run.failures
    asked, searched = counted(run)
    assert asked <= calls
    assert searched == searches
    assert (
        asked >= calls - 2
    )  # a summary is bounded, not counted; a choice of labels is asked again only when wrong


async def test_replay_is_exact(system: Any) -> None:
    """A recording replays to the same root, and order changes nothing."""
    make, inputs, *_ = system
    one, many = [
        await once(make(), inputs, Chances(say, seed=seed), n) for seed, n in ((1, 1), (2, 16))
    ]
    assert one.root == many.root == lf.replay(one, make()).root


def test_they_are_values(system: Any) -> None:
    """Equal where made alike, hashable, with one key, and the same after pickling."""
    make = system[0]
    back = pickle.loads(pickle.dumps(make()))  # noqa: S301 - its own
    assert make() == make() == back
    assert make().key == back.key
    assert hash(make()) == hash(back)


async def test_they_can_be_tuned(system: Any) -> None:
    """Each instruction is a parameter that the model sees."""
    make, inputs, *_ = system
    program = make()
    paths = [path for path in program.paths if path.endswith(".instruction")]
    tuned = lf.init(program).put({path: f"{lf.init(program)[path]} Tuned." for path in paths})
    model = Chances(say)
    async with lf.Executor(model) as ex:
        await ex.run(program, version=tuned, **inputs)
    assert paths
    assert all("Tuned." in request.messages[0].content for request in model.asked)


def test_two_in_one_program_are_apart() -> None:
    """Steps of a system have its name before theirs, so two systems, or two of one kind, don't mix."""
    both = lf.rag(SEARCH) >> lf.ircot(SEARCH) >> lf.rag(SEARCH).named("again")
    assert {"rag.answer", "rag.search", "ircot.thought", "ircot.answer", "again.answer"} <= set(
        both.steps
    )


def test_a_search_is_checked_when_a_system_is_made() -> None:
    """What gives no sources, or needs more than a query, is refused at composition with the line
    that mends it.
    """
    no_sources = lf.tool("search", "query -> context: list[str]", found, version="1")
    more = lf.tool(
        "search", "query, where -> context: list[str], sources: list[str]", found, version="1"
    )
    for search in (no_sources, more):
        with pytest.raises(BadSignature, match="Give lf"):
            lf.rag(search)


async def test_rag_says_what_it_read() -> None:
    """The passages and their ids are outputs, so that judges can look."""
    outputs = await told(lf.rag(SEARCH), {"question": "the seine?"}, {"seine": "a river"})
    assert "a river" == outputs.answer
    assert [PASSAGES[name] for name in outputs.sources] == list(outputs.context)


def hop(request: ChatRequest) -> str:
    """Facts of both kinds: with a mark, without, and made up."""
    system = request.messages[0].content
    if "List the facts" in system:
        facts = "Paris is the capital of France [1]", "The Seine flows through Paris"
        return "\n".join([*facts, "Ghosts dance nightly", "Lima rules the seas [7]"])
    if "Do the facts suffice" in system:
        return "true"
    return "Paris [1] [9]" if "from the facts" in system else "capital"


async def test_facts_have_provenance() -> None:
    """A fact is kept with the passage that it cites, else with the one that has most of its words;
    made-up ones go.
    """
    outputs = await told(lf.multi_hop(SEARCH, 3), {"question": "Which capital?"}, hop)
    assert ("Paris is the capital of France", "The Seine flows through Paris") == outputs.facts
    assert ("Paris", ("france#0",)) == (outputs.answer, outputs.citations)


async def test_hops_go_on_where_a_reply_cannot_be_read() -> None:
    """A condensing without form brings no facts, a check without form is a no; the answer is asked
    for all the same.
    """

    def script(request: ChatRequest) -> str:
        system = request.messages[0].content
        return "" if "List the facts" in system else "perhaps" if "suffice" in system else "Lima"

    outputs = await told(lf.multi_hop(SEARCH, 2), {"question": "Which capital?"}, script)
    assert ("Lima", (), ()) == (outputs.answer, outputs.facts, outputs.citations)
    assert ("Which capital?", "Lima") == outputs.queries


async def test_hops_end_where_the_facts_suffice() -> None:
    """The stop check saves the hops that are left."""
    run = await once(lf.multi_hop(SEARCH, 3), {"question": "Which capital?"}, lf.scripted(hop))
    assert (3, 1) == counted(run)


async def test_ircot_ends_with_the_answer() -> None:
    """A thought that says the answer ends the search; the reader doesn't see the thoughts."""
    model = Chances(
        lambda request, _: (
            "So the answer is Lima." if "Think" in request.messages[0].content else "Lima"
        )
    )
    run = await once(lf.ircot(SEARCH), {"question": "capital of Peru?"}, model)
    assert (2, 1) == counted(run)
    assert "answer is" not in model.asked[-1].messages[-1].content


async def test_extract_gives_the_type() -> None:
    """A value of the user's type, also where the first reply isn't."""
    replies = iter(["He is Ada.", '```json\n{"name": "Ada", "born": 1815}\n```'])
    outputs = await told(lf.extract(Person), {"text": "Ada, born 1815"}, replies)
    assert Person("Ada", 1815) == outputs.data


async def test_extract_gives_nothing_else() -> None:
    """A reply that isn't of the type twice is a failure, not a value."""
    with pytest.raises(ParseFailure):
        await told(lf.extract(list[Person]), {"text": "x"}, lambda _: '[{"born": "long ago"}]')


def test_labels_are_some_and_differ() -> None:
    """No labels, or two that differ in case alone, are no choice."""
    for labels in ([], ["a", "A"]):
        with pytest.raises(ValueError, match="labels must be some"):
            lf.classify(labels)


async def test_a_label_is_one_of_the_labels() -> None:
    """Of many labels too, whatever the model says: by its words or its number, after it was told
    once.
    """
    replies = {"which": iter(["none of these", "2"])}

    def script(request: ChatRequest) -> str:
        alone = "label alone" in request.messages[0].content
        return next(replies["which"]) if alone else "label 7\nlabel 31\nnonsense"

    outputs = await told(lf.classify(LABELS), {"text": "x"}, script)
    assert "label 31" == outputs.label
    with pytest.raises(ParseFailure):
        await told(lf.classify(LABELS), {"text": "x"}, lambda _: "gibberish")


async def test_one_likely_label_is_not_asked_about() -> None:
    """Where the shortlist has one label, that is the answer."""
    run = await once(lf.classify(LABELS), {"text": "x"}, lf.scripted(lambda _: "label 31"))
    outputs = run.traces[0].outputs
    assert (("label 31"), (3, 0)) == (outputs.label if outputs else None, counted(run))


async def test_nothing_longer_than_the_size_is_read() -> None:
    """A model that says too much doesn't make the next one read it all, and it ends."""
    model = Chances(lambda _, __: "word " * 500)
    run = await once(lf.summarize(size=200), {"text": LONG * 3}, model)
    assert () == run.failures
    assert counted(run)[0] <= 2 * len(split_text(LONG * 3, 200)) - 1
    assert max(len(request.messages[-1].content) for request in model.asked) < 200 + 60


async def test_reranking_is_stable() -> None:
    """Equal scores keep the order; passages that a list leaves out follow, and what is no number of
    one is nothing.
    """
    outputs = await told(
        lf.rerank(),
        {"query": "x", **CONTEXT},
        lambda r: "9" if "Lima" in r.messages[-1].content else "2",
    )
    assert ("peru#0", "france#0", "tower#0") == outputs.sources
    listed = await told(lf.rerank("listwise"), {"query": "x", **CONTEXT}, lambda _: "3, 99, 3, -1")
    assert ("tower#0", "france#0", "peru#0") == listed.sources


def test_a_mode_of_reranking_that_does_not_exist_is_refused() -> None:
    """A typo isn't taken for the other mode."""
    with pytest.raises(UnknownInput, match="listwise"):
        lf.rerank("listwize")  # type: ignore[arg-type]


async def test_nothing_is_reranked_for_nothing() -> None:
    """Without passages no model is asked."""
    run = await once(lf.rerank("listwise"), {"query": "x", "context": [], "sources": []})
    assert (0, 0) == counted(run)


async def test_a_search_can_be_reranked() -> None:
    """``search >> rerank`` is a search again, and systems take it."""
    program = lf.rag(SEARCH >> lf.rerank("listwise", k=1))
    outputs = await told(
        program,
        {"question": "capital"},
        lambda r: "2" if "Order" in r.messages[0].content else "yes",
    )
    assert 1 == len(outputs.sources)
