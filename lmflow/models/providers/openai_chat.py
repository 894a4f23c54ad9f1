"""OpenAI's wire format: a request as the body of a chat completion, and completions as replies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from lmflow.errors import ModelFailed, NoContent
from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.replies import ChatReply, EmbedReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.models.providers.openai_content import content_of
from lmflow.models.providers.turn_state import state_of, state_part
from lmflow.models.transport.answers import NoChoices, ReportedError
from lmflow.models.transport.capabilities import number_calls
from lmflow.models.transport.finish import finish_reason
from lmflow.models.transport.json_text import is_cut_json, token_count
from lmflow.signatures.json_schema import is_strict

# Fields that providers want back in the assistant's turn: DeepSeek, Kimi and others; OpenRouter;
# litellm (for Anthropic); Gemini; litellm (for Gemini).
MESSAGE_STATE = (
    "reasoning_content",
    "reasoning_details",
    "thinking_blocks",
    "extra_content",
    "provider_specific_fields",
)
CALL_STATE = ("extra_content", "provider_specific_fields")


@attrs.frozen
class Dialect:
    """The conventions of a family of models: the option that bounds the reply's length, and the
    role of instructions.
    """

    length_option: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    instruction_role: Literal["system", "developer", "user"] = "system"


PLAIN = Dialect()
REASONING = Dialect("max_completion_tokens", "developer")
DIALECTS: tuple[tuple[str, Dialect], ...] = (
    ("o1-mini", Dialect("max_completion_tokens", "user")),
    ("o1-preview", Dialect("max_completion_tokens", "user")),
    ("o1", REASONING),
    ("o3", REASONING),
    ("o4", REASONING),
    ("gpt-5", REASONING),
)
"""Dialects by the beginnings of OpenAI's model names, the first that fits; all other models are
``PLAIN``.

