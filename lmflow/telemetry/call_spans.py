"""The attributes of the spans of calls: of models, of embedding models, of tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.data.conditions import step_name
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, ToolReply, Usage
from lmflow.messages.requests import ChatRequest, EmbedRequest, ToolRequest
from lmflow.telemetry.content import dumps, message_json, message_parts, reply_json
from lmflow.telemetry.names import OPTIONS, USAGE, Names
from lmflow.traces.calls import CallAttempt
from lmflow.values.record import plain

_NANO = 1e9
_SEARCHES = ("bm25", "nearest")
_EMPTY = Usage()


@attrs.frozen
class CallOptions:
    """The names of attributes, and whether messages, arguments and replies are among them."""

    names: Names
    content: bool = attrs.field(kw_only=True)


def call_name(call: CallAttempt) -> str:
    """Return the name of a call's span: what is done, and with what."""
    match call.request:
        case ToolRequest(tool=tool) if is_retrieval(call):
            return f"retrieval {tool}"
        case ToolRequest(tool=tool):
            return f"execute_tool {tool}"
        case EmbedRequest(model=model):
            return f"embeddings {model}".strip()
        case _:
            return f"chat {call.request.model}".strip()


def call_attributes(call: CallAttempt, options: CallOptions) -> dict[str, Any]:
    """Return the attributes of a call; those without a value are ``None`` or empty."""
    match call.request:
        case ToolRequest() if is_retrieval(call):
            facts = _retrieval(call, call.request, options)
        case ToolRequest():
            facts = _tool(call, call.request, options)
        case EmbedRequest():
            facts = _embeddings(call, call.request)
        case _:
            facts = _chat(call, call.request, options)
    return {**_common(call, options), **facts}


def is_retrieval(call: CallAttempt) -> bool:
    """Tell whether a call searched a corpus of passages."""
    request = call.request
    if not isinstance(request, ToolRequest) or request.tool not in _SEARCHES:
        return False
    return str(request.identity).startswith("owner:")


def failure_words(call: CallAttempt, *, content: bool) -> str:
    """Return why a call failed, empty if it did not; without content only the kind of failure."""
    if call.outcome is None:
        return "it never ended"
    if not isinstance(call.outcome, Failure):
        return ""
    kind = call.outcome.kind
    return str(call.outcome.error()) if content else kind


def _common(call: CallAttempt, options: CallOptions) -> dict[str, Any]:
    is_reused = bool(call.source)
    kind = call.outcome.kind if isinstance(call.outcome, Failure) else None
    facts: dict[str, Any] = {
        "lmflow.address": call.address,
        "lmflow.key": call.key,
        "lmflow.attempt": call.attempt or None,
        "lmflow.source": "reused" if is_reused else "live",
        "lmflow.reused.trace": call.source,
        "error.type": "never_ended" if call.outcome is None else kind,
    }
    usage = getattr(call.outcome, "usage", _EMPTY)
    facts |= _usage(usage, options.names, "lmflow.reused." if is_reused else "")
    return facts | _cost(0 if is_reused else call.cost)


def _usage(usage: Usage, names: Names, prefix: str) -> dict[str, Any]:
    """Return the counters of tokens; those of a reused reply under a prefix, as they weren't paid
    again.
    """
    counters = {theirs: getattr(usage, ours) for ours, theirs in USAGE.items()}
    counters |= dict.fromkeys(names.cache_write, usage.written)
    return {f"{prefix}{name}": count for name, count in counters.items()}


def _cost(cost: int | None) -> dict[str, Any]:
    """Return the price, also as OpenInference and MLflow name it; nothing if it isn't known."""
    if cost is None:
        return {}
    usd = cost / _NANO
    by_kind = dumps({"total_cost": usd})
    return {"lmflow.cost.nano_usd": cost, "llm.cost.total": usd, "mlflow.llm.cost": by_kind}


def _chat(call: CallAttempt, request: ChatRequest, options: CallOptions) -> dict[str, Any]:
    reply = call.outcome if isinstance(call.outcome, ChatReply) else None
    provider, _, model = request.model.rpartition("/")
    facts: dict[str, Any] = {
        "openinference.span.kind": "LLM",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider.partition("/")[0],
        "gen_ai.request.model": model,
        "lmflow.request.model": request.model,
        "lmflow.request.sample": request.sample or None,
        "server.address": request.endpoint,
        "gen_ai.prompt.name": step_name(call.address),
        "gen_ai.output.type": None if request.schema is None else "json",
        **_options(request.options),
    }
    if reply is not None:
        facts["gen_ai.response.model"] = reply.model
        facts["gen_ai.response.finish_reasons"] = [reply.finish]
    return facts | (_chat_content(request, reply) if options.content else {})


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the decoding options that the conventions name; the others as JSON."""
    known = {OPTIONS[name]: plain(value) for name, value in options.items() if name in OPTIONS}
    stop = known.get("gen_ai.request.stop_sequences")
    if isinstance(stop, str):
        known["gen_ai.request.stop_sequences"] = [stop]
    return {**known, "lmflow.request.options": dumps(plain(options)) if options else None}


def _chat_content(request: ChatRequest, reply: ChatReply | None) -> dict[str, Any]:
    system, messages = _split(request.messages)
    facts: dict[str, Any] = {"gen_ai.input.messages": dumps(list(map(message_json, messages)))}
    if system is not None:
        facts["gen_ai.system_instructions"] = dumps(message_parts(system))
    if request.tools:
        definitions = [{"type": "function", **plain(tool)} for tool in request.tools]
        facts["gen_ai.tool.definitions"] = dumps(definitions)
    if reply is not None:
        facts["gen_ai.output.messages"] = dumps([reply_json(reply)])
    return facts


def _split(messages: tuple[Message, ...]) -> tuple[Message | None, tuple[Message, ...]]:
    """Return the system's message at the beginning, if there is one, and the others."""
    if messages and messages[0].role == "system":
        return messages[0], messages[1:]
    return None, messages


def _embeddings(call: CallAttempt, request: EmbedRequest) -> dict[str, Any]:
    vectors = call.outcome.vectors if isinstance(call.outcome, EmbedReply) else ()
    provider, _, model = request.model.rpartition("/")
    return {
        "openinference.span.kind": "EMBEDDING",
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": provider.partition("/")[0],
        "gen_ai.request.model": model,
        "lmflow.request.model": request.model,
        "server.address": request.endpoint,
        "gen_ai.embeddings.dimension.count": len(vectors[0]) if vectors else None,
        "gen_ai.response.model": getattr(call.outcome, "model", None),
    }


def _tool(call: CallAttempt, request: ToolRequest, options: CallOptions) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "openinference.span.kind": "TOOL",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": request.tool,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": call.address,
        "lmflow.tool.identity": request.identity,
    }
    if options.content:
        facts["gen_ai.tool.call.arguments"] = dumps(plain(request.inputs))
        if isinstance(call.outcome, ToolReply):
            facts["gen_ai.tool.call.result"] = dumps(plain(call.outcome.value))
    return facts


def _retrieval(call: CallAttempt, request: ToolRequest, options: CallOptions) -> dict[str, Any]:
    count = request.inputs.get("k")
    facts: dict[str, Any] = {
        **_tool(call, request, options),
        "openinference.span.kind": "RETRIEVER",
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": request.identity,
        options.names.top_k: count if isinstance(count, int) else None,
    }
    if options.content:
        facts["gen_ai.retrieval.query.text"] = str(request.inputs.get("query", ""))
    return facts
