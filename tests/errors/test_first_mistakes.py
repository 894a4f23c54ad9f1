"""The law of first mistakes: what stands in the wrong place is named with the line that was meant,
before anything is sent.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import lmflow as lf

ANSWER = lf.predict("answer", "question -> answer")


def _search(query: str) -> list[str]:
    return [query]


async def _yielding(question: str) -> AsyncIterator[str]:
    yield question


async def _rest(*questions: str) -> str:
    return questions[0]


async def _plain(question: str) -> str:
    return question


CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "a signature for a step": (
        lambda: lf.chain_of_thought("topic -> poem"),  # type: ignore[arg-type]
        'Write lf.predict("answer", "topic -> poem") in its place.',
    ),
    "a name and a signature for a step": (
        lambda: lf.chain_of_thought("answer", "question -> answer"),  # type: ignore[call-arg, arg-type]
        'lf.chain_of_thought(lf.predict("answer", "question -> answer"))',
    ),
    "an option of the step": (
        lambda: lf.chain_of_thought(ANSWER, temperature=0),  # type: ignore[call-arg]
        "It is the step's: lf.chain_of_thought(lf.predict(..., options={...})).",
    ),
    "DSPy's bound of an agent": (
        lambda: lf.react("question -> answer", [_search], max_iters=3),  # type: ignore[call-arg]
        "react() has no option 'max_iters'. It is called max_steps.",
    ),
    "retries": (
        lambda: lf.retrying(lf.scripted(["x"]), retries=3),  # type: ignore[call-arg]
        "retrying() has no option 'retries'. It is called attempts",
    ),
    "one program for a list": (
        lambda: lf.flow(uses=ANSWER),  # pyright: ignore[reportArgumentType]
        "Write `uses=[answer]`.",
    ),
    "a flow that yields": (lambda: lf.flow(uses=[ANSWER])(_yielding), "it yields"),
    "any number of inputs": (
        lambda: lf.flow(uses=[ANSWER])(_rest),
        "*questions takes any number of inputs. Name each input",
    ),
    "a class that a text names": (
        lambda: lf.predict("extract", "text -> people: list[Person]"),
        "A class of yours is given by name: types={'Person': Person}.",
    ),
    "texts for documents": (
        lambda: lf.Corpus.build(["one text"]),  # type: ignore[list-item]
        '{"id": "1", "text": "..."}',
    ),
    "a picture by keyword": (
        lambda: lf.Image(url="https://example.org/a.png"),  # type: ignore[call-arg]
        'The source is the first argument: lf.Image("picture.png")',
    ),
    "a partial for a flow": (
        lambda: lf.flow(uses=[ANSWER])(functools.partial(_plain, question="a")),
        "Write `async def` under @lf.flow",
    ),
    "the messages of a history": (
        lambda: lf.History(messages=[]),  # type: ignore[call-arg]
        "Turns are appended: lf.History().then(inputs, outputs).",
    ),
    "the class of adapters": (
        lambda: lf.predict("answer", "question -> answer", adapter=lf.Adapter),  # type: ignore[call-overload]
        'It has a name, adapter="xml", or is made: lf.Adapter(...)',
    ),
    "an optimizer's decorator alone": (
        lambda: lf.staged(_search),  # type: ignore[arg-type]
        "Write `@lf.staged()` above `def _search`.",
    ),
    "no metric": (
        lambda: lf.Sync(lf.scripted(["x"])).evaluate(ANSWER, [{"question": "a"}]),  # type: ignore[call-arg]
        "evaluate() needs metric. Write ex.map(program, rows), ex.evaluate(program, rows, metric)",
    ),
    "no data": (
        lambda: lf.Sync(lf.scripted(["x"])).optimize(lf.mipro(), ANSWER, metric=len),  # type: ignore[call-arg]
        "optimize() needs data.",
    ),
    "a parameter by two arguments": (
        lambda: lf.init(ANSWER).put("answer.instruction", "Answer."),  # type: ignore[arg-type, call-arg]
        'version.put({"answer.instruction": "..."}, note="...")',
    ),
    "a blocking stream in async code": (
        lambda: lf.Sync(lf.scripted(["x"])).stream(ANSWER, question="a").__aiter__(),
        "lf.Sync is for plain code: for part in stream.",
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_first_mistake_is_named_with_its_mending_line(call: str) -> None:
    """The error has the line that was meant."""
    make, words = CALLS[call]
    with pytest.raises((TypeError, lf.LmflowError)) as caught:
        make()
    assert words in str(caught.value)


def test_a_tuple_of_programs_is_a_list_too() -> None:
    """Whatever is iterated over is taken for ``uses``."""
    made = lf.flow(uses=(each for each in [ANSWER]))(_plain)
    assert ("question",) == made.signature.input_names
