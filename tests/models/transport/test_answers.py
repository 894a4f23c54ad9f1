"""The laws of answers: a reply that doesn't answer is a failure with its kind, its server and a
fix, and reaches a fallback.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import Reply, serving, stream

import lmflow as lf
from lmflow.errors import FailureKind, ModelFailed
from lmflow.messages.replies import ChatReply
from lmflow.models.retries import TRANSIENT
from lmflow.models.transport.answers import no_answer
from lmflow.models.wrap import ELSEWHERE

STEP = lf.predict("answer", "question -> answer")


def _choice(finish: str, content: Any = None, **message: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "choices": [{"finish_reason": finish, "message": {"content": content, **message}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }


def _message(stop: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "content": list(blocks), "stop_reason": stop, "model": "m"}


def _error(code: Any) -> dict[str, Any]:
    choice = {"error": {"code": code, "message": "Upstream lost."}, "finish_reason": "error"}
    return {"choices": [{**choice, "message": {"content": ""}}]}


PARTIAL = {"type": "text", "text": "Par"}
# (the provider, what it answers, the kind that it is)
OPENAI: list[tuple[str, dict[str, Any], FailureKind]] = [
    ("openai", _choice("stop", refusal="I can't help with that."), "refusal"),
    ("openai", _choice("stop", "Sorry.", refusal="I can't."), "refusal"),
    ("openai", _choice("content_filter", ""), "content_filter"),
    ("openai", _choice("content_filter", "Par"), "content_filter"),
    ("openai", _choice("SAFETY"), "content_filter"),
    ("openai", _choice("length"), "empty"),
    ("openai", _choice("MAX_TOKENS", " \n"), "empty"),
    ("openai", _choice("length", reasoning_content="Let me think."), "empty"),
    ("openai", _choice("length", "<think>Let me"), "empty"),
    ("openai", _choice("error", "Par"), "server"),
    ("openai", _choice("abort"), "server"),
    ("openai", _choice("insufficient_system_resource"), "server"),
    ("openai", _choice("MALFORMED_FUNCTION_CALL"), "bad_reply"),
    ("openai", _choice("tool_calls"), "bad_reply"),
    ("openai", _choice("stop", [{"type": "refusal", "refusal": "I can't."}]), "refusal"),
    ("openai", _choice("stop", "", error={"code": 502, "message": "Lost."}), "server"),
    ("openai", _choice("moderated"), "content_filter"),
    ("openai", _choice("server_error", "Par"), "server"),
    ("openai", _choice("cancelled", "Par"), "server"),
    ("openai", _choice("OTHER"), "empty"),
    ("openai", _choice("stop", reasoning_content="Let me think."), "empty"),
    ("openai", _choice("length", "<reasoning>Let me"), "empty"),
    ("openai", _choice("length", "<|channel|>analysis<|message|>Let me"), "empty"),
    ("openai", _error("INVALID_ARGUMENT"), "request"),
    ("openai", _error("PERMISSION_DENIED"), "auth"),
    ("openai", {"choices": [], "model": "m"}, "bad_reply"),
    ("openai", _error(502), "server"),
    ("openai", _error("502"), "server"),
    ("openai", _error(429), "rate_limit"),
    ("openai", _error("rate_limit_exceeded"), "rate_limit"),
    ("openai", _error(400), "request"),
    ("openai", _error("content_filter"), "content_filter"),
]
ANTHROPIC: list[tuple[str, dict[str, Any], FailureKind]] = [
    ("anthropic", _message("refusal"), "refusal"),
    ("anthropic", _message("refusal", PARTIAL), "refusal"),
    ("anthropic", _message("pause_turn", PARTIAL), "paused"),
    ("anthropic", _message("max_tokens"), "empty"),
    ("anthropic", _message("end_turn", {"type": "thinking", "thinking": "Hm"}), "empty"),
    ("anthropic", _message("max_tokens", {"type": "thinking", "thinking": "Hm"}), "empty"),
    ("anthropic", _message("model_context_window_exceeded"), "empty"),
]


async def _failure(reply: Reply, provider: str) -> ModelFailed:
    async with serving(reply) as server:
        model = lf.retrying(lf.model(f"{provider}/m", base_url=server.url).model, attempts=1)  # type: ignore[attr-defined]
        async with lf.Executor(model) as ex:
            with pytest.raises(ModelFailed) as caught:
                await ex.run(STEP, question="why?")
            assert server.place in str(caught.value)
    return caught.value


@pytest.mark.parametrize(("provider", "body", "kind"), [*OPENAI, *ANTHROPIC])
async def test_what_is_no_answer_is_a_failure(
    provider: str, body: dict[str, Any], kind: FailureKind
) -> None:
    """Its kind is its own; its words name the model, the server and a fix."""
    error = await _failure(Reply(body=json.dumps(body)), provider)
    assert (kind, True) == (error.kind, str(error).startswith(f"{provider}/m: 127.0.0.1"))
    assert str(error).endswith((".", "?"))


@pytest.mark.parametrize("kind", ["refusal", "content_filter", "empty", "paused"])
def test_another_model_may_answer(kind: FailureKind) -> None:
    """A fallback goes on after each of these kinds; none is asked again of the same model."""
    assert (True, False) == (kind in ELSEWHERE, kind in TRANSIENT)


@pytest.mark.parametrize("body", [_choice("content_filter", "Par"), _choice("length")])
async def test_a_fallback_is_asked_and_all_is_on_record(
    body: dict[str, Any], tmp_path: Path
) -> None:
    """The failure is an attempt of the first model, the reply one of the second, and both replay."""
    async with serving(Reply(body=json.dumps(body))) as server:
        first = lf.model("openai/m", base_url=server.url)
        second = lf.scripted(["Paris"], name="b/two")
        with lf.SqliteStore(tmp_path / "s.db") as store:
            async with lf.Executor(lf.fallback(first, second), store) as ex:
                trace = await ex.run(STEP, question="where?")
            assert trace.outputs is not None
            assert ("Paris", 2) == (trace.outputs.answer, len(trace.calls))
            assert trace.root == lf.replay(store.trace(trace.id), STEP).root


@pytest.mark.parametrize("finish", ["stop", "length", "tool_calls", "something_new", ""])
def test_a_text_is_an_answer(finish: str) -> None:
    """A text that may go on is an answer; whether it is whole is told by its ``finish``."""
    assert no_answer(ChatReply("Paris", finish)) is None


def test_an_empty_text_at_its_own_end_is_an_answer() -> None:
    """An agent ends by saying nothing more."""
    assert no_answer(ChatReply("", "stop")) is None


def test_a_model_with_tools_may_end_by_thinking() -> None:
    """An agent's last reply may be thinking alone; the reply to any other step may not."""
    thinking = ChatReply("", "stop", reasoning="I know enough.")
    assert no_answer(thinking, has_tools=True) is None
    assert no_answer(thinking) is not None


