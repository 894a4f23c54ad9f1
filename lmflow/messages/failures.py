"""Whatever the code of models and tools raises or returns, as errors and replies that can be
recorded.
"""

from __future__ import annotations

import math
from typing import Any, get_args

import attrs

from lmflow.errors import (
    CallError,
    EvaluationError,
    FailureKind,
    LmflowError,
    ModelFailed,
    ModelUnavailable,
    ProgramError,
    SandboxUnavailable,
    ToolFailed,
    TooLong,
    ToolsUnavailable,
    VersionError,
    clipped,
    safe_repr,
)
from lmflow.messages.messages import ToolCall
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, ModelReply, Usage, failure_of
from lmflow.messages.requests import EmbedRequest, ModelRequest, Request, ToolRequest
from lmflow.values.record import canonical
from lmflow.values.unicode import well_formed

_KINDS = frozenset(get_args(FailureKind))
_TEXTS = ("text", "finish", "model", "reasoning", "refusal")
_CALL_TEXTS = ("name", "arguments", "id")
_LARGEST = 2**63  # what a store's integer holds
_OF_A_CALL = (
    *(CallError, ModelUnavailable, ToolsUnavailable, SandboxUnavailable),
    *(ProgramError, VersionError, EvaluationError),
)
"""Errors of lmflow that fail a model's call, if its code raises them; others end the run."""


def recordable(error: BaseException, request: Request) -> Failure | None:
    """The failure to record for an exception of the code of a model or tool.

    ``None`` for the errors of lmflow that end more than a model's call, such as ``BudgetExceeded``
    and ``StoreError``: the caller must get them as they are.
    """
    if isinstance(request, ToolRequest):
        return tool_failure(error, request.tool)
    if isinstance(error, LmflowError) and not isinstance(error, _OF_A_CALL):
        return None
    return model_failure(error, request.model)


def model_failure(error: BaseException, model: str) -> Failure:
    """The failure of a model whose code raised an exception."""
    if isinstance(error, ModelFailed):
        return failure_of(_checked_failure(error, model))
    if isinstance(error, ModelUnavailable):
        return failure_of(ModelFailed("unavailable", _words(error)))
    kind: FailureKind = "bad_reply"
    if isinstance(error, TimeoutError):
        kind = "timeout"
    elif isinstance(error, ConnectionError):
        kind = "unreachable"
    words = f"the code of {model} raised {error_text(error)}. Mend it, or use another model."
    return failure_of(ModelFailed(kind, words))


def tool_failure(error: BaseException, tool: str) -> Failure:
    """The failure of a tool whose code raised an exception."""
    return failure_of(ToolFailed(tool, well_formed(type(error).__name__), _words(error)))


def unsent_failure(model: str) -> Failure:
    """The failure of a model that returned a reply which no ``send`` returned to it."""
    words = (
        f"{model} returned a reply that its `send` didn't return, so no recording has it. "
        "Do the work in the exchange: return await send(exchange)."
    )
    return failure_of(ModelFailed("bad_reply", words))


def check_reply(reply: Any, request: ModelRequest) -> ModelReply:
    """Return a reply of a model. ``ModelFailed`` if it isn't a reply to such a request, or holds
    what no store can keep.
    """
    expected = EmbedReply if isinstance(request, EmbedRequest) else ChatReply
    if not isinstance(reply, expected):
        shown = f"{type(reply).__name__} {clipped(safe_repr(reply), 60)}"
        words = f"{request.model} answered with {shown}, expected {_article(expected)}"
        raise ModelFailed("bad_reply", f"{words}. Mend the model's code, or use another model.")
    checked: ModelReply = reply
    problem = (
        _embed_problem(checked, request)
        if isinstance(checked, EmbedReply)
        else _chat_problem(checked)
    )
    if problem:
        words = f"{request.model} answered with {_article(expected)} whose {problem}"
        raise ModelFailed("bad_reply", f"{words}. Mend the model's code, or use another model.")
    return checked


def error_text(error: BaseException) -> str:
    """An exception's class and words on one line."""
    words = " ".join(_words(error).split())
    name = well_formed(type(error).__name__)
    return f"{name}: {words}".rstrip(". ") if words else name


