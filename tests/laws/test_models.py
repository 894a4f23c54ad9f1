"""The laws of models, over every kind of them: servers' shapes, wrappers, and the scripted one."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import Reply, Server, ask, serving
from pictures_and_sounds import PNG

import lmflow as lf
from lmflow.errors import ModelFailed
from lmflow.messages.requests import ChatRequest
from lmflow.models.base import Model, leaves
from lmflow.models.providers.anthropic import Anthropic
from lmflow.models.providers.litellm import litellm
from lmflow.models.providers.openai import OpenAI
from lmflow.testing import MODEL_LAWS, Law
from lmflow.testing.models import Door

KEY = "sk-canary-4f9d2c7e81b3"

# One body that both shapes read: the text, or the refusal, that each is to see.
SAYING = "fine"


def _body(text: str) -> dict[str, Any]:
    return {
        "model": "m-1",
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
    }


def _reply(text: str = SAYING) -> Reply:
    return Reply(body=json.dumps(_body(text)))


def _refusing(words: str) -> Reply:
    return Reply(
        400,
        json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": words}}),
    )


def _openai(server: Server) -> Model:
    return OpenAI("openai/m", "m", server.url, "127.0.0.1", KEY, 5.0)


def _azure(server: Server) -> Model:
    return OpenAI(
        "azure/d", "d", f"{server.url}/openai/deployments/d", "127.0.0.1", KEY, 5.0, "2024-10-21"
    )


def _anthropic(server: Server) -> Model:
    return Anthropic("anthropic/c", "c", server.url, "127.0.0.1", KEY, 5.0)


def _litellm(server: Server) -> Model:
    """Its package stands in for itself: what it answers is what the server would."""

    async def acompletion(**_: Any) -> Any:
        reply = server.replies[min(len(server.seen), len(server.replies) - 1)]
        await asyncio.sleep(reply.delay)
        if reply.status != 200:
            raise _Refusal(reply.body)
        return SimpleNamespace(model_dump=lambda: json.loads(reply.body))

    return litellm(
        "some/m",
        api_key=KEY,
        module=SimpleNamespace(acompletion=acompletion, aembedding=acompletion),
    )


class _Refusal(Exception):
    status_code = 400


def _scripted(server: Server) -> Model:
    reply = server.replies[0]
    failure = ModelFailed("request", str(reply.body))
    return lf.scripted(
        lambda _: failure if reply.status != 200 else json.loads(reply.body)["content"][0]["text"]
    )


def _function(server: Server) -> Model:
    reply = server.replies[0]

    async def answer(_: ChatRequest) -> str:
        if reply.status != 200:
            raise ModelFailed("request", str(reply.body))
        text: str = json.loads(reply.body)["content"][0]["text"]
        return text

    return lf.function_model("mine/function", answer)


SERVED: dict[str, Callable[[Server], Model]] = {
    "openai": _openai,
    "azure": _azure,
    "anthropic": _anthropic,
    "litellm": _litellm,
}
WRAPPED: dict[str, Callable[[Server], Model]] = {
    "retrying": lambda server: lf.retrying(_openai(server), attempts=2, longest=0),
    "limited": lambda server: lf.limited(_openai(server), requests=1000, concurrency=2),
    "fallback": lambda server: lf.fallback(_openai(server), _anthropic(server)),
    "routed": lambda server: lf.routed({"a": _anthropic(server), "b": _openai(server)}),
    "cached": lambda server: lf.cached(_openai(server), lf.MemoryStore()),
    "nested": lambda server: lf.cached(
        lf.limited(lf.fallback(lf.retrying(_openai(server)))), lf.MemoryStore()
    ),
}
ALL = {**SERVED, **WRAPPED, "scripted": _scripted, "function": _function}
HTTP = {name: made for name, made in ALL.items() if name not in {"scripted", "litellm", "function"}}

every = pytest.mark.parametrize("kind", ALL)
over_http = pytest.mark.parametrize("kind", HTTP)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server that says the same for ever."""
    async with serving(_reply()) as found:
        yield found