async def _streamed(ex: lf.Executor) -> None:
    async with ex.stream(STEP, question="why?") as parts:
        async for _ in parts:
            pass


def _delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _lost(content: str = "") -> dict[str, Any]:
    error = {"code": 502, "message": "Upstream lost."}
    return {"choices": [{"delta": {"content": content}, "error": error, "finish_reason": "error"}]}


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([_delta(refusal="I "), _delta(refusal="can't."), _delta("stop")], "refusal"),
        ([_delta(content="Par"), _delta("content_filter")], "content_filter"),
        ([_delta(reasoning_content="Hm"), _delta("length")], "empty"),
        ([_delta(role="assistant", content=""), _lost()], "server"),
        ([_delta(content="Par"), _lost()], "bad_reply"),
        ([_delta(content="Par"), _delta("error")], "bad_reply"),
        ([_delta("error")], "server"),
    ],
)
async def test_a_stream_fails_as_the_whole_does(events: list[Any], kind: FailureKind) -> None:
    """The kind is the same, but for failures that would be retried: after a part of the text they
    are a bad reply, so that nothing is told twice.
    """
    async with serving(stream(*events)) as server:
        model = lf.retrying(lf.model("openai/m", base_url=server.url).model, attempts=1)  # type: ignore[attr-defined]
        async with lf.Executor(model) as ex:
            with pytest.raises(ModelFailed) as caught:
                await _streamed(ex)
    assert (kind, True) == (caught.value.kind, server.place in str(caught.value))
