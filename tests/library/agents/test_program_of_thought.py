"""The laws of programs of thought: bounded tries, honest results, and answers that come from them."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadSignature, CodeFailed, SandboxUnavailable
from lmflow.library.agents.code import code_in, result_of
from lmflow.library.agents.sandbox import Sandbox
from lmflow.messages.requests import ChatRequest, ToolRequest

pytest.importorskip("pydantic_monty")

ASK = "Solve the problem."
FORMS = {
    "bare": "print(1)",
    "fenced": "```python\nprint(1)\n```",
    "amid words": "Here it is:\n```python\nprint(1)\n```\nIt prints:\n```\n1\n```",
    "untold language": "```\nprint(1)\n```",
    "no end": "```python\nprint(1)",
    "capitals": "```Python\nprint(1)\n```",
    "other language first": "```bash\npip install x\n```\n```py\nprint(1)\n```",
}


def solve(**more: Any) -> lf.Program:
    """A program of thought about a number."""
    return lf.program_of_thought("question -> answer: float", ASK, **more)


async def ran(
    program: lf.Program, replies: Callable[[ChatRequest], str] | list[str], **inputs: Any
) -> lf.Trace:
    """One execution on a script."""
    async with lf.Executor(lf.scripted(replies)) as ex:
        return next(iter(await ex.map(program, [inputs or {"question": "6 * 7?"}])))


def tools(trace: lf.Trace) -> list[ToolRequest]:
    """What was run."""
    return [call.request for call in trace.calls if isinstance(call.request, ToolRequest)]


@pytest.mark.parametrize("form", FORMS)
def test_code_is_found_in_a_reply(form: str) -> None:
    """With or without fences and words around it: the first block of Python, else the first, else
    all.
    """
    assert "print(1)" == code_in(FORMS[form])


@given(st.text())
def test_any_reply_is_some_code(text: str) -> None:
    """Nothing that a model says breaks it, and code without fences stays as it is."""
    found = code_in(text)
    assert found in text
    assert "```" in text or found == text.strip("\n").rstrip()


@pytest.mark.parametrize(
    ("value", "stdout", "result"),
    [(None, "", ""), (None, "a\n", "a"), (3, "", "3"), ("x", "a\n", "a\nx"), ([1, 2], "", "[1, 2]"), (0, "", "0")],
)  # fmt: skip
def test_a_result_is_what_was_printed_and_given(value: Any, stdout: str, result: str) -> None:
    """Both, in that order; nothing where there is neither."""
    assert result == result_of({"value": value, "stdout": stdout})


async def test_the_answer_is_read_from_the_result() -> None:
    """Code, run, answer: the answer step is shown the question, the code and what it gave."""
    seen: list[str] = []

    def say(request: ChatRequest) -> str:
        seen.append(request.messages[-1].content)
        return "```python\nprint(6 * 7)\n```" if len(seen) == 1 else "42"

    trace = await ran(solve(), say)
    assert {"answer": 42.0} == dict(trace.outputs or {})
    assert "[[question]]\n6 * 7?\n[[code]]\nprint(6 * 7)\n[[result]]\n42" == seen[-1]
    addresses = ["program_of_thought[0]/code[0]/call[0]", "program_of_thought[0]/run[0]/call[0]"]
    assert [*addresses, "program_of_thought[0]/answer[0]/call[0]"] == [
        call.address for call in trace.calls
    ]


async def test_inputs_are_variables() -> None:
    """The code finds what it is asked about under its name, as JSON values."""
    program = lf.program_of_thought("numbers: list[int], question -> total: int", direct=True)
    trace = await ran(program, ["sum(numbers)"], numbers=[1, 2, 39], question="How many?")
    assert {"total": 42} == dict(trace.outputs or {})


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("print(1 / 0)", "line 1: ZeroDivisionError: division by zero"),
        ("import numpy", "ModuleNotFoundError: No module named 'numpy'"),
        ("def solve():\n    return 42", "it printed nothing"),
        ("def (", "SyntaxError"),
        ("while True: pass", "time limit"),
    ],
)
async def test_what_failed_is_told(first: str, words: str) -> None:
    """The model is shown the code that failed and why, and its next code is run."""
    seen: list[ChatRequest] = []

    def say(request: ChatRequest) -> str:
        seen.append(request)
        return first if len(seen) == 1 else "print(42)" if len(seen) == 2 else "42"

    trace = await ran(solve(sandbox=Sandbox(seconds=0.3)), say)
    assert {"answer": 42.0} == dict(trace.outputs or {})
    told = seen[1].messages[-1].content
    assert f"[[failed_code]]\n{first}\n[[problem]]\n" in told
    assert words in told


async def test_a_direct_answer_has_no_step() -> None:
    """The value, else the last line printed, is the one output, of its type."""
    for code in ("6 * 7", "print('so')\nprint(42)", "'42'"):
        trace = await ran(solve(direct=True), [code])
        assert ({"answer": 42.0}, 2) == (dict(trace.outputs or {}), len(trace.calls))


async def test_what_does_not_fit_the_type_is_mended() -> None:
    """A direct result of another type is a problem like an error."""
    trace = await ran(solve(direct=True), ["print('many')", "42"])
    assert {"answer": 42.0} == dict(trace.outputs or {})
    assert ["print('many')", "42"] == [request.inputs["code"] for request in tools(trace)]


@pytest.mark.parametrize("tries", [1, 2, 3])
async def test_tries_are_bounded(tries: int) -> None:
    """Where no code gives a result it fails, with each code and what was wrong with it, and replays
    so.
    """
    trace = await ran(solve(tries=tries), lambda _: "1 / 0")
    assert 2 * tries == len(trace.calls)
    assert trace.failure is not None
    assert CodeFailed.__name__ == trace.failure.kind
    assert tries == trace.failure.text.count("division by zero")
    assert trace.root == lf.replay(trace, solve(tries=tries)).root


def test_one_try_is_not_mended() -> None:
    """What is never asked has no parameters."""
    steps = ["program_of_thought.code", "program_of_thought.run", "program_of_thought.answer"]
    assert steps == list(solve(tries=1).steps)
    assert steps[:2] == list(solve(tries=1, direct=True).steps)


def test_what_cannot_work_is_refused() -> None:
    """A direct answer of two outputs, no try, and an input that the steps need for themselves."""
    with pytest.raises(BadSignature, match="direct answer is one value"):
        lf.program_of_thought("question -> a, b", direct=True)
    with pytest.raises(ValueError, match="tries must be at least 1, found 0"):
        solve(tries=0)
    with pytest.raises(BadSignature, match="code"):
        lf.program_of_thought("code -> answer")
    with pytest.raises(BadSignature, match="needs a name"):
        lf.program_of_thought(
            "question -> answer", tools=[PRICE >> lf.predict("tell", "cents: int -> words")]
        )
    with pytest.raises(BadSignature, match="'price' is a tool, and an input"):
        lf.program_of_thought("price -> answer", tools=[PRICE])
    with pytest.raises(BadSignature, match="'sum' is a tool, and an input or a function of Python"):
        lf.program_of_thought("question -> answer", tools=[PRICE.named("sum")])


def test_the_bounds_are_part_of_the_key() -> None:
    """Another sandbox, number of tries or way to answer is another program."""
    programs = [
        solve(),
        solve(tries=2),
        solve(direct=True),
        solve(sandbox=Sandbox(seconds=1.0)),
        solve(name="other"),
    ]
    assert len(programs) == len({program.key for program in programs})


async def test_a_flow_may_catch_it() -> None:
    """Where no code runs, another program may answer."""
    coded, plain = solve(tries=1), lf.predict("plain", "question -> answer: float", "Guess.")

    @lf.flow("question -> answer: float", uses=[coded, plain], version="1")
    async def either(question: str) -> Any:
        try:
            return await coded(question=question)
        except CodeFailed:
            return await plain(question=question)

    trace = await ran(either, ["1 / 0", "41"])
    assert {"answer": 41.0} == dict(trace.outputs or {})
    assert trace.root == lf.replay(trace, either).root


async def test_it_is_searched_like_any_program() -> None:
    """Samples of it vote, each with runs of its own."""
    voted = lf.self_consistency(solve(direct=True, tries=1), n=3)
    trace = await ran(voted, lambda _: "6 * 7")
    assert ({"answer": 42.0}, 3) == (dict(trace.outputs or {}), len(tools(trace)))


async def test_no_interpreter_is_needed_to_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording answers runs by their identity; only a new run asks for the interpreter."""
    trace = await ran(solve(), ["6 * 7", "42"])
    assert trace.outputs is not None
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.1")
    assert trace.root == lf.replay(trace, solve()).root
    with pytest.raises(SandboxUnavailable, match=r"pydantic-monty 0\.1 is installed"):
        await ran(solve(), lambda _: "6 * 7")


