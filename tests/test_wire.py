"""The laws of what all servers have in common: how failures are named, and what is learned of an endpoint."""

import json
from typing import Any

import pytest
from fakes import Door, Reply, ask, chat, serving
from hypothesis import given
from hypothesis import strategies as st

from lmflow.errors import ModelFailed
from lmflow.messages import ChatReply, Message, ToolCall
from lmflow.models.base import Response
from lmflow.models.openai import OpenAI
from lmflow.models.wire import KEPT, Peer, clean, numbered
from lmflow.values import Record

CLOSED = Record(type="object", properties={"a": {"type": "integer"}}, required=["a"], additionalProperties=False)
OTHER = Record(type="object", properties={}, required=[], additionalProperties=False)
PEER = Peer("openai/m", "host", "", "OPENAI_API_KEY")


def _failed(status: int, body: Any, **headers: str) -> ModelFailed:
    with pytest.raises(ModelFailed) as caught:
        PEER.read(Response(status, headers, json.dumps(body).encode()), dict)
    return caught.value


# (what the server answers, the kind that it is, words that must be in the failure)
ERRORS = [
    # OpenAI: "Error codes", platform.openai.com/docs/guides/error-codes
    (401, {"error": {"message": "Incorrect API key", "type": "invalid_request_error", "code": "invalid_api_key"}},
     "auth", "Check the key: OPENAI_API_KEY"),
    (429, {"error": {"message": "You exceeded your quota", "type": "insufficient_quota", "code": "insufficient_quota"}},
     "quota", "no credit left"),
    (429, {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}},
     "rate_limit", "Rate limit reached"),
    (404, {"error": {"message": "The model `x` does not exist", "type": "invalid_request_error",
                     "param": None, "code": "model_not_found"}}, "unknown_model", "Check the model's name"),
    (400, {"error": {"message": "Too long", "type": "invalid_request_error", "code": "context_length_exceeded"}},
     "request", "Shorten the inputs"),
    # OpenAI: "Reasoning models", platform.openai.com/docs/guides/reasoning
    (400, {"error": {"message": "Unsupported value: 'temperature' does not support 0.3 with this model. Only the"
                     " default (1) value is supported.", "type": "invalid_request_error", "param": "temperature",
                     "code": "unsupported_value"}}, "request", "Leave `temperature` out of the step's options"),
    # Azure: "Content filtering", learn.microsoft.com/azure/ai-services/openai/concepts/content-filter
    (400, {"error": {"message": "The response was filtered", "type": None, "param": "prompt", "code": "content_filter",
                     "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
     "request", "content filter refused"),
    # Azure: "REST API reference", learn.microsoft.com/azure/ai-services/openai/reference
    (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist"}},
     "unknown_model", "does not exist"),
    (401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key"}}, "auth", "denied"),
    # OpenRouter: "Errors and debugging", openrouter.ai/docs/api/errors
    (402, {"error": {"code": 402, "message": "Insufficient credits"}}, "quota", "Insufficient credits"),
    (200, {"error": {"code": 502, "message": "Provider returned error", "metadata": {"provider_name": "X"}}},
     "server", "answered 502"),
    (200, {"error": {"code": 429, "message": "Slow down"}}, "rate_limit", "Slow down"),
    # vLLM: "OpenAI-compatible server", docs.vllm.ai/en/latest/serving/openai_compatible_server.html; old and new form
    (400, {"object": "error", "message": "maximum context length is 2048 tokens", "type": "BadRequestError",
           "param": None, "code": 400}, "request", "maximum context length"),
    (404, {"error": {"message": "The model `x` does not exist.", "type": "NotFoundError", "param": "model",
                     "code": 404}}, "unknown_model", "does not exist"),
    # FastAPI's own validation, as vLLM and llama-cpp-python let it through
    (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, "request", "field required"),
    # Ollama: "OpenAI compatibility" and "API", github.com/ollama/ollama/blob/main/docs/api.md
    (404, {"error": "model 'x' not found"}, "unknown_model", "model 'x' not found"),
    (404, {"error": {"message": 'model "x" not found, try pulling it first', "type": "api_error", "param": None,
                     "code": None}}, "unknown_model", "try pulling it"),
    # llama.cpp, recorded from its server (xllamacpp 2026.10)
    (400, {"error": {"code": 400, "message": "request (931 tokens) exceeds the available context size (512 tokens), try"
                     " increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 931, "n_ctx": 512}},
     "request", "longer context"),
    (401, {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}}, "auth", "Invalid"),
    (501, {"error": {"code": 501, "message": "This server does not support embeddings. Start it with `--embeddings`",
                     "type": "not_supported_error"}}, "request", "--embeddings"),
    (503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, "server", "Loading"),
    # Anthropic: "Errors", platform.claude.com/docs/en/api/errors
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"},
     "server", "Overloaded"),
    (413, {"type": "error", "error": {"type": "request_too_large", "message": "Too big"}}, "request", "Too big"),
    (402, {"type": "error", "error": {"type": "billing_error", "message": "Pay"}}, "quota", "Pay"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind", "words"), ERRORS)
def test_the_common_servers_errors_are_told(status: int, body: Any, kind: str, words: str) -> None:
    """Each form of error gives its kind, the server's own words, and what mends it."""
    error = _failed(status, body)
    assert (kind, True) == (error.kind, words in str(error)), str(error)


def test_the_raw_text_is_kept_up_to_a_length() -> None:
    """A failure holds what the server said, cut."""
    assert KEPT == len(_failed(400, {"error": "x" * 100_000}).raw)


@pytest.mark.parametrize(("name", "said", "seconds"), [("Retry-After", "2", 2.0), ("retry-after-ms", "250", 0.25)])
def test_a_wait_is_read(name: str, said: str, seconds: float) -> None:
    """The server's wish is in the failure, in seconds, by either header and whatever its case."""
    with pytest.raises(ModelFailed) as caught:
        PEER.read(Response(429, {name: said}, b"{}"), dict)
    assert seconds == caught.value.retry_after


# What refuses a schema as such, so that it is asked once: by OpenAI ("Structured outputs", see above), by older vLLM,
# and by llama-cpp-python, which answers 500.
REFUSING = [
    (400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."),
    (422, "extra_forbidden: response_format.json_schema"),
    (500, "response_format type must be one of: text, json_object"),
]
# What takes exception to one schema: by OpenAI (same page), by llama.cpp (recorded).
PICKY = [
    (400, "Invalid schema for response_format 'reply': In context=(), 'required' is required"),
    (400, "Unable to generate parser for this template. JSON schema error at #: unrecognized type wat"),
]


def _refusal(status: int, words: str) -> Reply:
    return Reply(status, json.dumps({"error": {"message": words}}))


async def _asked(model: OpenAI, schema: Record) -> tuple[Door, ChatReply]:
    reply = await model(ask(schema=schema), door := Door())
    assert isinstance(reply, ChatReply)
    return door, reply


@pytest.mark.parametrize(("status", "words"), REFUSING)
async def test_a_refused_schema_is_an_attempt_and_remembered(status: int, words: str) -> None:
    """The refusal is on record, the request goes out again without its schema, and later ones at once; each says so."""
    async with serving(_refusal(status, words), chat("{}")) as server:
        model = OpenAI("openai/m", "m", server.url, "h")
        before = model.structured
        door, first = await _asked(model, CLOSED)
        later, second = await _asked(model, OTHER)
    assert [ModelFailed, ChatReply] == [type(outcome) for _, _, outcome in door.attempts]
    assert [True, False, False] == ["response_format" in seen.body for seen in server.seen]
    assert (1, False, False) == (len(later.attempts), first.structured, second.structured)
    assert (None, False) == (before, model.structured)


@pytest.mark.parametrize(("status", "words"), PICKY)
async def test_one_refused_schema_is_not_all(status: int, words: str) -> None:
    """Where only this schema is refused, others are still sent, and this one never again."""
    async with serving(_refusal(status, words), chat("{}")) as server:
        model = OpenAI("openai/m", "m", server.url, "h")
        for schema in (CLOSED, OTHER, CLOSED):
            await _asked(model, schema)
    assert [True, False, True, False] == ["response_format" in seen.body for seen in server.seen]
    assert True is model.structured


async def test_a_schema_that_is_taken_is_said() -> None:
    """The reply says that its schema was sent; one without a schema says nothing."""
    async with serving(chat("{}")) as server:
        model = OpenAI("openai/m", "m", server.url, "h")
        _, reply = await _asked(model, CLOSED)
        other = await model(ask(), Door())
    assert (True, True, None) == (reply.structured, model.structured, other.structured)  # type: ignore[union-attr]


async def test_another_refusal_is_no_refusal_of_the_schema() -> None:
    """A failure that names no schema is raised, and nothing is learned from it."""
    async with serving(_refusal(400, "messages: too long")) as server:
        model = OpenAI("openai/m", "m", server.url, "h")
        with pytest.raises(ModelFailed):
            await _asked(model, CLOSED)
    assert (1, None) == (len(server.seen), model.structured)


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_what_is_clean_stays(value: Any) -> None:
    """Values without the key and without halves of pairs are left as they are."""
    assert value == clean(value, "sk-canary-4f9d2c7e81b3")


def test_halves_of_pairs_are_replaced() -> None:
    """What no UTF-8 can hold becomes a question mark, in names and values."""
    assert {"a?": ["?", "😀"]} == clean({"a\ud800": ["\udc00", "😀"]}, "")


def test_calls_are_numbered_over_the_conversation() -> None:
    """No two calls share an id, and each answer names the call of the turn before it."""
    two = (ToolCall("a", "{}", "call_0"), ToolCall("b", "{}", "call_1"))
    turns = (
        Message("assistant", "", two),
        Message("tool", "x", answers="call_1"),
        Message("assistant", "", two[:1]),
        Message("tool", "y", answers="call_0"),
    )
    done = numbered(turns)
    assert [["call_0", "call_1"], [], ["call_2"], []] == [[call.id for call in turn.calls] for turn in done]
    assert ["", "call_1", "", "call_2"] == [turn.answers for turn in done]
