"""The screen Trace: an execution as a tree of frames and calls, beside the call that is read."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import short
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, ToolReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, ToolRequest
from lmflow.replays.provenance import why
from lmflow.traces.calls import CallAttempt
from lmflow.ui.pages import Asked, Screen, Shown, command_line
from lmflow.ui.screens.trees import with_frames
from lmflow.values.record import plain, pretty

_ATTEMPT = re.compile(r"(.+)#([1-9]\d{0,4})", re.DOTALL)

_MOST_PIECES = 500

PART = 80
"""The rows of a tree that one request gets."""


def load_trace(asked: Asked) -> Shown:
    """Read an execution: its facts, a part of its tree, and one of its calls in full."""
    place = asked.reader.place(asked.path["trace"], "trace", "run")
    outline = asked.outlines.trace(place.trace or _only(asked, place.run))
    calls = asked.outlines.calls(outline.row)
    words = asked.text("find")
    tree = list(rows_of(calls, words))
    start = asked.number("start", 0, len(tree) or 1)
    part = [_shown(row) for row in tree[start : start + PART]]
    chosen = asked.text("call") or _first_call(calls)
    data = {
        "trace": attrs.asdict(outline),
        "calls": len(calls),
        "span": _span(calls, outline),
        "find": words,
        "rows": part,
        "start": start,
        "shown": start + len(part),
        "total": len(tree),
        "chosen": chosen,
        "call": _call(asked, outline, chosen),
        "result": _result(asked, outline) if not start else None,
    }
    title = f"{outline.label or 'trace'} of {outline.name}"
    command = command_line("runs", "show", outline.trace, "--messages")
    return Shown(title, command, data, live=outline.run if outline.status == "open" else "")


def load_call(asked: Asked) -> Shown:
    """Read one call of an execution."""
    outline = asked.outlines.trace(asked.path["trace"])
    chosen = asked.text("call")
    data = {
        "trace": attrs.asdict(outline),
        "chosen": chosen,
        "call": _call(asked, outline, chosen),
    }
    return Shown(chosen, command_line("runs", "show", outline.trace, "--messages"), data)


def load_why(asked: Asked) -> Shown:
    """Explain where the outputs of an execution come from."""
    trace = asked.reader.trace(asked.reader.place(asked.path["trace"], "trace").trace)
    data = {"trace": trace.id, "why": plain(why(trace, asked.reader.version).to_json())}
    return Shown(f"Why {trace.name}", command_line("why", trace.id), data)


WHY = Screen("/traces/{trace}/why", "why.html", load_why)
TRACE = Screen("/traces/{trace}", "trace.html", load_trace)
CALL = Screen("/traces/{trace}/call", "call.html", load_call)


def rows_of(calls: Sequence[Any], words: str = "") -> Iterator[dict[str, Any]]:
    """Return the rows of a tree: each call below its frames, a frame at the time of its first call.

    A step that made one call is a single row. With ``words`` only calls are left whose address,
    model or status has them, with their frames.
    """
    wanted = words.casefold()
    sizes = Counter(_frame_of(call) for call in calls)

    def path_of(row: Mapping[str, Any]) -> str:
        frame = _frame_of(row["outline"])
        return frame if frame and sizes[frame] == 1 else str(row["address"])

    rows = [
        {"address": call.address, "outline": call}
        for call in _in_order(calls)
        if wanted in f"{call.address} {call.model} {call.status}".casefold()
    ]
    return with_frames(rows, path_of)


def _shown(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row of the tree as JSON values; only those that are shown are made."""
    return {**row, "item": call_row(row["item"]["outline"])} if "item" in row else row


def _frame_of(call: Any) -> str:
    return str(call.address).rpartition("/")[0]


def call_row(call: Any) -> dict[str, Any]:
    """Return the outline of a call as JSON values, with the name by which a URL chooses it."""
    return {**attrs.asdict(call), "id": call_id(call.address, call.attempt)}


def call_id(address: str, attempt: int) -> str:
    """Return the name of an attempt: its address, with ``#2`` for the second one."""
    return f"{address}#{attempt + 1}" if attempt else address


def _in_order(calls: Sequence[Any]) -> list[Any]:
    """Order calls so that each frame's stand together, at the time of the frame's first."""
    first: dict[tuple[str, ...], int] = {}
    places: dict[tuple[str, ...], int] = {}
    keys = {}
    for position, call in enumerate(calls):
        frames = tuple(call.address.split("/"))
        for depth in range(1, len(frames) + 1):
            first.setdefault(frames[:depth], position)
        places[frames] = position
        keys[id(call)] = [
            *(first[frames[:depth]] for depth in range(1, len(frames) + 1)),
            position,
        ]
    return sorted(calls, key=lambda call: keys[id(call)])


