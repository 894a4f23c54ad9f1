"""Reads traces that Langfuse exports: a trace with its observations and scores, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmflow.telemetry.content import dumps
from lmflow.telemetry.raw import RawEvent, RawSpan
from lmflow.telemetry.sources.chats import as_json, chat_messages, chat_reply
from lmflow.telemetry.sources.otlp_json import either, objects, text
from lmflow.telemetry.sources.times import nanoseconds

_ROOT = "trace"
_OPERATIONS = {
    "GENERATION": "chat",
    "EMBEDDING": "embeddings",
    "TOOL": "execute_tool",
    "RETRIEVER": "retrieval",
}
_COUNTS = {
    "gen_ai.usage.input_tokens": ("input", "promptTokens", "input_tokens"),
    "gen_ai.usage.output_tokens": ("output", "completionTokens", "output_tokens"),
    "gen_ai.usage.cache_read.input_tokens": ("input_cached_tokens", "cache_read_input_tokens"),
    "gen_ai.usage.reasoning.output_tokens": ("output_reasoning_tokens",),
}


def is_langfuse(document: Any) -> bool:
    """Tell whether a JSON value is a trace of Langfuse."""
    return isinstance(document, Mapping) and isinstance(document.get("observations"), list)


def spans(document: Mapping[str, Any]) -> Iterator[RawSpan]:
    """Yield the spans of a trace: one of the trace itself, and one of each observation."""
    trace = text(document.get("id"))
    observations = list(objects(document["observations"]))
    starts = [nanoseconds(each.get("startTime")) for each in observations]
    ends = [nanoseconds(each.get("endTime")) for each in observations]
    started = nanoseconds(document.get("timestamp")) or min(starts, default=0)
    yield RawSpan(
        trace=trace,
        id=_ROOT,
        name=text(document.get("name")) or _ROOT,
        started=started,
        ended=max([started, *ends]),
        attributes=_values(document),
        events=tuple(map(_score, objects(document.get("scores")))),
        resource={"service.name": text(document.get("environment"))},
    )
    for observation in observations:
        yield _span(trace, observation)


def _span(trace: str, observation: Mapping[str, Any]) -> RawSpan:
    is_error = observation.get("level") == "ERROR"
    return RawSpan(
        trace=trace,
        id=text(observation.get("id")),
        parent=text(observation.get("parentObservationId")) or _ROOT,
        name=text(observation.get("name")) or text(observation.get("type")),
        started=nanoseconds(observation.get("startTime")),
        ended=nanoseconds(observation.get("endTime")),
        attributes={**_values(observation), **_call(observation)},
        error=(text(observation.get("statusMessage")) or "error") if is_error else "",
    )


def _values(document: Mapping[str, Any]) -> dict[str, Any]:
    values = {"input.value": document.get("input"), "output.value": document.get("output")}
    return {name: as_json(value) for name, value in values.items() if value is not None}


def _call(observation: Mapping[str, Any]) -> dict[str, Any]:
    operation = _OPERATIONS.get(text(observation.get("type")))
    if operation is None:
        return {}
    found: dict[str, Any] = {"gen_ai.operation.name": operation}
    if operation in {"execute_tool", "retrieval"}:
        found["gen_ai.tool.name"] = text(observation.get("name"))
        found["gen_ai.tool.call.arguments"] = observation.get("input")
        found["gen_ai.tool.call.result"] = observation.get("output")
        return found
    found["gen_ai.request.model"] = text(observation.get("model"))
    found["gen_ai.prompt.name"] = text(observation.get("promptName"))
    options = observation.get("modelParameters")
    if isinstance(options, Mapping):
        found["lmflow.request.options"] = dumps(options)
    messages, reply = chat_messages(observation.get("input")), chat_reply(observation.get("output"))
    if messages is not None:
        found["gen_ai.input.messages"] = dumps(messages)
    if reply is not None:
        found["gen_ai.output.messages"] = dumps([reply])
    usage = either(observation, "usageDetails", "usage")
    if isinstance(usage, Mapping):
        found |= {name: either(usage, *theirs) for name, theirs in _COUNTS.items()}
    found["gen_ai.usage.cost"] = either(observation, "calculatedTotalCost", "totalCost")
    return found


def _score(score: Mapping[str, Any]) -> RawEvent:
    facts = {
        "gen_ai.evaluation.name": text(score.get("name")),
        "gen_ai.evaluation.score.value": score.get("value"),
        "gen_ai.evaluation.explanation": text(score.get("comment")),
        "lmflow.who": text(either(score, "authorUserId", "source")),
    }
    return RawEvent("gen_ai.evaluation.result", nanoseconds(score.get("timestamp")), facts)
