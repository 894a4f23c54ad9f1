"""Traces of other systems as values, assembled from their spans."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import attrs

from lmflow.telemetry.foreign_calls import ForeignCall, foreign_call
from lmflow.telemetry.raw import RawSpan
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.trace import Failed
from lmflow.values.json_text import parse
from lmflow.values.record import EMPTY, Record

_DEEPEST = 12
"""The frames of an address; of a deeper span the innermost ones are named."""

_WIDEST = 60
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LETTERS = 18
_RESULT = "gen_ai.evaluation.result"


@attrs.frozen
class ForeignTrace:
    """What another system recorded of one execution.

    Args:
        id: The id that the trace gets in a store: the same at each import.
        source: The kind of its source, such as ``otlp``.
        trace: Its id there.
        hash: The hash of its spans.
        name: The name of its topmost span.
        service: What sent it, as far as that is known.
        spans: The spans, in the order of their starts.
        inputs: The inputs, if its topmost span has some.
        outputs: The outputs.
        failure: The failure of its topmost span.
        calls: The calls of models and tools.
        scores: The scores that came with it.
        problems: What could not be read, by the span's id.
        started: The start, in nanoseconds since the epoch.
        ended: The end, in nanoseconds since the epoch.
    """

    id: str
    source: str
    trace: str
    hash: str
    name: str
    service: str
    spans: tuple[RawSpan, ...]
    inputs: Record = EMPTY
    outputs: Record = EMPTY
    failure: Failed | None = None
    calls: tuple[ForeignCall, ...] = ()
    scores: tuple[ScoreRecorded, ...] = ()
    problems: Mapping[str, str] = attrs.field(factory=dict)
    started: int = 0
    ended: int = 0


def foreign_id(source: str, trace: str) -> str:
    """Return the id that a trace of a source gets in a store."""
    text = f"{source}\0{trace}".encode("utf-8", "replace")
    number = int.from_bytes(hashlib.blake2b(text, digest_size=12).digest(), "big")
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in range(_LETTERS))


def span_text(span: RawSpan) -> str:
    """Return a span as the JSON by which it is kept and hashed."""
    return json.dumps(span.to_json(), sort_keys=True)


def spans_hash(texts: Iterable[str]) -> str:
    """Return the hash of spans as JSON, in whatever order they arrived."""
    return hashlib.sha256("\n".join(sorted(texts)).encode("ascii")).hexdigest()


def assemble(
    source: str, trace: str, spans: Sequence[RawSpan], texts: Sequence[str] = ()
) -> ForeignTrace:
    """Make the foreign trace of a trace's spans.

    Spans without a known parent, and those whose parents lead in a circle, stand at the top.
    ``texts`` are the spans as JSON, if they are at hand; to write them again takes a while.
    """
    ordered = tuple(sorted(spans, key=lambda span: (span.started, span.id)))
    parents = _parents(ordered)
    top = _top(ordered, parents)
    calls, problems = _calls(ordered, parents)
    identity = foreign_id(source, trace)
    return ForeignTrace(
        id=identity,
        source=source,
        trace=trace,
        hash=spans_hash(texts or map(span_text, ordered)),
        name=top.name.removeprefix("invoke_workflow ") or source,
        service=str(top.resource.get("service.name", "")),
        spans=ordered,
        inputs=_record(top.attributes.get("input.value"), "input"),
        outputs=_record(top.attributes.get("output.value"), "output"),
        failure=Failed(str(top.attributes.get("error.type") or "error"), top.error)
        if top.error
        else None,
        calls=calls,
        scores=tuple(_scores(identity, ordered)),
        problems=problems,
        started=min(span.started for span in ordered),
        ended=max(1, *(max(span.started, span.ended) for span in ordered)),
    )


def _parents(spans: Sequence[RawSpan]) -> dict[str, RawSpan]:
    """Return the span above each span, by the lower one's id; none closes a circle."""
    by_id = {span.id: span for span in spans}
    parents = {span.id: by_id[span.parent] for span in spans if span.parent in by_id}
    settled: set[str] = set()
    for span in spans:
        path: dict[str, None] = {}
        at = span.id
        while at in parents and at not in settled:
            if at in path:
                del parents[at]
                break
            path[at] = None
            at = parents[at].id
        settled.update(path)
    return parents


def _top(spans: Sequence[RawSpan], parents: Mapping[str, RawSpan]) -> RawSpan:
    """Return the span that has inputs and outputs of the whole: lmflow's own execution, or the
    longest of those at the top.
    """
    own = [span for span in spans if "lmflow.label" in span.attributes or _is_execution(span)]
    roots = [span for span in spans if span.id not in parents]
    return max(own or roots, key=lambda span: span.ended - span.started)


def _is_execution(span: RawSpan) -> bool:
    return "lmflow.root" in span.attributes and "lmflow.trace.id" in span.attributes


def _calls(
    spans: Sequence[RawSpan], parents: Mapping[str, RawSpan]
) -> tuple[tuple[ForeignCall, ...], dict[str, str]]:
    calls: list[ForeignCall] = []
    problems: dict[str, str] = {}
    taken: set[tuple[str, int]] = set()
    for span in spans:
        call = foreign_call(span, _address(span, parents))
        if call is None:
            if span.dropped:
                problems[span.id] = "attributes were left out"
            continue
        if (call.address, call.attempt) in taken:
            call = attrs.evolve(call, address=_own_address(span, parents), attempt=0)
        taken.add((call.address, call.attempt))
        calls.append(call)
        if call.problem:
            problems[span.id] = call.problem
    return tuple(calls), problems


def _address(span: RawSpan, parents: Mapping[str, RawSpan]) -> str:
    """Return the address that lmflow gave the call, or the path of its spans."""
    own = span.attributes.get("lmflow.address")
    return own if isinstance(own, str) and own else _own_address(span, parents)


def _own_address(span: RawSpan, parents: Mapping[str, RawSpan]) -> str:
    """Return the path of names and ids of the spans above, but the topmost, and of the span."""
    frames = [_frame(span)]
    above = parents.get(span.id)
    while above is not None and above.id in parents and len(frames) < _DEEPEST:
        frames.append(_frame(above))
        above = parents.get(above.id)
    return "/".join([*reversed(frames), "call[0]"])


def _frame(span: RawSpan) -> str:
    name = quote(span.name[:_WIDEST].replace("[", "(").replace("]", ")"), safe=" ():.,-_") or "span"
    return f"{name}[{quote(span.id, safe='')}]"


def _record(value: Any, name: str) -> Record:
    """Return an object as a record; any other value under one name."""
    if isinstance(value, str):
        try:
            read = parse(value)
        except ValueError:
            read = value
        value = read if isinstance(read, Mapping) else value
    if value is None or value == "":
        return EMPTY
    return Record(value) if isinstance(value, Mapping) else Record({name: value})


def _scores(trace: str, spans: Sequence[RawSpan]) -> Iterable[ScoreRecorded]:
    for span in spans:
        for event in span.events:
            facts = event.attributes
            if event.name != _RESULT or not isinstance(facts.get("gen_ai.evaluation.name"), str):
                continue
            value = facts.get("gen_ai.evaluation.score.value")
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            yield ScoreRecorded(
                trace,
                facts["gen_ai.evaluation.name"],
                float(value) if is_number and value is not None else None,
                str(facts.get("gen_ai.evaluation.explanation") or ""),
                str(facts.get("lmflow.metric.key") or ""),
                str(facts.get("lmflow.who") or ""),
                event.at,
            )
