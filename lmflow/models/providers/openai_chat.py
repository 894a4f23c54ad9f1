"""OpenAI's wire format: a request as the body of a chat completion, and completions, whole or
streamed, as replies.
"""

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
from lmflow.models.transport.capabilities import number_calls
from lmflow.models.transport.json_text import token_count
from lmflow.signatures.json_schema import is_strict


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


def chat_body(
    name: str, wire: str, request: ChatRequest, dialect: Dialect, *, schema: bool
) -> dict[str, Any]:
    """The body of a chat completion. ``ModelFailed`` (request) if the options ask for several
    choices, (media) if attached content isn't available.
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
        turns = [_turn(turn, dialect) for turn in number_calls(request.messages)]
    except NoContent as problem:
        raise ModelFailed("media", f"{name}: {problem}") from None
    body = {**options, "model": wire, "messages": turns}
    if request.tools:
        body["tools"] = [{"type": "function", "function": tool} for tool in request.tools]
    if schema and request.schema is not None:
        format_ = {"name": "reply", "schema": request.schema, "strict": is_strict(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": format_}
    return body


def chat_reply(data: Mapping[str, Any]) -> ChatReply:
    """The first choice of a completion. Raises ``LookupError``, ``TypeError`` or ``ValueError`` if
    the data isn't a completion.
    """
    choice = data["choices"][0]
    if choice.get("error"):
        msg = f"the choice is an error: {choice['error']}"
        raise ValueError(msg)
    message = choice["message"]
    return ChatReply(
        text=_text(message.get("content")),
        finish=str(choice.get("finish_reason") or ""),
        model=str(data.get("model") or ""),
        usage=usage_of(data.get("usage") or {}),
        reasoning=_text(message.get("reasoning_content") or message.get("reasoning")),
        calls=_tool_calls(message.get("tool_calls") or ()),
        refusal=str(message.get("refusal") or ""),
        logprobs=choice.get("logprobs"),
    )


def embed_reply(texts: int, data: Mapping[str, Any]) -> EmbedReply:
    """One vector a text, in the texts' order. ``ValueError`` if the number of vectors differs from
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


class ChunkAccumulator:
    """Accumulates the chunks of a streamed completion into the body of a whole one."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._functions: dict[Any, dict[str, str]] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._envelope: dict[str, Any] = {}
        self._finish_reason: Any = None

    @property
    def finished(self) -> bool:
        """Whether the model said why it stopped."""
        return self._finish_reason is not None

    def add(self, chunk: Mapping[str, Any]) -> str:
        """Takes a chunk and returns the text that it adds."""
        for name in ("model", "usage"):
            if chunk.get(name):
                self._envelope[name] = chunk[name]
        choices = chunk.get("choices")
        if not choices:
            return ""
        choice = choices[0]
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        for name, rows in (choice.get("logprobs") or {}).items():
            self._logprobs.setdefault(name, []).extend(rows or ())
        return self._add_delta(choice.get("delta") or {})

    def body(self) -> dict[str, Any]:
        """The completion as if it had not been streamed."""
        calls = [{"function": function} for function in self._functions.values()]
        choice = {
            "message": {**self._message, "tool_calls": calls},
            "finish_reason": self._finish_reason,
            "logprobs": self._logprobs or None,
        }
        return {**self._envelope, "choices": [choice]}

    def _add_delta(self, delta: Mapping[str, Any]) -> str:
        for name in ("content", "reasoning_content", "reasoning", "refusal"):
            if delta.get(name):
                self._message[name] = self._message.get(name, "") + _text(delta[name])
        for call in delta.get("tool_calls") or ():
            self._add_call(call)
        return _text(delta.get("content"))

    def _add_call(self, call: Mapping[str, Any]) -> None:
        """Adds a part of a tool call, whose name and arguments may come in several chunks."""
        index = call.get("index", len(self._functions))
        function = self._functions.setdefault(index, {"name": "", "arguments": ""})
        part = call.get("function") or {}
        function["name"] += part.get("name") or ""
        function["arguments"] += _arguments(part.get("arguments") or "")


def _turn(message: Message, dialect: Dialect) -> dict[str, Any]:
    turn: dict[str, Any] = {
        "role": dialect.instruction_role if message.role == "system" else message.role,
        "content": content_of(message),
    }
    if message.answers:
        turn["tool_call_id"] = message.answers
    if message.calls:
        turn["content"] = content_of(message) or None
        turn["tool_calls"] = [_wire_call(call) for call in message.calls]
    return turn


def _wire_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _tool_calls(calls: Iterable[Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    functions = [call["function"] for call in calls]
    return tuple(
        ToolCall(str(function["name"]), _arguments(function.get("arguments") or ""), f"call_{n}")
        for n, function in enumerate(functions)
    )


def _arguments(arguments: Any) -> str:
    """The arguments as a text; some servers send the object itself."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content)
    return str(content or "")
