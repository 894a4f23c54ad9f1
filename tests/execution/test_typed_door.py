"""One typed door: whatever the code of models and tools raises or returns is recorded and replays."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import attrs
import own_adapter
import pytest

import lmflow as lf
from lmflow.errors import CallError, LmflowError, ModelFailed, ParseFailure, TooLong
from lmflow.messages.replies import ChatReply, EmbedReply, ModelReply, Usage
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Http, Send
from lmflow.models.providers.openai import OpenAI

ANSWER = lf.predict("answer", "question -> reply")
ROWS = [{"question": "one"}, {"question": "two"}]


class Odd(BaseException):
    """No ``Exception``."""


class Unreadable(Exception):
    """An exception whose own words fail."""

    def __str__(self) -> str:
        raise RuntimeError


class OfOnesOwn(ModelFailed):
    """A kind of failure that no recording knows."""


def _nested() -> Any:
    return functools.reduce(_within, range(100_000), None)


def _within(inner: Any, _: int) -> Any:
    return [inner]


RAISED = {
    "value": lambda: ValueError("x\ud800\x1b]0;\x07"),
    "exit": lambda: SystemExit(3),
    "stop": lambda: StopIteration("s"),
    "stop async": StopAsyncIteration,
    "generator exit": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "odd": Odd,
    "unreadable": Unreadable,
    "group": lambda: BaseExceptionGroup("g", [SystemExit(1)]),
    "timeout": TimeoutError,
    "reset": ConnectionResetError,
    "parse": lambda: ParseFailure("s", "e", ("p",), ("r",)),
    "unknown kind": lambda: ModelFailed("weird", "t"),  # type: ignore[arg-type]
    "odd fields": lambda: ModelFailed("server", object(), "x", float("nan"), b"x"),  # type: ignore[arg-type]
    "own kind": lambda: OfOnesOwn("server", "mine"),
    "odd length": lambda: TooLong("too_long", "x", length="a"),  # type: ignore[arg-type]
    "a value's": lambda: lf.errors.BadValue("x", "y", "z"),
    "unavailable": lambda: lf.errors.ModelUnavailable("m/m", "a library is missing", "Install it"),
    "a version's": lambda: lf.errors.BadRef("x"),
    "a sandbox's": lambda: lf.errors.SandboxUnavailable("it is missing"),
}
RETURNED = {
    "nothing": lambda: None,
    "a text": lambda: "text",
    "vectors": lambda: EmbedReply(((1.0,),)),
    "finish": lambda: ChatReply("x", finish=None),  # type: ignore[arg-type]
    "usage": lambda: ChatReply("x", usage={"prompt": 1}),  # type: ignore[arg-type]
    "count": lambda: ChatReply("x", usage=Usage(-1)),
    "calls": lambda: ChatReply("x", calls=["a"]),  # type: ignore[arg-type]
    "logprobs": lambda: ChatReply("x", logprobs=object()),
    "deep logprobs": lambda: ChatReply("x", logprobs=_nested()),
    "not a number": lambda: ChatReply("x", logprobs={"a": float("nan")}),
    "chunks": lambda: ChatReply("x", chunks=("a",)),  # type: ignore[arg-type]
}
TYPED = {"ModelFailed", "TooLong", "ToolFailed"}


@attrs.frozen(eq=False)
class Custom:
    """A model that does something before, within or after its exchange."""

    where: str
    act: Callable[[], Any]
    name: str = "mine/model"
    endpoint: str = "mine"

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """Act at the place."""
        del request

        async def exchange(_: Http) -> ModelReply:
            result: ModelReply = self.act() if self.where == "within" else ChatReply("fine")
            return result

        if self.where == "before":
            return self.act()  # type: ignore[no-any-return]
        reply = await send(exchange)
        return self.act() if self.where == "after" else reply

    async def aclose(self) -> None:
        """Nothing to close."""


def _raising(make: Callable[[], BaseException]) -> Callable[..., Any]:
    def act(**_: Any) -> Any:
        raise make()

    return act


async def _failures(model: Any, program: lf.Program) -> list[str]:
    """The kinds of the failures of two rows, which must replay to their roots."""
    store = lf.MemoryStore()
    async with lf.Executor(model, store) as ex:
        run = await asyncio.wait_for(ex.map(program, ROWS), 30)
    traces = [store.trace(trace.id) for trace in run.traces]
    assert [trace.root for trace in traces] == [lf.replay(t, program).root for t in traces]
    return [trace.failure.kind if trace.failure else "" for trace in traces]


@pytest.mark.parametrize("where", ["before", "within", "after"])
@pytest.mark.parametrize("name", sorted(RAISED))
async def test_what_a_model_raises_is_recorded_and_replays(name: str, where: str) -> None:
    """Each exception of a model's code, in its exchange or outside of it, is a failure on record."""
    for kind in await _failures(Custom(where, _raising(RAISED[name])), ANSWER):
        assert kind in TYPED


