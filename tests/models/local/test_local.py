"""The laws of local models, on the smallest real one: schemas, streams, logprobs and seeds as
llama.cpp serves them.
"""

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator

import pytest
from fakes import ask

import lmflow as lf
from lmflow.errors import ModelFailed, TooLong
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import EmbedRequest
from lmflow.models.local.local import Local, local
from lmflow.models.local.weights import installed_weights
from lmflow.testing.models import Door
from lmflow.values.record import Record

NAME = "smollm2-135m"
pytestmark = pytest.mark.skipif(
    NAME not in {found.name for found in installed_weights()}
    or importlib.util.find_spec("xllamacpp") is None,
    reason=f'pip install "lmflow-dsl[local]" && lmflow models pull {NAME}',
)
SCHEMA = Record(
    type="object",
    properties={"answer": {"type": "integer"}},
    required=["answer"],
    additionalProperties=False,
)
SHORT = Record(max_tokens=12, temperature=0)


@pytest.fixture
async def model() -> AsyncIterator[Local]:
    """The model, whose server ends with the test."""
    made = local(NAME, slots=1, context=512)
    yield made
    await made.aclose()


async def test_a_schema_is_kept(model: Local) -> None:
    """Even the smallest model answers in the form of the schema, and says that it was sent."""
    request = ask("What is two and two?", schema=SCHEMA, options=SHORT | {"max_tokens": 40})
    reply = await model(request, Door())
    assert isinstance(reply, ChatReply)
    assert isinstance(json.loads(reply.text)["answer"], int)
    assert (True, True) == (reply.structured, model.structured)


async def test_a_stream_is_the_whole_reply(model: Local) -> None:
    """Told piece by piece or whole, the greedy reply is the same, with its tokens."""
    told: list[str] = []
    streamed = await model(ask("Say hello.", options=SHORT), Door(told.append))
    whole = await model(ask("Say hello.", options=SHORT), Door())
    assert isinstance(streamed, ChatReply)
    assert isinstance(whole, ChatReply)
    assert (whole.content, whole.usage.completion) == (streamed.content, streamed.usage.completion)
    assert len(told) == len(streamed.chunks) > 1


async def test_a_schema_that_it_cannot_read_is_left_out(model: Local) -> None:
    """llama.cpp refuses a schema that is none: an attempt of its own, then the request without it."""
    reply = await model(ask(schema=Record(type="wat"), options=SHORT), door := Door())
    assert [ModelFailed, ChatReply] == [type(outcome) for _, _, outcome in door.attempts]
    assert (False, None) == (reply.structured, model.structured)  # type: ignore[union-attr]


async def test_too_long_a_prompt_says_what_mends_it(model: Local) -> None:
    """More tokens than fit are counted and named, in llama.cpp's words and with the fix."""
    with pytest.raises(TooLong, match="exceeds the available context size") as caught:
        await model(ask("word " * 900), Door())
    assert ("too_long", True) == (caught.value.kind, "longer context" in str(caught.value))
    assert (True, 512) == ((caught.value.length or 0) > 512, caught.value.limit)


async def test_chat_weights_give_no_vectors(model: Local) -> None:
    """A model for chat refuses to embed, once."""
    door = Door()
    with pytest.raises(ModelFailed, match="--embeddings") as caught:
        await model(EmbedRequest(("x",)), door)
    assert ("request", 1) == (caught.value.kind, len(door.attempts))


async def test_it_costs_nothing(model: Local) -> None:
    """Its usage is counted, its cost is 0."""
    reply = await model(ask("Hi", options=SHORT), Door())
    assert 0 == lf.cost_of(model.name, reply.usage, 0)
    assert reply.usage.prompt


def test_one_model_serves_several_loops() -> None:
    """A model is asked again after its server ended."""
    made = local(NAME, slots=1, context=256)

    async def once() -> str:
        try:
            return str((await made(ask("Hi", options=SHORT), Door())).text)  # type: ignore[union-attr]
        finally:
            await made.aclose()

    assert asyncio.run(once()) == asyncio.run(once())
