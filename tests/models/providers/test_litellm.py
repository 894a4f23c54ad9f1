"""The laws of the adapter to litellm, with a stand-in for the package: it has no retries or cache
of its own here.
"""

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from fakes import ask

from lmflow.errors import ModelFailed, ModelUnavailable
from lmflow.messages.replies import ChatReply, EmbedReply, Usage
from lmflow.messages.requests import EmbedRequest
from lmflow.models.providers.litellm import LiteLLM, litellm
from lmflow.testing.models import Door
from lmflow.values.record import Record

KEY = "canary-4f9d2c7e81b3"


@attrs.define
class Package:
    """What is used of litellm ("Input params", docs.litellm.ai/docs/completion/input), in OpenAI's
    shapes.
    """

    answer: Any
    seen: list[dict[str, Any]] = attrs.field(factory=list)

    async def acompletion(self, **asked: Any) -> Any:
        """The answer, or the error."""
        self.seen.append(asked)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return SimpleNamespace(model_dump=lambda: self.answer)

    aembedding = acompletion


class RateLimitError(Exception):
    """As litellm raises it ("Exception mapping", docs.litellm.ai/docs/exception_mapping)."""

    status_code = 429
    response = SimpleNamespace(headers={"retry-after": "2"})


class APIConnectionError(Exception):
    """As litellm raises it; it claims a status that no server gave."""

    status_code = 500


class Timeout(Exception):
    """As litellm raises it."""

    status_code = 408


def _said(text: str) -> dict[str, Any]:
    return {
        "model": "gemini-2.5-flash",
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }


def _model(answer: Any) -> tuple[LiteLLM, Package]:
    package = Package(answer)
    return litellm("gemini/gemini-2.5-flash", api_key=KEY, module=package), package


async def _failure(error: Exception) -> ModelFailed:
    with pytest.raises(ModelFailed) as caught:
        await _model(error)[0](ask(), Door())
    return caught.value


def test_its_names_are_litellm_s() -> None:
    """The name says that litellm is asked, the endpoint class which provider."""
    model, _ = _model(None)
    assert ("litellm/gemini/gemini-2.5-flash", "gemini") == (model.name, model.endpoint)


async def test_an_attempt_is_one_request_without_retries_or_cache() -> None:
    """Retries and caching of its own are off; messages and options are given as they are."""
    model, package = _model(_said("fine"))
    reply = await model(ask("why?", options=Record(temperature=0.5)), door := Door())
    assert ChatReply("fine", "stop", "gemini-2.5-flash", Usage(7, 3)) == reply
    assert [
        {
            "model": "gemini/gemini-2.5-flash",
            "messages": [{"role": "user", "content": "why?"}],
            "temperature": 0.5,
            "api_key": KEY,
            "timeout": 120.0,
            "num_retries": 0,
            "max_retries": 0,
            "caching": False,
            "cache": {"no-cache": True, "no-store": True},
        }
    ] == package.seen
    assert 1 == len(door.attempts)


async def test_texts_are_embedded() -> None:
    """Vectors come through litellm as well."""
    model, package = _model(
        {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 2}}
    )
    assert EmbedReply(((1.0,),), "", Usage(2, 0)) == await model(EmbedRequest(("x",)), Door())
    assert ["x"] == package.seen[0]["input"]


async def test_a_listener_is_told_the_whole_text() -> None:
    """It doesn't stream: the text is one piece."""
    told: list[str] = []
    reply = await _model(_said("fine"))[0](ask(), Door(told.append))
    assert (["fine"], (4,)) == (told, reply.chunks)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RateLimitError("slow"), "rate_limit"),
        (APIConnectionError("no route"), "unreachable"),
        (Timeout("late"), "timeout"),
        (KeyError("what"), "server"),
    ],
)
async def test_errors_have_their_kind(error: Exception, kind: str) -> None:
    """What litellm raises is a failure of the common kinds."""
    assert kind == (await _failure(error)).kind


async def test_a_wait_is_heeded() -> None:
    """The provider's Retry-After comes through."""
    assert 2.0 == (await _failure(RateLimitError("slow"))).retry_after


async def test_a_key_is_masked() -> None:
    """The key is in no failure and no reply."""
    assert KEY not in repr(await _failure(RateLimitError(f"bad key {KEY}")))
    model, _ = _model(_said(f"it is {KEY}"))
    assert ("it is ***", False) == ((await model(ask(), Door())).text, KEY in repr(model))  # type: ignore[union-attr]


async def test_what_is_no_completion_is_a_bad_reply() -> None:
    """An answer without choices is a bad reply, with its text."""
    with pytest.raises(ModelFailed) as caught:
        await _model({"choices": []})[0](ask(), Door())
    assert ("bad_reply", True) == (caught.value.kind, "choices" in caught.value.raw)


async def test_cancellation_passes() -> None:
    """A cancelled call is cancelled, not failed."""
    with pytest.raises(asyncio.CancelledError):
        await _model(asyncio.CancelledError())[0](ask(), Door())


def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing, the words name the extra."""
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(ModelUnavailable, match=r'pip install "lmflow-dsl\[litellm\]"'):
        litellm("gemini/x")
