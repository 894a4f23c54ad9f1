"""Reads traces that MLflow exports, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmflow.telemetry.content import dumps
from lmflow.telemetry.raw import RawEvent, RawSpan
from lmflow.telemetry.sources.chats import as_json, chat_messages, chat_reply
from lmflow.telemetry.sources.otlp_json import either, objects, text, whole
from lmflow.telemetry.sources.times import nanoseconds
from lmflow.values.json_text import parse

_OPERATIONS = {
    "CHAT_MODEL": "chat",
    "LLM": "chat",
    "TOOL": "execute_tool",
    "RETRIEVER": "retrieval",
    "EMBEDDING": "embeddings",
}
_COUNTS = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_input_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_creation_input_tokens": "gen_ai.usage.cache_creation.input_tokens",
}


def is_mlflow(document: Any) -> bool:
    """Tell whether a JSON value is a trace of MLflow."""
    if not isinstance(document, Mapping) or not isinstance(document.get("info"), Mapping):
        return False
    data = document.get("data")
    return isinstance(data, Mapping) and isinstance(data.get("spans"), list)


def spans(document: Mapping[str, Any]) -> Iterator[RawSpan]:
    """Yield the spans of a trace; the assessments of the trace are events of its first one."""
    info = document["info"]
    trace = text(either(info, "trace_id", "request_id"))
    assessments = tuple(map(_assessment, objects(info.get("assessments"))))
    for position, span in enumerate(objects(document["data"]["spans"])):
        yield _span(trace, span, () if position else assessments)


def _span(trace: str, span: Mapping[str, Any], events: tuple[RawEvent, ...]) -> RawSpan:
    values = span.get("attributes")
    attributes = (
        {name: _decoded(value) for name, value in values.items()}
        if isinstance(values, Mapping)
        else {}
    )
    status = span.get("status")
    code = status.get("code") if isinstance(status, Mapping) else either(span, "status_code")
    message = status.get("message") if isinstance(status, Mapping) else span.get("status_message")
    is_error = code in {"ERROR", "STATUS_CODE_ERROR", 2}
    return RawSpan(
        trace=trace,
        id=text(span.get("span_id")),
        parent=text(either(span, "parent_span_id", "parent_id")),
        name=text(span.get("name")),
        started=whole(either(span, "start_time_unix_nano", "start_time_ns", "start_time")),
        ended=whole(either(span, "end_time_unix_nano", "end_time_ns", "end_time")),
        attributes=_translated(attributes),
        events=events,
        error=(text(message) or "error") if is_error else "",
    )


def _decoded(value: Any) -> Any:
    """Return the value of an attribute, which MLflow writes as JSON in a text."""
    if not isinstance(value, str):
        return value
    try:
        return parse(value)
    except ValueError:
        return value


def _translated(attributes: dict[str, Any]) -> dict[str, Any]:
    inputs, outputs = attributes.get("mlflow.spanInputs"), attributes.get("mlflow.spanOutputs")
    found: dict[str, Any] = {
        name: as_json(value)
        for name, value in (("input.value", inputs), ("output.value", outputs))
        if value is not None
    }
    operation = _OPERATIONS.get(text(attributes.get("mlflow.spanType")))
    if operation is None or "gen_ai.operation.name" in attributes:
        return {**attributes, **found}
    found["gen_ai.operation.name"] = operation
    found["gen_ai.request.model"] = text(either(attributes, "mlflow.llm.model", "model"))
    found["gen_ai.provider.name"] = text(attributes.get("mlflow.llm.provider"))
    if operation in {"execute_tool", "retrieval"}:
        found["gen_ai.tool.call.arguments"] = inputs
        found["gen_ai.tool.call.result"] = outputs
        return {**attributes, **found}
    messages, reply = chat_messages(inputs), chat_reply(outputs)
    if messages is not None:
        found["gen_ai.input.messages"] = dumps(messages)
    if reply is not None:
        found["gen_ai.output.messages"] = dumps([reply])
    usage = attributes.get("mlflow.chat.tokenUsage")
    if isinstance(usage, Mapping):
        found |= {theirs: usage.get(ours) for ours, theirs in _COUNTS.items()}
    cost = attributes.get("mlflow.llm.cost")
    if isinstance(cost, Mapping):
        found["gen_ai.usage.cost"] = cost.get("total_cost")
    return {**attributes, **found}


def _assessment(assessment: Mapping[str, Any]) -> RawEvent:
    feedback = assessment.get("feedback")
    value = feedback.get("value") if isinstance(feedback, Mapping) else None
    source = assessment.get("source")
    who = text(source.get("source_id")) if isinstance(source, Mapping) else ""
    facts = {
        "gen_ai.evaluation.name": text(either(assessment, "assessment_name", "name")),
        "gen_ai.evaluation.score.value": float(value) if isinstance(value, bool) else value,
        "gen_ai.evaluation.explanation": text(assessment.get("rationale")),
        "lmflow.who": who,
    }
    return RawEvent("gen_ai.evaluation.result", nanoseconds(assessment.get("create_time")), facts)
