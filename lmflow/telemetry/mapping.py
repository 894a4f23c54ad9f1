"""Recordings as spans: pure functions from executions, runs and scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.telemetry.call_spans import CallOptions, call_attributes, call_name, failure_words
from lmflow.telemetry.content import dumps
from lmflow.telemetry.names import TABLE, Semconv
from lmflow.telemetry.spans import Span, SpanEvent, SpanKind, span_id, trace_id
from lmflow.traces.calls import CallAttempt
from lmflow.traces.feed import EndedExecution, EndedRun, PlacedScore
from lmflow.values.record import plain

KIND = "openinference.span.kind"
_AGENT_STEP = "act"
_SINGLE = ("run", "fork")
"""The kinds of runs that have one execution: it stands below the run, in the run's trace."""

_RUN = ""
"""The label under which a run's own span is identified."""


@attrs.frozen
class SpanOptions:
    """How recordings become spans.

    Args:
        store: The unique id of the store, from which the ids of spans are derived.
        semconv: The version of the semantic conventions.
        content: Whether messages, inputs and outputs are in the spans.
    """

    store: str
    semconv: Semconv = "1.41"
    content: bool = False

    @property
    def calls(self) -> CallOptions:
        """What the spans of calls need of it."""
        return CallOptions(TABLE[self.semconv], content=self.content)


def execution_spans(item: EndedExecution, options: SpanOptions) -> list[Span]:
    """Return the spans of an execution: its own, those of its agents, calls and earlier attempts.

    The execution of a single run stands below the run's span. Any other is a trace of its own,
    linked to the run's, since a trace of thousands of executions can't be looked at.
    """
    run, trace = item.run, item.trace
    of_run = trace_id(options.store, run.id, _RUN)
    is_single = run.kind in _SINGLE
    of_trace = of_run if is_single else trace_id(options.store, run.id, item.label)
    top = Span(
        trace=of_trace,
        id=span_id(of_trace, "execution", item.label),
        parent=span_id(of_run, "run") if is_single else "",
        name=f"invoke_workflow {trace.name}",
        kind="internal",
        started=trace.started,
        ended=max(trace.started, trace.ended),
        attributes=_execution_attributes(item, options),
        error=_failure(item, options),
        links=() if is_single else ((of_run, span_id(of_run, "run")),),
    )
    return [top, *_inner_spans(top, item, options)]


def run_span(ended: EndedRun, options: SpanOptions) -> Span:
    """Return the span of a run, the root of its trace."""
    run = ended.run
    of_run = trace_id(options.store, run.id, _RUN)
    attributes = {
        **_workflow(run.name, options),
        "lmflow.run.id": run.id,
        "lmflow.run.kind": run.kind,
        "lmflow.run.status": run.status,
        "lmflow.run.root": ended.root,
        "lmflow.run.of": run.of,
        "lmflow.target": run.target,
    }
    return Span(
        trace=of_run,
        id=span_id(of_run, "run"),
        parent="",
        name=f"invoke_workflow {run.kind} {run.name}",
        kind="internal",
        started=run.started,
        ended=max(run.started, run.ended),
        attributes=present(attributes),
        error=f"the run is {run.status}" if run.status == "failed" else "",
    )


def score_span(placed: PlacedScore, options: SpanOptions) -> Span:
    """Return the span of a score, below the execution that it is of.

    A score may come long after its execution was sent, and a span can't be sent again with another
    event: so each score is an event within a span of its own.
    """
    score = placed.score
    label = _RUN if placed.kind in _SINGLE else placed.label
    of_trace = trace_id(options.store, placed.run, label)
    words = score.feedback if options.content else ""
    result = {
        "gen_ai.evaluation.name": score.name,
        "gen_ai.evaluation.score.value": score.value,
        "gen_ai.evaluation.explanation": words,
        "lmflow.metric.key": score.metric,
        "lmflow.who": score.who,
        "lmflow.trace.id": score.trace,
    }
    facts = present(result)
    return Span(
        trace=of_trace,
        id=span_id(of_trace, "score", str(placed.id)),
        parent=span_id(of_trace, "execution", placed.label),
        name=f"evaluate {score.name}",
        kind="internal",
        started=score.at,
        ended=score.at,
        attributes={KIND: "EVALUATOR", **facts},
        events=(SpanEvent("gen_ai.evaluation.result", score.at, facts),),
    )