def _only(asked: Asked, run: str) -> str:
    """Return the first execution of a run, which a page of a run without others stands for."""
    rows = asked.outlines.executions(run, 1)
    return str(rows[0]["trace"]) if rows else ""


def _span(calls: Sequence[Any], outline: Any) -> dict[str, int]:
    """Return when an execution began and ended, or its last call if it never ended."""
    ends = [outline.ended, *(call.ended for call in calls)]
    starts = [outline.started, *(call.started for call in calls)]
    begin = min(starts)
    return {"start": begin, "length": max(max(ends) - begin, 1)}


def _first_call(calls: Sequence[Any]) -> str:
    """Return the call that is read first: the first that failed, else the last."""
    failed = next((call for call in calls if call.status == "failed"), None)
    chosen = failed or (calls[-1] if calls else None)
    return call_id(chosen.address, chosen.attempt) if chosen else ""


def _result(asked: Asked, outline: Any) -> dict[str, Any]:
    """Return inputs, outputs or failure, and scores of an execution."""
    inputs, outputs, failure = asked.outlines.values(outline.row)
    scores = [
        {"name": score.name, "value": score.value, "who": score.who, "feedback": score.feedback}
        for score in asked.reader.scores(outline.trace)
    ]
    return {
        "inputs": plain(inputs),
        "outputs": plain(outputs),
        "failure": plain(failure),
        "scores": scores,
        "refs": [name for name, id_ in asked.reader.refs().items() if id_ == outline.version],
    }


def _call(asked: Asked, outline: Any, chosen: str) -> dict[str, Any] | None:
    """Return a call with its messages; ``None`` if the execution has no such call."""
    numbered = _ATTEMPT.fullmatch(chosen)
    address, attempt = (numbered[1], int(numbered[2]) - 1) if numbered else (chosen, 0)
    call = asked.outlines.call(outline.row, address, attempt)
    return None if call is None else call_data(call)


def call_data(call: CallAttempt) -> dict[str, Any]:
    """Return a call as JSON values: what was sent, what came back, and the facts of both."""
    return {
        "id": call_id(call.address, call.attempt),
        "address": call.address,
        "attempt": call.attempt + 1,
        "kind": call.kind,
        "target": call.target,
        "status": call.status,
        "key": call.key,
        "key_short": short(call.key),
        "source": call.source,
        "cost": call.cost,
        "started": call.started,
        "ended": call.ended,
        **_request(call.request),
        **_outcome(call.outcome),
        "raw": call["request"],
        "raw_outcome": call["outcome"],
    }


def _request(request: Any) -> dict[str, Any]:
    match request:
        case ChatRequest():
            messages = [_message(message) for message in request.messages]
            facts = {"options": plain(request.options), "tools": plain(request.tools)}
            return {**facts, "messages": messages, "schema": plain(request.schema)}
        case EmbedRequest():
            messages = [{"role": "text", "text": text, "calls": []} for text in request.texts]
            return {"options": {}, "tools": [], "messages": messages, "schema": None}
        case ToolRequest():
            messages = [
                {"role": name, "text": _text(value), "calls": []}
                for name, value in plain(request.inputs).items()
            ]
            return {"options": {}, "tools": [], "messages": messages, "schema": None}
    return {"options": {}, "tools": [], "messages": [], "schema": None}


def _message(message: Any) -> dict[str, Any]:
    calls = [{"name": call.name, "arguments": call.arguments} for call in message.calls]
    return {"role": message.role, "text": message.readable, "calls": calls}


def _outcome(outcome: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "reply": "", "reasoning": "", "finish": "", "usage": None, "failure": "", "chunks": 0,
        "pieces": [], "reply_calls": [],
    }  # fmt: skip
    match outcome:
        case ChatReply():
            calls = [{"name": call.name, "arguments": call.arguments} for call in outcome.calls]
            return {
                **empty,
                "reply": outcome.text or outcome.refusal,
                "reasoning": outcome.reasoning,
                "finish": outcome.finish,
                "usage": attrs.asdict(outcome.usage),
                "chunks": len(outcome.chunks),
                "pieces": _pieces(outcome.text, outcome.chunks),
                "reply_calls": calls,
            }
        case EmbedReply():
            text = f"{len(outcome.vectors)} vectors"
            return {**empty, "reply": text, "usage": attrs.asdict(outcome.usage)}
        case ToolReply():
            return {**empty, "reply": _text(outcome.value)}
        case Failure():
            return {**empty, "failure": str(outcome.error())}
    return empty


def _pieces(text: str, lengths: Sequence[int]) -> list[str]:
    """Return the first pieces in which a streamed text arrived."""
    ends = itertools.accumulate(lengths[:_MOST_PIECES], initial=0)
    return [text[start:end] for start, end in itertools.pairwise(ends)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else pretty(value)