PRICES = {"tea": 3, "milk": 2}


def look_up(name: str) -> int:
    """A price, or a failure."""
    return PRICES[name]


PRICE = lf.tool("price", "name -> cents: int", look_up)
SUM = "total = 0\nfor name in ('tea', 'milk'):\n    total += price(name)\ntotal"


def shop(**more: Any) -> lf.Program:
    """A program of thought that may ask for prices."""
    return lf.program_of_thought("question -> answer: int", ASK, tools=[PRICE], direct=True, **more)


async def test_tools_are_effects_of_their_own() -> None:
    """Each call has an address, is recorded once, and replays; the code is run again with its
    answer.
    """
    trace = await ran(shop(), [SUM])
    assert {"answer": 5} == dict(trace.outputs or {})
    at = "program_of_thought[0]"
    places = ["code[0]", "run[0]", "price[0]", "run[1]", "price[1]", "run[2]"]
    assert [f"{at}/{place}/call[0]" for place in places] == [call.address for call in trace.calls]
    assert trace.root == lf.replay(trace, shop()).root


async def test_what_a_tool_fails_with_is_told_to_the_code() -> None:
    """A failure, and arguments that don't fit, are errors that the code may catch, else problems to
    mend.
    """
    caught = "try:\n    x = price('gold')\nexcept RuntimeError:\n    x = 0\nx"
    assert {"answer": 0} == dict((await ran(shop(), [caught])).outputs or {})
    wrong = {"price('gold')": "raised KeyError", "price([])": "name:", "price('a', 'b')": "takes 1"}
    for code, words in wrong.items():
        seen: list[str] = []

        def say(request: ChatRequest, code: str = code, seen: list[str] = seen) -> str:
            seen.append(request.messages[-1].content)
            return code if len(seen) == 1 else "1"

        assert {"answer": 1} == dict((await ran(shop(), say)).outputs or {})
        assert words in seen[-1]


@pytest.mark.parametrize("calls", [1, 2, 3])
async def test_calls_of_tools_are_bounded(calls: int) -> None:
    """A run calls at most so many; the formula of the docstring is reached, never passed."""
    trace = await ran(shop(tries=2, calls=calls), lambda _: "while True:\n    price('tea')")
    asked = Counter(call.address.split("/")[1].partition("[")[0] for call in trace.calls)
    assert {"code": 1, "mend": 1, "price": 2 * calls, "run": 2 * (calls + 1)} == asked
    assert trace.failure is not None
    assert f"more than {calls} times" in trace.failure.text


def test_tools_are_told_to_the_model() -> None:
    """How each is called and what it gives stands in the instruction, and they are part of the key."""
    told = lf.init(shop())["program_of_thought.code.instruction"]
    assert "price(name) -> cents: int  # A price, or a failure." in told
    assert shop().key != lf.program_of_thought("question -> answer: int", ASK, direct=True).key