@pytest.mark.parametrize("where", ["before", "within", "after"])
@pytest.mark.parametrize("name", sorted(RETURNED))
async def test_what_is_no_reply_is_a_failure(name: str, where: str) -> None:
    """A value that no store can keep, or that isn't a reply, is a failure on record."""
    assert ["ModelFailed"] * 2 == await _failures(Custom(where, RETURNED[name]), ANSWER)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("name", sorted(RAISED))
async def test_what_a_tool_raises_is_recorded_and_replays(name: str, *, is_async: bool) -> None:
    """Each exception of a tool, in a thread or in the loop, is a failure on record."""
    act = _raising(RAISED[name])

    async def act_async(question: str) -> Any:
        return act(question=question)

    function = act_async if is_async else act
    tool = lf.tool("act", "question -> reply", function, version="1")
    assert ["ToolFailed"] * 2 == await _failures(lf.scripted([]), tool)


@pytest.mark.parametrize("where", ["before", "within", "after"])
async def test_a_model_that_turns_out_to_be_unavailable_fails_and_another_answers(
    where: str,
) -> None:
    """The failure has its own kind and the words with the fix, and ``fallback`` asks the next."""
    model, store = Custom(where, _raising(RAISED["unavailable"])), lf.MemoryStore()
    async with lf.Executor(model, store) as ex:
        with pytest.raises(ModelFailed, match=r"a library is missing\. Install it") as caught:
            await ex.run(ANSWER, question="?")
    assert "unavailable" == caught.value.kind
    async with lf.Executor(lf.fallback(model, lf.scripted({"": "yes"})), store) as ex:
        trace = await ex.run(ANSWER, question="?")
    assert lf.Record(reply="yes") == trace.outputs
    assert trace.root == lf.replay(store.trace(trace.id), ANSWER).root


async def test_the_end_of_a_run_is_no_failure_of_a_call() -> None:
    """An error that ends the run itself passes a model's code as it is."""
    error = lf.errors.StoreError("s.db", "it is full", "Make room.")
    async with lf.Executor(Custom("within", _raising(lambda: error))) as ex:
        with pytest.raises(lf.errors.StoreError) as caught:
            await ex.run(ANSWER, question="?")
    assert error is caught.value


async def test_a_reply_that_was_made_of_others_replays() -> None:
    """A model that returns another reply than its last gets it recorded, and the replay has it."""
    model = Custom("after", lambda: ChatReply("made of two"))
    store = lf.MemoryStore()
    async with lf.Executor(model, store) as ex:
        trace = await ex.run(ANSWER, question="?")
    replayed = lf.replay(store.trace(trace.id), ANSWER)
    assert trace.root == replayed.root
    assert lf.Record(reply="made of two") == replayed.outputs


async def test_a_model_that_never_sends_is_told_how() -> None:
    """A reply without ``send`` would be missing from the record: the failure has the line."""
    async with lf.Executor(Custom("before", lambda: ChatReply("x"))) as ex:
        with pytest.raises(ModelFailed, match=r"return await send\(exchange\)"):
            await ex.run(ANSWER, question="?")