Reasoning models refuse ``max_tokens`` and ``system`` ("Reasoning models",
platform.openai.com/docs/guides/reasoning).
"""


def dialect_of(wire: str) -> Dialect:
    """The dialect of a model by ``DIALECTS``."""
    name = wire.rpartition("/")[2]
    return next(
        (dialect for prefix, dialect in DIALECTS if re.match(rf"{prefix}(?![a-z0-9])", name)), PLAIN
    )


def chat_body(  # noqa: PLR0913 - two names, a request, and three choices
    name: str, wire: str, request: ChatRequest, dialect: Dialect, *, schema: bool, origin: str = ""
) -> dict[str, Any]:
    """The body of a chat completion, with the provider state that ``origin`` gave.

    ``ModelFailed`` (request) if the options ask for several choices, (media) if attached content
    isn't available.
    """
    options = dict(request.options)
    if options.get("n", 1) != 1:
        fix = "One request is one reply: samples are rows of their own, ex.map(..., samples=n)."
        raise ModelFailed("request", f"{name}: the option n is {options['n']!r}. {fix}")
    if "max_tokens" in options:
        options[dialect.length_option] = options.pop("max_tokens")
    # Samples of one request differ by their seed, else a server with a fixed seed repeats itself.
    if isinstance(options.get("seed"), int):
        options["seed"] += request.sample
    try:
        turns = [_turn(turn, dialect, origin) for turn in number_calls(request.messages)]
    except NoContent as problem:
        raise ModelFailed("media", f"{name}: {problem}") from None
    body = {**options, "model": wire, "messages": turns}
    if request.tools:
        body["tools"] = [{"type": "function", "function": tool} for tool in request.tools]
    if schema and request.schema is not None:
        format_ = {"name": "reply", "schema": request.schema, "strict": is_strict(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": format_}
    return body


def chat_reply(data: Mapping[str, Any], origin: str = "") -> ChatReply:
    """The first choice of a completion, with provider state marked as ``origin``'s.

    Raises ``LookupError``, ``TypeError`` or ``ValueError`` if the data isn't a completion,
    ``ReportedError`` if the choice is an error, ``NoChoices`` if there is none.
    """
    if not data["choices"]:
        raise NoChoices
    choice = data["choices"][0]
    message = choice.get("message") or {}
    error = choice.get("error") or message.get("error")
    error = error or (choice.get("finish_reason") == "error" and data.get("error"))
    if error:
        raise ReportedError(error)
    message = choice["message"]
    calls = _tool_calls(message, origin)
    finish = finish_reason(choice.get("finish_reason"))
    return ChatReply(
        text=content_text(message.get("content")),
        finish="length" if any(is_cut_json(call.arguments) for call in calls) else finish,
        model=str(data.get("model") or ""),
        usage=usage_of(data.get("usage") or {}),
        reasoning=content_text(message.get("reasoning_content") or message.get("reasoning")),
        calls=calls,
        refusal=str(message.get("refusal") or "") or refusal_text(message.get("content")),
        logprobs=choice.get("logprobs"),
    )


def embed_reply(texts: int, data: Mapping[str, Any]) -> EmbedReply:
    """The vectors in the order of their texts. ``ValueError`` if the number of vectors differs from
    ``texts``, or the vectors' lengths differ.
    """
    rows = sorted(data["data"], key=lambda row: int(row["index"]))
    vectors = tuple(tuple(float(number) for number in row["embedding"]) for row in rows)
    lengths = sorted({len(vector) for vector in vectors})
    if len(vectors) != texts or len(lengths) > 1:
        msg = f"{texts} texts gave {len(vectors)} vectors of {lengths} numbers"
        raise ValueError(msg)
    usage = attrs.evolve(usage_of(data.get("usage") or {}), completion=0)
    return EmbedReply(vectors, str(data.get("model") or ""), usage)


def usage_of(data: Mapping[str, Any]) -> Usage:
    """The tokens as the provider counts them."""
    prompt_details = data.get("prompt_tokens_details") or {}
    completion_details = data.get("completion_tokens_details") or {}
    return Usage(
        prompt=token_count(data.get("prompt_tokens")),
        completion=token_count(data.get("completion_tokens")),
        cached=token_count(prompt_details.get("cached_tokens")),
        written=token_count(prompt_details.get("cache_write_tokens")),
        reasoning=token_count(completion_details.get("reasoning_tokens")),
    )


def _turn(message: Message, dialect: Dialect, origin: str) -> dict[str, Any]:
    turn: dict[str, Any] = {
        "role": dialect.instruction_role if message.role == "system" else message.role,
        "content": content_of(message),
    }
    if message.answers:
        turn["tool_call_id"] = message.answers
    if message.calls:
        turn["content"] = content_of(message) or None
        turn["tool_calls"] = [_wire_call(call, origin) for call in message.calls]
        turn |= state_part(message.calls[0], origin, "message")
    return turn


def _wire_call(call: ToolCall, origin: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    state = state_part(call, origin, "call")
    return {"id": call.id, "type": "function", "function": function, **state}


def _tool_calls(message: Mapping[str, Any], origin: str) -> tuple[ToolCall, ...]:
    """The calls of a message; the first one holds the message's provider state."""
    wire_calls = message.get("tool_calls") or ()
    if not wire_calls and message.get("function_call"):  # the form before tools
        wire_calls = [{"function": message["function_call"]}]
    message_state = _present(message, MESSAGE_STATE)
    calls = []
    for n, wire_call in enumerate(wire_calls):
        function = wire_call["function"]
        arguments = arguments_text(function.get("arguments") or "")
        state = state_of(origin, message=message_state, call=_present(wire_call, CALL_STATE))
        calls.append(ToolCall(str(function["name"]), arguments, f"call_{n}", state))
        message_state = {}
    return tuple(calls)


def _present(fields: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: fields[name] for name in names if fields.get(name)}


def arguments_text(arguments: Any) -> str:
    """The arguments as a text; some servers send the object itself."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def content_text(content: Any) -> str:
    """The text of a content; of a list of parts, the texts of those that have one."""
    if isinstance(content, list):
        return "".join(map(_part_text, content))
    return str(content or "")


def _part_text(part: Any) -> str:
    return part if isinstance(part, str) else str(part.get("text") or "")


def refusal_text(content: Any) -> str:
    """The refusal among the parts of a content; empty if there is none."""
    parts = content if isinstance(content, list) else []
    refusals = (part.get("refusal") for part in parts if isinstance(part, Mapping))
    return "".join(str(refusal) for refusal in refusals if refusal)
