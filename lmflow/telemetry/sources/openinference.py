"""Reads spans with OpenInference's attributes, which Phoenix and its instrumentations write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from lmflow.telemetry.content import dumps
from lmflow.telemetry.raw import RawEvent, RawSpan
from lmflow.telemetry.sources.otlp_json import objects, text
from lmflow.telemetry.sources.times import nanoseconds
from lmflow.values.json_text import parse

_OPERATIONS = {
    "LLM": "chat",
    "TOOL": "execute_tool",
    "EMBEDDING": "embeddings",
    "RETRIEVER": "retrieval",
}
_COUNTS = {
    "llm.token_count.prompt": "gen_ai.usage.input_tokens",
    "llm.token_count.completion": "gen_ai.usage.output_tokens",
    "llm.token_count.prompt_details.cache_read": "gen_ai.usage.cache_read.input_tokens",
    "llm.token_count.prompt_details.cache_write": "gen_ai.usage.cache_creation.input_tokens",
    "llm.token_count.completion_details.reasoning": "gen_ai.usage.reasoning.output_tokens",
}
_INDEX = re.compile(r"\d{1,6}\Z")


def translated(span: RawSpan) -> RawSpan:
    """Return a span with the names of the GenAI conventions beside those of OpenInference.

    A span that has them already is returned as it is.
    """
    attributes = span.attributes
    kind = attributes.get("openinference.span.kind")
    if "gen_ai.operation.name" in attributes or kind not in _OPERATIONS:
        return span
    nested = _nested(attributes)
    found: dict[str, Any] = {"gen_ai.operation.name": _OPERATIONS[kind]}
    found |= {theirs: attributes[ours] for ours, theirs in _COUNTS.items() if ours in attributes}
    llm = nested.get("llm")
    if kind == "LLM" and isinstance(llm, Mapping):
        found |= _chat(llm, attributes)
    if kind in {"TOOL", "RETRIEVER"}:
        found |= _tool(nested, attributes)
    return attrs.evolve(span, attributes={**attributes, **found})


def is_phoenix(document: Any) -> bool:
    """Tell whether a JSON value is a span as Phoenix exports it."""
    return isinstance(document, Mapping) and isinstance(document.get("context"), Mapping)


def spans(document: Mapping[str, Any]) -> Iterator[RawSpan]:
    """Yield the span that Phoenix exports as a JSON object."""
    context = document["context"]
    attributes = _flat(document.get("attributes"))
    if isinstance(document.get("span_kind"), str):
        attributes.setdefault("openinference.span.kind", document["span_kind"])
    is_error = document.get("status_code") == "ERROR"
    yield RawSpan(
        trace=text(context.get("trace_id")),
        id=text(context.get("span_id")),
        parent=text(document.get("parent_id")),
        name=text(document.get("name")),
        started=nanoseconds(document.get("start_time")),
        ended=nanoseconds(document.get("end_time")),
        attributes=attributes,
        events=tuple(
            RawEvent(
                text(event.get("name")),
                nanoseconds(event.get("timestamp")),
                _flat(event.get("attributes")),
            )
            for event in objects(document.get("events"))
        ),
        error=(text(document.get("status_message")) or "error") if is_error else "",
    )


def _chat(llm: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gen_ai.request.model": text(llm.get("model_name")),
        "gen_ai.provider.name": text(llm.get("provider")) or text(llm.get("system")),
    }
    if "input_messages" in llm:
        found["gen_ai.input.messages"] = dumps(_messages(llm["input_messages"]))
    replies = _messages(llm.get("output_messages"))
    if replies:
        found["gen_ai.output.messages"] = dumps([{**replies[0], "finish_reason": "stop"}])
    options = attributes.get("llm.invocation_parameters")
    if isinstance(options, str):
        found["lmflow.request.options"] = options
    tools = [_definition(tool) for tool in objects(_listed(llm.get("tools")))]
    if tools:
        found["gen_ai.tool.definitions"] = dumps(tools)
    return found


def _messages(values: Any) -> list[dict[str, Any]]:
    inner = (value.get("message", value) for value in objects(_listed(values)))
    return [_message(value) for value in inner if isinstance(value, Mapping)]


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    role = text(message.get("role"))
    content = text(message.get("content"))
    if role == "tool":
        answer = {"type": "tool_call_response", "id": message.get("tool_call_id")}
        return {"role": role, "parts": [{**answer, "response": content}]}
    parts: list[dict[str, Any]] = [{"type": "text", "content": content}] if content else []
    parts += map(_part, objects(_listed(message.get("contents"))))
    parts += map(_call, objects(_listed(message.get("tool_calls"))))
    return {"role": role, "parts": parts}


def _part(value: Mapping[str, Any]) -> dict[str, Any]:
    inner = value.get("message_content", value)
    if isinstance(inner, Mapping) and inner.get("type") == "text":
        return {"type": "text", "content": text(inner.get("text"))}
    # A picture is read as a part of an unknown kind, so that its message counts as unreadable.
    return {"type": "unreadable"}


def _call(value: Mapping[str, Any]) -> dict[str, Any]:
    inner = value.get("tool_call", value)
    function = inner.get("function") if isinstance(inner, Mapping) else None
    function = function if isinstance(function, Mapping) else {}
    call = {"type": "tool_call", "name": text(function.get("name"))}
    identity = inner.get("id") if isinstance(inner, Mapping) else None
    return {**call, "id": identity, "arguments": function.get("arguments")}


def _definition(value: Mapping[str, Any]) -> dict[str, Any]:
    inner = value.get("tool", value)
    schema = inner.get("json_schema") if isinstance(inner, Mapping) else None
    try:
        read = parse(schema) if isinstance(schema, str) else schema
    except ValueError:
        read = None
    function = read.get("function", read) if isinstance(read, Mapping) else {}
    return {"type": "function", **function} if isinstance(function, Mapping) else {}


def _tool(nested: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    tool = nested.get("tool")
    name = text(tool.get("name")) if isinstance(tool, Mapping) else ""
    arguments = tool.get("parameters") if isinstance(tool, Mapping) else None
    return {
        "gen_ai.tool.name": name,
        "gen_ai.tool.call.arguments": attributes.get("input.value", arguments),
        "gen_ai.tool.call.result": attributes.get("output.value"),
    }


def _nested(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with dotted names as objects within objects."""
    nested: dict[str, Any] = {}
    for name, value in attributes.items():
        *above, last = name.split(".")
        inner = nested
        for part in above:
            below = inner.setdefault(part, {})
            inner = below if isinstance(below, dict) else {}
        inner[last] = value
    return nested


def _listed(value: Any) -> Any:
    """Return a list; an object whose names are positions as a list, in their order."""
    if not isinstance(value, Mapping):
        return value
    places = sorted((int(name), name) for name in value if _INDEX.match(name))
    return [value[name] for _, name in places]


def _flat(value: Any, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Return an object as attributes with dotted names; lists stay as they are."""
    flat: dict[str, Any] = {}
    if not isinstance(value, Mapping):
        return flat
    for name, item in value.items():
        whole_name = f"{prefix}{name}"
        if isinstance(item, Mapping) and depth < 40:  # noqa: PLR2004 - deeper ones stay objects
            flat |= _flat(item, f"{whole_name}.", depth + 1)
        else:
            flat[whole_name] = item
    return flat