def present(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that have a value."""
    return {
        name: value
        for name, value in attributes.items()
        if value is not None and value not in ("", ())
    }


def _execution_attributes(item: EndedExecution, options: SpanOptions) -> dict[str, Any]:
    trace, run = item.trace, item.run
    facts = {
        **_workflow(trace.name, options),
        "gen_ai.conversation.id": run.id,
        "lmflow.run.id": run.id,
        "lmflow.run.kind": run.kind,
        "lmflow.label": item.label,
        "lmflow.trace.id": trace.id,
        "lmflow.root": trace.root,
        "lmflow.program": trace.program,
        "lmflow.target": trace.target,
        "lmflow.version": trace.version.id,
        "lmflow.tree": trace.version.tree,
        "lmflow.ref": list(item.refs) or None,
        "lmflow.sample": trace.sample,
        "lmflow.source": "reused" if item.reused else None,
        "error.type": None if trace.failure is None else trace.failure.kind,
    }
    if options.content:
        facts |= _json_attribute("input", trace.inputs)
        facts |= {} if trace.outputs is None else _json_attribute("output", trace.outputs)
    return present(facts)


def _failure(item: EndedExecution, options: SpanOptions) -> str:
    """Return why an execution failed; without content only the kind of failure."""
    failure = item.trace.failure
    if failure is None:
        return ""
    return f"{failure.kind}: {failure.text}" if options.content else failure.kind


def _json_attribute(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}.value": dumps(plain(value)), f"{name}.mime_type": "application/json"}


def _workflow(name: str, options: SpanOptions) -> dict[str, Any]:
    names = TABLE[options.semconv].workflow
    named = dict.fromkeys(names, name)
    return {KIND: "CHAIN", "gen_ai.operation.name": "invoke_workflow", **named}


def _inner_spans(top: Span, item: EndedExecution, options: SpanOptions) -> Iterator[Span]:
    """Yield the spans of agents and calls, each below the innermost agent that holds it."""
    attempts: dict[str, list[CallAttempt]] = {}
    for call in item.trace.calls:
        attempts.setdefault(call.address, []).append(call)
    agents = _agents(attempts)
    for address in agents:
        inside = [call for at, calls in attempts.items() for call in calls if _holds(address, at)]
        yield _agent_span(top, address, agents, inside)
    for address, calls in attempts.items():
        yield from _call_spans(top, _above(top, address, agents), calls, item, options)


def _agents(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses of the frames of agents, which are those that hold a step ``act``."""
    found: dict[str, None] = {}
    for address in addresses:
        frames = address.split("/")
        for depth, frame in enumerate(frames):
            if depth and frame.partition("[")[0] == _AGENT_STEP:
                found["/".join(frames[:depth])] = None
    return tuple(found)


def _holds(frame: str, address: str) -> bool:
    return address.startswith(f"{frame}/")


def _above(top: Span, address: str, agents: Sequence[str]) -> str:
    """Return the id of the span above an address."""
    holders = [agent for agent in agents if _holds(agent, address)]
    return span_id(top.trace, "frame", top.id, max(holders, key=len)) if holders else top.id


def _agent_span(
    top: Span, address: str, agents: Sequence[str], calls: Sequence[CallAttempt]
) -> Span:
    step = address.rpartition("/")[2].partition("[")[0]
    return Span(
        trace=top.trace,
        id=span_id(top.trace, "frame", top.id, address),
        parent=_above(top, address, agents),
        name=f"invoke_agent {step}",
        kind="internal",
        started=min(call.started for call in calls),
        ended=max(max(call.started, call.ended) for call in calls),
        attributes={
            KIND: "AGENT",
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": step,
            "lmflow.address": address,
        },
    )


def _call_spans(
    top: Span, parent: str, calls: Sequence[CallAttempt], item: EndedExecution, options: SpanOptions
) -> Iterator[Span]:
    """Yield the span of the attempt that counts, and below it those of the earlier attempts."""
    *earlier, last = sorted(calls, key=lambda call: call.attempt)
    span = _call_span(top, parent, last, item, options)
    yield attrs.evolve(span, started=min(call.started for call in calls))
    for call in earlier:
        yield _call_span(top, span.id, call, item, options)


def _call_span(
    top: Span, parent: str, call: CallAttempt, item: EndedExecution, options: SpanOptions
) -> Span:
    kind: SpanKind = "internal" if call.kind == "tool" else "client"
    facts = call_attributes(call, options.calls)
    facts |= {"gen_ai.prompt.version": item.trace.version.id} if call.kind == "chat" else {}
    return Span(
        trace=top.trace,
        id=span_id(top.trace, "call", top.id, call.address, str(call.attempt)),
        parent=parent,
        name=call_name(call),
        kind=kind,
        started=call.started,
        ended=max(call.started, call.ended),
        attributes=present(facts),
        error=failure_words(call, content=options.content),
    )
