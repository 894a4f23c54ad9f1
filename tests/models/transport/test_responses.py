"""The laws of what all servers have in common: how failures are named, and what is learned of an
endpoint.
"""

import json
from typing import Any

import pytest
from fakes import Reply, ask, chat, serving
from hypothesis import given
from hypothesis import strategies as st

from lmflow.errors import ModelFailed, TooLong
from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.replies import ChatReply, failure_of
from lmflow.models.base import Response
from lmflow.models.providers.openai import OpenAI
from lmflow.models.transport.capabilities import number_calls
from lmflow.models.transport.context_lengths import PromptSize, measure
from lmflow.models.transport.json_text import scrub
from lmflow.models.transport.responses import RAW_LIMIT, Server
from lmflow.testing.models import Door
from lmflow.values.record import Record

CLOSED = Record(
    type="object", properties={"a": {"type": "integer"}}, required=["a"], additionalProperties=False
)
OTHER = Record(type="object", properties={}, required=[], additionalProperties=False)
PEER = Server("openai/m", "host", "", "OPENAI_API_KEY")


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
     "too_long", "Shorten the inputs"),
    # OpenAI: "Reasoning models", platform.openai.com/docs/guides/reasoning
    (400, {"error": {"message": "Unsupported value: 'temperature' does not support 0.3 with this model. Only the"
                     " default (1) value is supported.", "type": "invalid_request_error", "param": "temperature",
                     "code": "unsupported_value"}}, "request", "Leave `temperature` out of the step's options"),
    # Azure: "Content filtering", learn.microsoft.com/azure/ai-services/openai/concepts/content-
    # filter
    (400, {"error": {"message": "The response was filtered", "type": None, "param": "prompt", "code": "content_filter",
                     "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
     "content_filter", "content filter refused"),
    # Azure: "REST API reference", learn.microsoft.com/azure/ai-services/openai/reference
    (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist"}},
     "unknown_model", "does not exist"),
    (401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key"}}, "auth", "denied"),
    # OpenRouter: "Errors and debugging", openrouter.ai/docs/api/errors
    (402, {"error": {"code": 402, "message": "Insufficient credits"}}, "quota", "Insufficient credits"),
    (200, {"error": {"code": 502, "message": "Provider returned error", "metadata": {"provider_name": "X"}}},
     "server", "answered 502"),
    (200, {"error": {"code": 429, "message": "Slow down"}}, "rate_limit", "Slow down"),
    # vLLM: "OpenAI-compatible server",
    # docs.vllm.ai/en/latest/serving/openai_compatible_server.html; old and new form
    (400, {"object": "error", "message": "maximum context length is 2048 tokens", "type": "BadRequestError",
           "param": None, "code": 400}, "too_long", "maximum context length"),
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
     "too_long", "longer context"),
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


# (the words, more of the error, the tokens that were counted, the tokens that are allowed)
LENGTHS: list[tuple[str, dict[str, Any], int | None, int | None]] = [
    # OpenAI, Azure, and vLLM, which copies it; with the room for the reply, and newer ones
    (("This model's maximum context length is 8192 tokens. However, your messages resulted in 10010 tokens. Please"
     " reduce the length of the messages."), {"code": "context_length_exceeded"}, 10010, 8192),
    (("This model's maximum context length is 4097 tokens. However, you requested 4927 tokens (3927 in the messages,"
     " 1000 in the completion)."), {"code": "context_length_exceeded"}, 4927, 4097),
    ("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
     {"code": "context_length_exceeded"}, 300000, 272000),
    (("You passed 5000 input tokens and requested 100 output tokens. However, the model's context length is only 4096"
     " tokens"), {"code": 400}, 5000, 4096),
    ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", {}, 5000, 4096),
    ("maximum context length is 2048 tokens", {"type": "BadRequestError"}, None, 2048),
    # llama.cpp, recorded from its server (xllamacpp 2026.10); older ones say only that it is too
    # long
    ("request (931 tokens) exceeds the available context size (512 tokens), try increasing it",
     {"type": "exceed_context_size_error", "n_prompt_tokens": 931, "n_ctx": 512}, 931, 512),
    ("the request exceeds the available context size. try increasing the context size or enable context shift", {},
     None, None),
    # Anthropic
    ("prompt is too long: 210000 tokens > 200000 maximum", {"type": "invalid_request_error"}, 210000, 200000),
    (("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or"
     " `max_tokens` and try again"), {}, 210000, 200000),
    # Gemini, Mistral, text-generation-inference, LM Studio, Groq, OpenRouter
    ("The input token count (1234567) exceeds the maximum number of tokens allowed (1048575).", {}, 1234567, 1048575),
    ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", {},
     40000, 32768),
    (("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 200"
     " `max_new_tokens`"), {}, 4200, 4096),
    (("Trying to keep the first 6000 tokens when context the overflows. However, the model is loaded with context"
     " length of only 4096 tokens, which is not enough."), {}, 6000, 4096),
    ("Please reduce the length of the messages or completion.", {"code": "context_length_exceeded"}, None, None),
    (("This endpoint's maximum context length is 131072 tokens. However, you requested about 200000 tokens (199000 of"
     " text input, 1000 in the output)."), {"code": 400}, 200000, 131072),
]  # fmt: skip


@pytest.mark.parametrize(("words", "more", "length", "limit"), LENGTHS)
def test_a_prompt_that_is_too_long_is_measured(
    words: str, more: dict[str, Any], length: int | None, limit: int | None
) -> None:
    """A refusal for length is ``TooLong``, with what the server counted and allows, and the line
    that mends it.
    """
    error = _failed(400, {"error": {"message": words, **more}})
    assert isinstance(error, TooLong), error
    assert (length, limit, "too_long") == (error.length, error.limit, error.kind)
    assert "lf.cut(step, FIELD=lf.Cut(...))" in str(error)
    assert all(f"{number:,}" in str(error) for number in (length, limit) if number)


@given(st.text(), st.text() | st.integers() | st.none())
def test_any_words_are_measured_or_not(words: str, code: Any) -> None:
    """Whatever a server says, looking for a length finds one or none."""
    assert isinstance(
        measure(f"maximum context length is {words}", code, {"n_ctx": code}), PromptSize | None
    )


def test_a_recorded_refusal_is_rebuilt() -> None:
    """As data and back it is the same error, so that a flow that catches it replays."""
    error = _failed(400, {"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}})
    again = failure_of(error).error()
    assert isinstance(again, TooLong)
    assert (9, 8, str(error)) == (again.length, again.limit, str(again))


@pytest.mark.parametrize(
    "words", ["Rate limit: 30000 tokens per min, requested 40000", "max_tokens is too large: 9 > 8"]
)
def test_other_limits_are_no_length(words: str) -> None:
    """A limit of rate, or of one option, isn't the prompt's."""
    assert not isinstance(_failed(429, {"error": {"message": words}}), TooLong)


def test_the_raw_text_is_kept_up_to_a_length() -> None:
    """A failure holds what the server said, cut."""
    assert RAW_LIMIT == len(_failed(400, {"error": "x" * 100_000}).raw)


@pytest.mark.parametrize(
    ("name", "said", "seconds"), [("Retry-After", "2", 2.0), ("retry-after-ms", "250", 0.25)]
)
def test_a_wait_is_read(name: str, said: str, seconds: float) -> None:
    """The server's wish is in the failure, in seconds, by either header and whatever its case."""
    with pytest.raises(ModelFailed) as caught:
        PEER.read(Response(429, {name: said}, b"{}"), dict)
    assert seconds == caught.value.retry_after


# What refuses a schema as such, so that it is asked once: by OpenAI ("Structured outputs", see
# above), by older vLLM,
# and by llama-cpp-python, which answers 500.
REFUSING = [
    (
        400,
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
    ),
    (422, "extra_forbidden: response_format.json_schema"),
    (500, "response_format type must be one of: text, json_object"),
]
# What takes exception to one schema: by OpenAI (same page), by llama.cpp (recorded).
PICKY = [
    (400, "Invalid schema for response_format 'reply': In context=(), 'required' is required"),
    (
        400,
        "Unable to generate parser for this template. JSON schema error at #: unrecognized type wat",
    ),
]


def _refusal(status: int, words: str) -> Reply:
    return Reply(status, json.dumps({"error": {"message": words}}))


async def _asked(model: OpenAI, schema: Record) -> tuple[Door, ChatReply]:
    reply = await model(ask(schema=schema), door := Door())
    assert isinstance(reply, ChatReply)
    return door, reply


@pytest.mark.parametrize(("status", "words"), REFUSING)
async def test_a_refused_schema_is_an_attempt_and_remembered(status: int, words: str) -> None:
    """The refusal is on record, the request goes out again without its schema, and later ones at
    once; each says so.
    """
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
        st.text() | st.integers() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_is_clean_stays(value: Any) -> None:
    """Values without the key and without halves of pairs are left as they are."""
    assert value == scrub(value, "sk-canary-4f9d2c7e81b3")


def test_halves_of_pairs_are_replaced() -> None:
    """What no UTF-8 can hold becomes a question mark, in names and values."""
    assert {"a?": ["?", "😀"]} == scrub({"a\ud800": ["\udc00", "😀"]}, "")


def test_calls_are_numbered_over_the_conversation() -> None:
    """No two calls share an id, and each answer names the call of the turn before it."""
    two = (ToolCall("a", "{}", "call_0"), ToolCall("b", "{}", "call_1"))
    turns = (
        Message("assistant", "", two),
        Message("tool", "x", answers="call_1"),
        Message("assistant", "", two[:1]),
        Message("tool", "y", answers="call_0"),
    )
    done = number_calls(turns)
    assert [["call_0", "call_1"], [], ["call_2"], []] == [
        [call.id for call in turn.calls] for turn in done
    ]
    assert ["", "call_1", "", "call_2"] == [turn.answers for turn in done]
