"""OpenAI's shapes: a request as the body of a chat completion, and completions, whole or streamed,
as replies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import ModelFailed, NoContent
from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.replies import ChatReply, EmbedReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.models.providers.openai_content import content_of
from lmflow.models.transport.responses import numbered, token_count
from lmflow.signatures.json_schema import is_strict


@attrs.frozen
class Dialect:
    """How a family of models wants its requests: the option that bounds the reply, and the role of
    instructions.
    """

    bound: str = "max_tokens"
    system: str = "system"


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
"""Names of OpenAI's models by their beginnings, the first that fits; all others are ``PLAIN``.

Reasoning models refuse ``max_tokens`` and ``system`` ("Reasoning models",
platform.openai.com/docs/guides/reasoning).
"""


def dialect_of(wire: str) -> Dialect:
    """The dialect of a model, by the table."""
    name = wire.rpartition("/")[2]
    return next(
        (dialect for prefix, dialect in DIALECTS if re.match(rf"{prefix}(?![a-z0-9])", name)), PLAIN
    )


def chat_body(
    name: str, wire: str, request: ChatRequest, dialect: Dialect, *, schema: bool
) -> dict[str, Any]:
    """The body that asks for a request. ``ModelFailed`` (request) where it asks for more than one
    choice, (media) where content isn't here.
    """
    options = dict(request.options)
    if options.get("n", 1) != 1:
        fix = "One request is one reply: samples are rows of their own, ex.map(..., samples=n)."
        raise ModelFailed("request", f"{name}: the option n is {options['n']!r}. {fix}")
    if "max_tokens" in options:
        options[dialect.bound] = options.pop("max_tokens")
    if isinstance(options.get("seed"), int):
        options["seed"] += request.sample
    try:
        turns = [_turn(turn, dialect) for turn in numbered(request.messages)]
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
    """The first choice of a completion. Raises ``LookupError``, ``TypeError`` or ``ValueError``
    where it is none.
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
        calls=_calls(message.get("tool_calls") or ()),
        refusal=str(message.get("refusal") or ""),
        logprobs=choice.get("logprobs"),
    )


def embed_reply(texts: int, data: Mapping[str, Any]) -> EmbedReply:
    """A vector a text, in the order of the texts. ``ValueError`` where there are others."""
    rows = sorted(data["data"], key=lambda row: int(row["index"]))
    vectors = tuple(tuple(float(number) for number in row["embedding"]) for row in rows)
    if len(vectors) != texts or len({len(vector) for vector in vectors}) > 1:
        msg = f"{texts} texts gave {len(vectors)} vectors of {sorted({len(vector) for vector in vectors})} numbers"
        raise ValueError(msg)
    usage = attrs.evolve(usage_of(data.get("usage") or {}), completion=0)
    return EmbedReply(vectors, str(data.get("model") or ""), usage)


def usage_of(data: Mapping[str, Any]) -> Usage:
    """The tokens as the provider counts them."""
    asked, told = (
        data.get("prompt_tokens_details") or {},
        data.get("completion_tokens_details") or {},
    )
    return Usage(
        prompt=token_count(data.get("prompt_tokens")),
        completion=token_count(data.get("completion_tokens")),
        cached=token_count(asked.get("cached_tokens")),
        written=token_count(asked.get("cache_write_tokens")),
        reasoning=token_count(told.get("reasoning_tokens")),
    )


class Joined:
    """The chunks of a streamed completion, joined into the shape of a whole one."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._calls: dict[Any, dict[str, Any]] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._whole: dict[str, Any] = {}
        self._finish: Any = None

    @property
    def ended(self) -> bool:
        """Whether the model said why it stopped."""
        return self._finish is not None

    def add(self, chunk: Mapping[str, Any]) -> str:
        """Take a chunk; the text that it adds."""
        self._whole.update({name: chunk[name] for name in ("model", "usage") if chunk.get(name)})
        for choice in (chunk.get("choices") or ())[:1]:
            self._finish = choice.get("finish_reason") or self._finish
            for name, held in (choice.get("logprobs") or {}).items():
                self._logprobs.setdefault(name, []).extend(held or ())
            return self._delta(choice.get("delta") or {})
        return ""

    def whole(self) -> dict[str, Any]:
        """The completion as if it had not been streamed."""
        message = {**self._message, "tool_calls": list(self._calls.values())}
        choice = {
            "message": message,
            "finish_reason": self._finish,
            "logprobs": self._logprobs or None,
        }
        return {**self._whole, "choices": [choice]}

    def _delta(self, delta: Mapping[str, Any]) -> str:
        for name in ("content", "reasoning_content", "reasoning", "refusal"):
            if delta.get(name):
                self._message[name] = self._message.get(name, "") + _text(delta[name])
        for call in delta.get("tool_calls") or ():
            held = self._calls.setdefault(
                call.get("index", len(self._calls)), {"function": {"name": "", "arguments": ""}}
            )["function"]
            function = call.get("function") or {}
            held["name"] += function.get("name") or ""
            held["arguments"] += _arguments(function.get("arguments") or "")
        return _text(delta.get("content"))


def _turn(message: Message, dialect: Dialect) -> dict[str, Any]:
    turn: dict[str, Any] = {
        "role": dialect.system if message.role == "system" else message.role,
        "content": content_of(message),
    }
    if message.answers:
        turn["tool_call_id"] = message.answers
    if message.calls:
        turn["content"] = content_of(message) or None
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.calls
        ]
    return turn


def _calls(calls: Iterable[Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    functions = [call["function"] for call in calls]
    return tuple(
        ToolCall(
            str(function["name"]), _arguments(function.get("arguments") or ""), f"call_{place}"
        )
        for place, function in enumerate(functions)
    )


def _arguments(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content)
    return str(content or "")