def _words(error: BaseException) -> str:
    """The words of an exception, whose own code may fail to give them."""
    try:
        return well_formed(str(error))
    except Exception:  # noqa: BLE001 - the exception's own code
        return "(its text can't be read)"


def _checked_failure(error: ModelFailed, model: str) -> ModelFailed:
    """The failure as one of the classes that are recorded, with fields that a store can keep."""
    if error.kind not in _KINDS:
        words = f"{model} failed as {clipped(safe_repr(error.kind), 60)}: {error.text}"
        return ModelFailed("bad_reply", well_formed(words))
    raw: Any = error.raw
    fields: dict[str, Any] = {
        "kind": error.kind,
        "text": well_formed(str(error.text)),
        "status": error.status if _is_count(error.status) else None,
        "retry_after": error.retry_after if _is_wait(error.retry_after) else None,
        "raw": well_formed(raw) if isinstance(raw, str) else "",
    }
    if not isinstance(error, TooLong):
        return ModelFailed(**fields)
    for name, size in (("length", error.length), ("limit", error.limit)):
        fields[name] = size if _is_count(size) else None
    return TooLong(**fields)


def _is_wait(value: Any) -> bool:
    return type(value) in {int, float} and math.isfinite(value) and value >= 0


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _embed_problem(reply: EmbedReply, request: ModelRequest) -> str:
    expected = len(request.texts) if isinstance(request, EmbedRequest) else 0
    if len(reply.vectors) != expected:
        return f"vectors are {len(reply.vectors)}, expected {expected}, one a text"
    return _text_problem(reply, ("model",)) or _usage_problem(reply.usage)


def _chat_problem(reply: ChatReply) -> str:
    """What is wrong with the fields of a reply, empty if nothing is."""
    calls, chunks, structured = _unchecked(reply, "calls", "chunks", "structured")
    if not isinstance(calls, tuple) or not all(map(_is_call, calls)):
        return f"calls are {clipped(safe_repr(calls), 60)}, expected a tuple of ToolCall"
    if not isinstance(chunks, tuple) or not all(map(_is_count, chunks)):
        return f"chunks are {clipped(safe_repr(chunks), 60)}, expected a tuple of numbers"
    if not isinstance(structured, bool | None):
        return f"structured is {clipped(safe_repr(structured), 60)}, expected a bool or None"
    states = [call.state for call in reply.calls if call.state is not None]
    return (
        _text_problem(reply, _TEXTS)
        or _usage_problem(reply.usage)
        or _json_problem("logprobs", reply.logprobs)
        or _json_problem("calls' state", states)
    )


def _unchecked(reply: Any, *names: str) -> list[Any]:
    """The fields as what they may be: a model's code need not keep to their types."""
    return [getattr(reply, name) for name in names]


def _text_problem(reply: Any, names: tuple[str, ...]) -> str:
    for name in names:
        value = getattr(reply, name)
        if type(value) is not str:
            return f"{name} is {clipped(safe_repr(value), 60)}, expected a text"
    return ""


def _usage_problem(usage: Any) -> str:
    if type(usage) is not Usage:
        return f"usage is {clipped(safe_repr(usage), 60)}, expected a Usage"
    for name in _USAGE_NAMES:
        value = getattr(usage, name)
        if value is not None and not _is_count(value):
            return f"usage.{name} is {clipped(safe_repr(value), 60)}, expected a count or None"
    return ""


_USAGE_NAMES = tuple(field.name for field in attrs.fields(Usage))


def _json_problem(name: str, value: Any) -> str:
    if not value:
        return "" if value is None or isinstance(value, (list, tuple, dict)) else _no_json(name)
    try:
        canonical(value)
    except (LmflowError, TypeError, ValueError, RecursionError):
        return _no_json(name)
    return ""


def _no_json(name: str) -> str:
    return f"{name} have no JSON form"


def _is_call(value: Any) -> bool:
    return isinstance(value, ToolCall) and not _text_problem(value, _CALL_TEXTS)


def _article(kind: type) -> str:
    return f"a{'n' if kind is EmbedReply else ''} {kind.__name__}"
