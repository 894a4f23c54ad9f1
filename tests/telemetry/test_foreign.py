"""The laws of foreign traces: whatever arrives becomes a trace or is counted, never a crash."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.errors import TelemetryError
from lmflow.messages.replies import ChatReply, Usage
from lmflow.telemetry.binding import Bound
from lmflow.telemetry.foreign import assemble
from lmflow.telemetry.raw import LARGEST, RawSpan, cleaned
from lmflow.telemetry.recording import recorded_trace
from lmflow.telemetry.sources import llm
from lmflow.telemetry.sources.documents import document_spans
from lmflow.traces.foreign import FOREIGN
from lmflow.traces.trace import Trace

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from([
    "gen_ai.operation.name", "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions",
    "gen_ai.tool.definitions", "gen_ai.tool.call.arguments", "gen_ai.usage.input_tokens", "gen_ai.response.finish_reasons",
    "lmflow.address", "lmflow.attempt", "lmflow.cost.nano_usd", "llm.cost.total", "input.value", "output.value",
    "lmflow.request.options", "gen_ai.request.temperature", "openinference.span.kind", "error.type", "lmflow.label",
])  # fmt: skip
VALUES = st.one_of(
    JSON,
    st.sampled_from(
        ["chat", "execute_tool", "embeddings", "LLM", "[{", "{}", "[]", 10**30, -1, "\ud800"]
    ),
)
SPANS = st.lists(
    st.builds(
        RawSpan, st.just("t"), st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["", "a", "b", "c", "zz"]),
        st.text(max_size=6), st.integers(-5, 2**70), st.integers(-5, 2**70), st.dictionaries(NAMES, VALUES, max_size=6),
    ),
    min_size=1, max_size=5, unique_by=lambda span: span.id,
)  # fmt: skip


@given(SPANS)
def test_any_span_becomes_a_trace(spans: list[RawSpan]) -> None:
    """Attributes of any type, circles of parents and odd numbers give a trace that can be stored."""
    foreign = assemble("otlp", "t", [cleaned(span) for span in spans])
    trace = recorded_trace(foreign, Bound())
    assert len(foreign.calls) == len({(call.address, call.attempt) for call in trace.calls})
    assert trace.root
    assert foreign.hash == trace.world[FOREIGN]["hash"]
    assert trace.id == Trace.from_dict(json.loads(json.dumps(trace.to_dict(), default=str))).id


@given(JSON)
def test_any_document_is_read_or_refused(document: Any) -> None:
    """A JSON value gives spans, or an error that says what was expected."""
    try:
        found = list(document_spans(document, "a file"))
    except TelemetryError as error:
        words = str(error)
    else:
        words = "Known are" if all(isinstance(span, RawSpan) for span in found) else ""
    assert "Known are" in words


def test_a_huge_attribute_is_left_out_and_told() -> None:
    """An attribute of 10 MB is dropped, and the call counts as truncated."""
    facts = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": "x" * 10_000_000}
    span = cleaned(RawSpan("t", "a", attributes=facts))
    assert len(span.attributes["gen_ai.input.messages"]) <= LARGEST
    foreign = assemble("otlp", "t", [span])
    assert {"a": "attributes were left out"} == foreign.problems


def test_a_circle_of_parents_is_cut() -> None:
    """Spans that are each other's parents are all there, once."""
    chat = {"gen_ai.operation.name": "chat"}
    spans = [
        RawSpan("t", "a", "b", "x", 1, 2, chat),
        RawSpan("t", "b", "a", "y", 1, 2, chat),
        RawSpan("t", "c", "c", "z", 1, 2, chat),
    ]
    assert {"a", "b", "c"} == {call.span for call in assemble("otlp", "t", spans).calls}


PARTS = [{"role": "user", "content": "why?"}]
OPENINFERENCE = {
    "name": "llm", "context": {"trace_id": "t1", "span_id": "s1"}, "parent_id": None, "span_kind": "LLM",
    "start_time": "2026-11-30T10:00:00+00:00", "end_time": "2026-11-30T10:00:01+00:00", "status_code": "OK",
    "attributes": {
        "llm.model_name": "MODEL", "llm.provider": "openai", "llm.token_count.prompt": 7, "llm.token_count.completion": 3,
        "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "why?",
        "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "so",
    },
}  # fmt: skip
LANGFUSE = {
    "id": "t1", "timestamp": "2026-11-30T10:00:00Z", "name": "qa", "scores": [{"name": "good", "value": 1}],
    "observations": [{
        "id": "s1", "type": "GENERATION", "name": "llm", "model": "MODEL", "startTime": "2026-11-30T10:00:00Z",
        "endTime": "2026-11-30T10:00:01Z", "input": PARTS, "output": {"role": "assistant", "content": "so"},
        "usageDetails": {"input": 7, "output": 3}, "calculatedTotalCost": 0.5,
    }],
}  # fmt: skip
MLFLOW = {
    "info": {"trace_id": "t1", "assessments": [{"assessment_name": "good", "feedback": {"value": True}}]},
    "data": {"spans": [{
        "span_id": "s1", "name": "llm", "start_time_unix_nano": 1, "end_time_unix_nano": 2, "status": {"code": "OK"},
        "attributes": {
            "mlflow.spanType": '"CHAT_MODEL"', "mlflow.spanInputs": json.dumps({"messages": PARTS}),
            "mlflow.spanOutputs": json.dumps({"choices": [{"message": {"content": "so"}, "finish_reason": "stop"}]}),
            "mlflow.chat.tokenUsage": '{"input_tokens": 7, "output_tokens": 3}',
        },
    }]},
}  # fmt: skip


@pytest.mark.parametrize(
    "document",
    [OPENINFERENCE, [LANGFUSE], {"traces": [MLFLOW]}],
    ids=["openinference", "langfuse", "mlflow"],
)
def test_documents_of_others_give_their_calls(document: Any) -> None:
    """Messages, reply and tokens are those that the other system recorded."""
    foreign = assemble("x", "t1", list(document_spans(document, "file")))
    (call,) = foreign.calls
    assert "" == call.problem
    assert ["why?"] == [message.content for message in call.request.messages]  # type: ignore[union-attr]
    assert isinstance(call.outcome, ChatReply)
    assert ("so", Usage(7, 3)) == (call.outcome.text, call.outcome.usage)
    assert [("good", 1.0)] * (document is not OPENINFERENCE) == [
        (score.name, score.value) for score in foreign.scores
    ]


def test_a_log_of_llm_gives_its_conversation() -> None:
    """A response has the earlier turns of its conversation."""
    row = {
        "id": "r2",
        "model": "MODEL",
        "prompt": "and?",
        "response": "more",
        "datetime_utc": "2026-11-30T10:00:00",
        "duration_ms": 5,
        "input_tokens": 7,
        "output_tokens": 3,
        "conversation_id": "c",
    }
    (call,) = assemble("llm", "r2", [llm.spans(row, [{"prompt": "why?", "response": "so"}])]).calls
    assert ["why?", "so", "and?"] == [message.content for message in call.request.messages]  # type: ignore[union-attr]
