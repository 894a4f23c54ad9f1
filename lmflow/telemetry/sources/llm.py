"""Reads the rows of the log that the command line tool ``llm`` keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lmflow.telemetry.content import dumps
from lmflow.telemetry.raw import RawSpan
from lmflow.telemetry.sources.otlp_json import text
from lmflow.telemetry.sources.times import nanoseconds

_MILLI = 10**6


def spans(row: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> RawSpan:
    """Return the span of a response.

    Args:
        row: A row of the table ``responses``.
        earlier: The earlier responses of its conversation, whose turns the model saw.
    """
    started = nanoseconds(row.get("datetime_utc"))
    turns: list[dict[str, Any]] = []
    if row.get("system"):
        turns.append(_turn("system", row["system"]))
    for before in earlier:
        turns += [_turn("user", before.get("prompt")), _turn("assistant", before.get("response"))]
    turns.append(_turn("user", row.get("prompt")))
    reply = {**_turn("assistant", row.get("response")), "finish_reason": "stop"}
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": text(row.get("model")),
        "gen_ai.response.model": text(row.get("resolved_model")),
        "gen_ai.input.messages": dumps(turns),
        "gen_ai.output.messages": dumps([reply]),
        "gen_ai.usage.input_tokens": row.get("input_tokens"),
        "gen_ai.usage.output_tokens": row.get("output_tokens"),
        "lmflow.request.options": text(row.get("options_json")) or "{}",
        "gen_ai.conversation.id": text(row.get("conversation_id")),
        "input.value": text(row.get("prompt")),
        "output.value": text(row.get("response")),
    }
    duration = row.get("duration_ms")
    return RawSpan(
        trace=text(row.get("id")),
        id=text(row.get("id")),
        name=text(row.get("conversation_name")) or "llm",
        started=started,
        ended=started + (duration if isinstance(duration, int) else 0) * _MILLI,
        attributes={name: value for name, value in attributes.items() if value is not None},
        resource={"service.name": "llm"},
    )


def _turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text(content)}]}