async def test_the_end_of_a_task_is_no_failure_of_its_call() -> None:
    """A cancelled run is stopped: its call is left open, as no failure."""
    begun, store = asyncio.Event(), lf.MemoryStore()

    async def wait(question: str) -> str:
        begun.set()
        await asyncio.sleep(30)
        return question

    tool = lf.tool("wait", "question -> reply", wait, version="1")
    async with lf.Executor(lf.scripted([]), store) as ex:
        task = asyncio.create_task(ex.map(tool, ROWS[:1]))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (row,) = store.runs()
    assert [None] == [t.failure for _, t in store.run(row.id).items]


def test_the_words_of_a_failure_hold_no_traceback() -> None:
    """The exception of a model's code isn't chained to the failure, whose record has its words."""
    with pytest.raises(LmflowError) as caught:
        lf.run(ANSWER, model=lf.scripted(lambda _: 1 / 0), question="?")  # type: ignore[arg-type,return-value]
    assert isinstance(caught.value, CallError)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert not isinstance(chain, ZeroDivisionError)
        chain = chain.__cause__ or chain.__context__


@pytest.mark.parametrize("key", ["sk-canary\r\nX: y", "sk-\x00canary", "sk-canary\ud800"])
def test_a_key_that_no_header_can_have_is_refused_unseen(key: str) -> None:
    """The model isn't made, and the error says how to set the key without showing it."""
    with pytest.raises(lf.errors.ModelUnavailable, match="to the key alone") as caught:
        lf.model("openai/m", base_url="http://127.0.0.1:1/v1", api_key=key)
    assert "canary" not in str(caught.value)


async def test_a_header_that_cannot_be_sent_is_a_typed_failure() -> None:
    """A provider that was made by hand with such a key fails as its call, on record."""
    url = "http://127.0.0.1:1/v1"
    model = OpenAI("openai/m", "m", url, "e", "sk-canary\r\nX: y")
    assert ["ModelFailed"] * 2 == await _failures(model, ANSWER)


@pytest.mark.parametrize("name", [None, 7, b"x", ["a"], object()])
def test_a_step_s_name_of_another_kind_is_named(name: Any) -> None:
    """What isn't a name, nor a function, is a ``TypeError`` with the line."""
    with pytest.raises(TypeError, match=r"Write lf\.predict\("):
        lf.predict(name, "question -> answer")
    with pytest.raises(TypeError, match="a model's name"):
        lf.model(name)
    with pytest.raises(lf.errors.BadSignature):
        lf.predict("answer", f"a: {'|'.join(['int'] * 500)} -> b")


@pytest.mark.parametrize("error", [KeyError, SystemExit, GeneratorExit, asyncio.CancelledError])
async def test_what_the_class_of_an_output_raises_is_a_mistake_of_the_reply(
    error: type[BaseException],
) -> None:
    """A class that refuses its values by any exception is a ``ParseFailure`` that replays."""

    @attrs.frozen
    class Picky:
        size: int

        def __attrs_post_init__(self) -> None:
            raise error

    step = lf.predict("answer", "question -> reply: Picky", types={"Picky": Picky})
    model = lf.scripted({"": '[[ ## reply ## ]]\n{"size": 5}'})
    assert ["ParseFailure"] * 2 == await _failures(model, step)


@pytest.mark.parametrize("result", [KeyError("x"), None, 7])
async def test_what_an_adapter_of_one_s_own_raises_is_a_mistake_of_the_reply(result: Any) -> None:
    """An adapter that raises on a reply, or reads no record of it, is a ``ParseFailure``."""

    def read(signature: Any, text: str, whole: bool) -> Any:  # noqa: FBT001 - the shape of read
        del signature, text, whole
        if isinstance(result, Exception):
            raise result
        return result

    adapter = lf.Adapter("odd", own_adapter.form, answer=own_adapter.answer, read=read, version="1")
    step = lf.predict("answer", "question -> reply", adapter=adapter)
    assert ["ParseFailure"] * 2 == await _failures(lf.scripted({"": "x"}), step)
