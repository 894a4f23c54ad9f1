"""The laws of models made of async functions."""

from __future__ import annotations

from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest

STEP = lf.predict("step", "question -> answer", "Say it.")


async def test_a_text_or_a_reply_is_the_answer() -> None:
    """A reply brings what else is known, such as tokens."""

    async def text(request: ChatRequest) -> str:
        return request.messages[-1].content.upper()

    async def reply(_: ChatRequest) -> ChatReply:
        return ChatReply("yes", usage=Usage(1, 2))

    async with lf.Executor(lf.function_model("mine/text", text)) as ex:
        assert "[[QUESTION]]\nWHY?" == (await ex.run(STEP, question="why?")).outputs.answer  # type: ignore[union-attr]
    async with lf.Executor(lf.function_model("mine/reply", reply, endpoint="there")) as ex:
        trace = await ex.run(STEP, question="why?")
        assert 3 == ex.spent.tokens
    assert ("mine/reply", "there") == (
        trace.calls[0].request.model, trace.calls[0].request.endpoint,  # type: ignore[union-attr]
    )  # fmt: skip


async def test_an_error_is_a_recorded_failure() -> None:
    """Whatever the function raises ends the call as ``request``, in its words."""

    async def failing(_: ChatRequest) -> str:
        raise KeyError("no such thing")

    async with lf.Executor(lf.function_model("mine/failing", failing)) as ex:
        with pytest.raises(ModelFailed, match="KeyError: 'no such thing'") as caught:
            await ex.run(STEP, question="?")
    assert "request" == caught.value.kind


async def test_a_failure_says_whether_it_passes() -> None:
    """A ``ModelFailed`` of the function keeps its kind, so that it is tried again."""
    attempts: list[Any] = []

    async def busy(request: ChatRequest) -> str:
        attempts.append(request)
        if len(attempts) == 1:
            raise ModelFailed("server", "busy")
        return "yes"

    model = lf.retrying(lf.function_model("mine/busy", busy), attempts=2, longest=0)
    async with lf.Executor(model) as ex:
        assert "yes" == (await ex.run(STEP, question="?")).outputs.answer  # type: ignore[union-attr]


def test_a_function_that_is_not_async_is_refused() -> None:
    """With the line to write."""

    def plain(_: Any) -> str:
        return ""

    with pytest.raises(TypeError, match=r"write `async def plain\(request\)`"):
        lf.function_model("mine/plain", plain)  # type: ignore[arg-type]
