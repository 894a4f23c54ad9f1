"""The laws of recursive language models: inputs read by code within bounds, sessions that replay,
honest endings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadSignature, ModelFailed
from lmflow.library.agents.sandbox import Sandbox
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.values.media import File

pytest.importorskip("pydantic_monty")

DOCS = [f"Note {n}. " + "word " * 60 + f"The code of room {n} is {n * 7}." for n in range(20)]
BOX = Sandbox(seconds=0.5)
SESSION = "Work in a Python session"
ASKED = "Do what the prompt says"


def reader(signature: str = "docs: list[str], question -> answer", **more: Any) -> lf.Program:
    """A program that reads notes."""
    return lf.rlm(signature, "Find the code.", **{"sandbox": BOX, **more})


def saying(*codes: str, reply: Callable[[str], str] = str.upper, end: str = "gave up") -> Any:
    """A model that writes these pieces one after the other, answers prompts, and answers at last."""
    left = iter(codes)

    def say(request: ChatRequest) -> str | ChatReply | ModelFailed:
        system, asked = request.messages[0].content, request.messages[-1].content
        if system.startswith(ASKED):
            return reply(asked.removeprefix("[[prompt]]\n"))
        return next(left, "0") if SESSION in system else end

    return say


async def ran(program: lf.Program, say: Any, **inputs: Any) -> lf.Trace:
    """One execution on a script."""
    async with lf.Executor(lf.scripted(say)) as ex:
        return next(iter(await ex.map(program, [inputs or {"docs": DOCS, "question": "Room 3?"}])))


def seen(trace: lf.Trace) -> list[str]:
    """What each piece of code but the last was shown to have come to."""
    asked = [call.request for call in trace.calls if isinstance(call.request, ChatRequest)]
    last = [
        it
        for it in asked
        if SESSION in it.messages[0].content or "[[history]]" in it.messages[-1].content
    ][-1]
    history = last.messages[-1].content.partition("[[history]]\n")[2].partition("\n\n[[state]]")[0]
    return [it.partition("\n-> ")[2].strip() for it in f"\n{history}".split("\nStep ")[1:]]


def counted(trace: lf.Trace) -> tuple[int, int]:
    """How many calls of models, and runs of code."""
    runs = sum(isinstance(call.request, ToolRequest) for call in trace.calls)
    return len(trace.calls) - runs, runs


async def test_code_looks_asks_and_submits() -> None:
    """Names stay set from piece to piece, parts are asked about one by one and side by side, the
    outputs are typed.
    """
    say = saying(
        "hits = [doc for doc in docs if 'room 3 ' in doc]\nlen(hits)",
        "Asking now.\n```python\none = llm_query('one ' + hits[0][-4:])\nmany = llm_query_batched(['a', 'b'])\n```",
        "print(one, many)\nSUBMIT(answer=one, n='3')",
    )
    program = reader("docs: list[str], question -> answer, n: int")
    trace = await ran(program, say)
    assert {"answer": "ONE  21.", "n": 3} == dict(trace.outputs or {})
    assert [
        "rlm[0]/code[0]/call[0]", "rlm[0]/run[0]/call[0]", "rlm[0]/code[1]/call[0]", "rlm[0]/run[1]/call[0]",
        "rlm[0]/llm_query[0]/call[0]", "rlm[0]/run[2]/call[0]",
        "rlm[0]/llm_query_batched[0]/branch[0]/llm_query[0]/call[0]",
        "rlm[0]/llm_query_batched[0]/branch[1]/llm_query[0]/call[0]", "rlm[0]/run[3]/call[0]",
        "rlm[0]/code[2]/call[0]", "rlm[0]/run[4]/call[0]",
    ] == [call.address for call in trace.calls]  # fmt: skip
    assert ["1", "(it printed nothing, and its last line is no expression)"] == seen(trace)
    assert trace.root == lf.replay(trace, program).root


PIECES = [
    "len(docs)", "x = 1 / 0", "x = llm_query('a')", "llm_query_batched(['a', 'b', 'c'])", "llm_query_batched([])",
    "while True:\n    try:\n        llm_query('a')\n    except RuntimeError:\n        pass",
    "llm_query(1, 2, 3)", "llm_query_batched('a')", "SUBMIT()", "SUBMIT(n='many')", "SUBMIT(3)", "def (",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=4), st.integers(1, 3), st.integers(1, 4))
@bounded(max_examples=12, deadline=None)
def test_it_is_bounded_and_replays(codes: list[str], steps: int, calls: int) -> None:
    """Whatever the code does, it takes no more calls and runs than said, ends with outputs, and
    replays to its root.
    """
    program = reader("docs: list[str] -> n: int", steps=steps, calls=calls)

    async def once() -> lf.Trace:
        return await ran(program, saying(*codes, end="7"), docs=DOCS[:2])

    trace = asyncio.run(once())
    asked, runs = counted(trace)
    assert asked <= steps + calls + 1
    assert runs <= steps + calls
    assert trace.outputs is not None
    assert trace.outputs.n in {3, 7}
    assert trace.root == lf.replay(trace, program).root


async def test_a_call_that_cannot_be_made_ends_the_piece() -> None:
    """The model is told how many are left; what was set before stays, what was asked before isn't
    asked again.
    """
    say = saying(
        "found = []\nfor doc in docs:\n    found.append(llm_query(doc[:7]))",
        "print(found)\nllm_query('more')",
        "SUBMIT(found[1])",
    )
    trace = await ran(reader(calls=2), say)
    first, second = seen(trace)
    assert "Error: llm_query: 0 calls are left, this takes 1" == first
    assert "['NOTE 0.', 'NOTE 1.']\nError: llm_query: 0 calls are left, this takes 1" == second
    assert ({"answer": "NOTE 1."}, (5, 5)) == (dict(trace.outputs or {}), counted(trace))


async def test_what_does_not_fit_is_told_and_submitted_again() -> None:
    """Outputs that are missing, unknown or of another type end the piece, and nothing else."""
    say = saying("x = 4\nSUBMIT(number=3)", "SUBMIT('four')", "SUBMIT(n=x)")
    trace = await ran(reader("docs: list[str] -> n: int"), say, docs=DOCS)
    missing, wrong = seen(trace)
    assert "Error: SUBMIT: there is no argument 'number'; n is missing" == missing
    assert "Error: SUBMIT: n: 'four' is no whole number" == wrong
    assert {"n": 4} == dict(trace.outputs or {})


async def test_what_breaks_a_bound_leaves_nothing() -> None:
    """Code that took too long is not run again with every later piece; others that failed leave
    what they had set.
    """
    say = saying("x = 1\nwhile True: pass", "y = 2\nboom", "x", "SUBMIT(y)")
    trace = await ran(reader("docs: list[str] -> n: int"), say, docs=DOCS)
    slow, failed, gone = seen(trace)
    assert "Error: TimeoutError: feed time limit exceeded (nothing of this piece stays set)" == slow
    assert "Error: line 2: NameError: name 'boom' is not defined" == failed
    assert "NameError: name 'x' is not defined" in gone
    assert {"n": 2} == dict(trace.outputs or {})


async def test_failures_of_prompts_are_values() -> None:
    """Of a batch those that failed are None; where all failed, or one was asked alone, the code may
    catch it.
    """

    def reply(prompt: str) -> Any:
        return ModelFailed("server", "down") if "bad" in prompt else prompt

    say = saying(
        "llm_query_batched(['good', 'bad'])",
        "llm_query('bad')",
        "llm_query_batched(['bad'])",
        reply=reply,
    )
    both, alone, all_of_them = seen(await ran(reader(steps=3), say))
    assert '["good", null]' == both
    assert "RuntimeError" in alone
    assert "down" in alone
    assert "down" in all_of_them


async def test_without_submission_it_answers_from_what_was_seen() -> None:
    """After the last step the history is put to a step of its own."""
    trace = await ran(reader(steps=2), saying("print('saw it')", "1 + 1", end="at last"))
    assert {"answer": "at last"} == dict(trace.outputs or {})
    assert ["saw it", "2"] == seen(trace)
    assert (3, 2) == counted(trace)


async def test_the_code_calls_tools() -> None:
    """Functions and named programs, another reader too, by name, within the same calls."""
    price = lf.tool("price", "name -> cents: int", lambda name: {"tea": 250}[name], version="1")
    inner = lf.rlm("text -> size: int", "Measure it.", steps=1, sandbox=BOX, name="measure")

    def say(request: ChatRequest) -> str:
        system = request.messages[0].content
        if system.startswith("Measure it."):
            return "SUBMIT(len(text))"
        assert "price(name) -> cents: int" in system
        return "SUBMIT(price('tea') + measure(text='abc'))"

    trace = await ran(reader("question -> n: int", tools=[price, inner]), say, question="How much?")
    assert {"n": 253} == dict(trace.outputs or {})
    assert "rlm[0]/measure[0]/code[0]/call[0]" in [call.address for call in trace.calls]


async def test_long_inputs_are_shown_by_their_beginning() -> None:
    """With their types and sizes; short ones whole. No message holds more of them than that."""
    trace = await ran(reader(steps=1), saying("1"))
    told = (
        next(call.request for call in trace.calls if isinstance(call.request, ChatRequest))
        .messages[-1]
        .content
    )
    assert "docs: list[str] (20 items, " in told
    assert "characters left out …]\nquestion (7 characters)\nRoom 3?" in told
    assert "step 1 of 1, 50 calls left" in told
    assert "room 3" not in told


async def test_long_inputs_are_kept_once(tmp_path: Path) -> None:
    """A run names them by their hash, and the code finds them whole."""
    text = "".join(map(chr, range(0x4E00, 0x9000))) * 20
    program = reader("text -> size: int")
    with lf.SqliteStore(tmp_path / "lmflow.db") as store:
        async with lf.Executor(
            lf.scripted(saying(*["len(text)"] * 6, "SUBMIT(len(text))")), store
        ) as ex:
            trace = await ex.run(program, text=text)
        back = store.trace(trace.id)
        assert trace.root == lf.replay(back, program).root
    assert {"size": len(text)} == dict(trace.outputs or {})
    requests = [call.request for call in back.calls if isinstance(call.request, ToolRequest)]
    assert 1 == len({request.inputs.variables["text"] for request in requests})
    assert all(isinstance(request.inputs.variables["text"], File) for request in requests)
    assert (tmp_path / "lmflow.db").stat().st_size < 3 * len(text.encode())


async def test_a_file_of_text_is_read_as_its_text() -> None:
    """A long document may be given as a file."""
    book = File(b"A long story. Its end: blue." * 200, "text/plain", name="book.txt")
    trace = await ran(reader("book: File -> answer"), saying("SUBMIT(book[-5:-1])"), book=book)
    assert {"answer": "blue"} == dict(trace.outputs or {})


async def test_prompts_go_to_the_model_that_is_said() -> None:
    """``model`` is the default of the parameter of the step that is asked about parts."""
    program = reader(model="small")
    models = {
        name: lf.scripted(saying("SUBMIT(llm_query('a'))"), name=name)
        for name in ("large", "small")
    }
    async with lf.Executor(lf.routed(models)) as ex:
        trace = await ex.run(program, docs=DOCS, question="?")
    asked = [
        (it.address, it.request.model) for it in trace.calls if isinstance(it.request, ChatRequest)
    ]
    assert [("rlm[0]/code[0]/call[0]", "large"), ("rlm[0]/llm_query[0]/call[0]", "small")] == asked


@pytest.mark.parametrize(
    ("signature", "tools"),
    [("SUBMIT -> answer", []), ("text, llm_query -> answer", []), ("text -> answer, why: Reasoning", []),
     ("text -> answer", [lf.tool("llm_query_batched", "x -> y", lambda x: x, version="1")]),
     ("text -> answer", [lf.tool("len", "x -> y", lambda x: x, version="1")])],
)  # fmt: skip
def test_names_of_the_session_are_taken(signature: str, tools: list[Any]) -> None:
    """Inputs and tools have others; what a reply carries beside its text can't be submitted."""
    with pytest.raises(BadSignature):
        lf.rlm(signature, tools=tools, types={"Reasoning": lf.Reasoning})


@pytest.mark.parametrize("bad", [{"steps": 0}, {"calls": 0}, {"longest": 10}])
def test_sizes_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    """Before anything runs."""
    with pytest.raises(ValueError, match="at least"):
        reader(**bad)