@pytest.mark.parametrize("law", MODEL_LAWS, ids=str)
@every
async def test_a_model_keeps_the_laws(kind: str, law: Law, server: Server) -> None:
    """The suite for models of one's own holds of lmflow's."""
    await law(ALL[kind](server))


@over_http
async def test_every_request_passes_the_door(kind: str, server: Server) -> None:
    """As many requests reach the server as attempts pass the door."""
    await HTTP[kind](server)(ask(), door := Door())
    assert len(door.attempts) == len(server.seen)


@pytest.mark.parametrize("kind", [*SERVED, *WRAPPED])
@pytest.mark.parametrize("reply", [_refusing(f"bad key {KEY}"), _reply(f"it is {KEY}")])
async def test_the_key_is_nowhere(kind: str, reply: Reply) -> None:
    """It is in no reply, failure or repr, also where the server says it back."""
    said: list[object] = []
    async with serving(reply) as server:
        model, door = ALL[kind](server), Door()
        try:
            said += [model, await model(ask(), door)]
        except ModelFailed as failure:
            said += [model, failure, failure.raw, failure.__cause__, failure.__context__]
        said.append(door.attempts)
    shown = [text for item in said for text in (str(item), repr(item))]
    assert [] == [text for text in shown if KEY in text]


@pytest.mark.parametrize("kind", [*SERVED, *WRAPPED])
async def test_cancellation_passes_through(kind: str) -> None:
    """A call that is cancelled ends as cancelled, and the model can be asked again."""
    async with serving(Reply(body=json.dumps(_body(SAYING)), delay=30), _reply()) as server:
        model = ALL[kind](server)
        call = asyncio.ensure_future(model(ask(), Door()))
        await _begun(kind, server, call)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def _begun(kind: str, server: Server, call: asyncio.Future[Any]) -> None:
    """Wait until the request has arrived; litellm's stand-in has none to arrive."""
    if kind != "litellm":
        await server.arrived.wait()
    await asyncio.sleep(0)
    assert not call.done()


@every
async def test_a_failure_is_a_model_failed(kind: str) -> None:
    """A refusal by the server is a failure of the closed set, recorded as an attempt, and names its
    kind.
    """
    async with serving(_refusing("no such thing")) as server:
        door = Door()
        with pytest.raises(ModelFailed, match="no such thing") as caught:
            await ALL[kind](server)(ask(), door)
    assert ("request", "request") == (caught.value.kind, door.attempts[-1][2].kind)  # type: ignore[union-attr]


@every
async def test_a_picture_is_a_request_like_any_other(kind: str, server: Server) -> None:
    """It is answered, recorded by its digest, and replays to its root; whoever sends it sends it
    whole.
    """
    see = lf.predict("see", "picture: Image, question -> answer", "Look.")
    async with lf.Executor(ALL[kind](server)) as ex:
        trace = await ex.run(see, picture=lf.Image(PNG), question="?")
    code = lf.Image(PNG).data_url.partition(",")[2]
    assert ({"answer": SAYING}, trace.root) == (dict(trace.outputs or {}), lf.replay(trace).root)
    assert code not in str(trace.calls[0].request)
    assert all(code in json.dumps(seen.body) for seen in server.seen)


@over_http
async def test_a_refused_picture_is_a_failure_of_its_own_kind(kind: str) -> None:
    """In the server's words, and not asked again of the one that refused it."""
    see = lf.predict("see", "picture: Image, question -> answer", "Look.")
    async with (
        serving(_refusing("image input is not supported")) as server,
        lf.Executor(ALL[kind](server)) as ex,
    ):
        with pytest.raises(ModelFailed, match="image input is not supported") as caught:
            await ex.run(see, picture=lf.Image(PNG), question="?")
    assert "media" == caught.value.kind
    assert len(server.seen) <= len(leaves(ALL[kind](server)))
