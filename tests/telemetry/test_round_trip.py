"""The law of the round trip: what lmflow sends as spans it reads back whole."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from chats import messages, replies
from hypothesis import given
from hypothesis import strategies as st

from lmflow.errors import ModelFailed
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, Failure, ToolReply, Usage, failure_of
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.telemetry.foreign import assemble
from lmflow.telemetry.mapping import SpanOptions, execution_spans, score_span
from lmflow.telemetry.protobuf import decode, encode
from lmflow.telemetry.raw import cleaned
from lmflow.traces.calls import CallAttempt
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.feed import EndedExecution, PlacedScore
from lmflow.traces.trace import Run, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

pytest.importorskip("opentelemetry.proto", reason="the extra otel is not installed")

COUNT = st.one_of(st.none(), st.integers(0, 10**9))
USAGES = st.builds(Usage, COUNT, COUNT, COUNT, COUNT, COUNT)
FAILURES = st.just(failure_of(ModelFailed("server", "down")))
OUTCOMES = st.one_of(
    st.builds(lambda reply, usage: attrs.evolve(reply, usage=usage), replies, USAGES), FAILURES
)
SCORES = st.builds(
    ScoreRecorded, st.just("t"), st.text(min_size=1, max_size=5).filter(str.isprintable), st.one_of(st.none(), st.floats(-9, 9)),
    st.text(max_size=5), st.just(""), st.text(max_size=5), st.integers(1, 9),
)  # fmt: skip


@st.composite
def chats(draw: st.DrawFn) -> tuple[CallAttempt, ...]:
    """Calls of models and tools as a trace has them, some retried, some reused."""
    calls: list[CallAttempt] = []
    for number in range(draw(st.integers(1, 3))):
        request: Any = ChatRequest(
            tuple(draw(st.lists(messages(), min_size=1, max_size=3))),
            draw(st.sampled_from(["openai/MODEL", "together/a/b", "odd", ""])),
            "api.example",
            draw(st.sampled_from([Record(), Record({"temperature": 0.5, "stop": "x", "n": [1]})])),
            draw(st.sampled_from([(), (Record({"name": "f", "parameters": {}}),)])),
        )
        outcome: Any = draw(OUTCOMES)
        if draw(st.booleans()):
            request = ToolRequest("search", "v1", Record({"query": draw(st.text(max_size=5))}))
            outcome = ToolReply(draw(st.sampled_from(["text", {"a": [1]}, 3, True, ["x"]])))
        cost = draw(st.one_of(st.none(), st.integers(0, 10**9)))
        source = draw(st.sampled_from(["", "trace9"]))
        address = f"answer[{number}]/call[0]"
        paid = 0 if source else cost
        calls += [
            CallAttempt(address, request, request.key, attempt, outcome, 10, 20, paid, source)
            for attempt in range(draw(st.integers(1, 2)))
        ]
    return tuple(calls)


def there_and_back(trace: Trace, scores: list[ScoreRecorded]) -> Any:
    """The foreign trace that is made of the spans that are sent of an execution."""
    run = Run("r", "map", "answer")
    options = SpanOptions("store", content=True)
    spans = execution_spans(EndedExecution(run, "ex[0]", trace), options)
    spans += [
        score_span(PlacedScore(n, "r", "map", "ex[0]", score), options)
        for n, score in enumerate(scores)
    ]
    raw = [cleaned(span) for span in decode(encode(spans, "schema", {"service.name": "test"}))]
    assert {spans[0].trace} == {span.trace for span in raw}
    return assemble("otlp", raw[0].trace, raw)


def judged(score: ScoreRecorded) -> tuple[str, float | None, str, str]:
    """What a score says."""
    return score.name, score.value, score.feedback, score.who


@given(chats(), st.lists(SCORES, max_size=2))
def test_everything_comes_back(calls: tuple[CallAttempt, ...], scores: list[ScoreRecorded]) -> None:
    """Messages, replies, usage, costs, sources, attempts and scores are those that were sent."""
    inputs = Record({"question": "q", "n": 3})
    trace = Trace(
        "t",
        "v1:b2:00",
        "answer",
        Version(),
        inputs,
        Record(),
        calls=calls,
        outputs=Record({"answer": "a"}),
        started=1,
        ended=30,
    )
    foreign = there_and_back(trace, scores)
    assert (inputs, trace.outputs) == (foreign.inputs, foreign.outputs)
    back = {(call.address, call.attempt): call for call in foreign.calls}
    assert len(calls) == len(back)
    for call in calls:
        other = back[call.address, call.attempt]
        assert call.request == other.request
        assert (call.cost, call.source) == (other.cost, other.source)
        assert call.request.key == other.request.key
        if isinstance(call.outcome, Failure):
            assert isinstance(other.outcome, Failure)
        elif isinstance(call.outcome, ChatReply):
            assert attrs.evolve(call.outcome, model="") == other.outcome
        else:
            assert call.outcome == other.outcome
    assert sorted(map(repr, map(judged, scores))) == sorted(map(repr, map(judged, foreign.scores)))


def test_a_call_without_content_is_told_so() -> None:
    """Spans without messages keep the usage, and say that the messages were not sent."""
    request = ChatRequest((Message("user", "q"),), "openai/MODEL")
    call = CallAttempt(
        "answer[0]/call[0]", request, request.key, 0, ChatReply("a", usage=Usage(3, 4)), 1, 2
    )
    trace = Trace(
        "t",
        "v1:b2:00",
        "answer",
        Version(),
        Record(),
        Record(),
        calls=(call,),
        outputs=Record(),
        started=1,
        ended=3,
    )
    spans = execution_spans(EndedExecution(Run("r", "map", "x"), "a", trace), SpanOptions("store"))
    (found,) = assemble("otlp", "t", list(decode(encode(spans, "", {})))).calls
    assert Usage(3, 4) == found.outcome.usage  # type: ignore[union-attr]
    assert "were not sent" in found.problem
