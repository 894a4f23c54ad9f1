"""Requests and replies as JSON values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.messages.messages import message_of
from lmflow.messages.replies import Failure, Outcome, outcome_of, outcome_to
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
from lmflow.values.attributes import lean
from lmflow.values.json_fields import check_scalars
from lmflow.values.media import attach_media
from lmflow.values.record import Record, plain


def request_to_json(request: Request) -> dict[str, Any]:
    """The request as new JSON values without fields at their defaults; media are descriptions."""
    fields = lean(request)
    if isinstance(request, ChatRequest):
        fields["messages"] = [plain(lean(message)) for message in request.messages]
    return {"is": type(request).__name__, **{name: plain(item) for name, item in fields.items()}}


def request_of_json(data: Mapping[str, Any]) -> Request:
    """The request of the JSON values of ``request_to_json``. ``KeyError``, ``TypeError`` or
    ``ValueError`` if they are of none.
    """
    fields = {name: item for name, item in media_attached(data).items() if name != "is"}
    request = _request(str(data["is"]), fields)
    check_scalars(request)
    return request


def outcome_to_json(outcome: Outcome | None) -> dict[str, Any] | None:
    """The reply or failure as new JSON values; ``None`` for a call that never ended."""
    if outcome is None:
        return None
    values: dict[str, Any] = plain(outcome_to(outcome))
    return values


def outcome_of_json(data: Mapping[str, Any] | None) -> Outcome | None:
    """The reply or failure of the JSON values of ``outcome_to_json``. ``KeyError``, ``TypeError``
    or ``ValueError`` if they are of none.
    """
    if data is None:
        return None
    outcome = outcome_of(media_attached(data))
    check_scalars(outcome)
    if isinstance(outcome, Failure):
        outcome.error()  # it is made when it is read, so that nothing odd is found out later
    return outcome


def media_attached(data: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values with each description of a picture, sound or file as that value, without its
    content.
    """
    values: dict[str, Any] = attach_media(dict(data), lambda digest: None)  # noqa: ARG005
    return values


def _request(kind: str, fields: dict[str, Any]) -> Request:
    match kind:
        case "ToolRequest":
            return ToolRequest(**{**fields, "inputs": Record(fields["inputs"])})
        case "EmbedRequest":
            return EmbedRequest(**{**fields, "texts": tuple(fields["texts"])})
        case "ChatRequest":
            return _chat_request(fields)
    msg = f"a request is a ChatRequest, EmbedRequest or ToolRequest, found {kind!r:.80}"
    raise ValueError(msg)


def _chat_request(fields: dict[str, Any]) -> ChatRequest:
    messages = tuple(map(message_of, fields.pop("messages", ())))
    if "tools" in fields:
        fields["tools"] = tuple(map(Record, fields["tools"]))
    if "schema" in fields:
        fields["schema"] = Record(fields["schema"])
    return ChatRequest(messages, **fields)
