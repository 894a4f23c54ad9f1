"""Replies of model servers: parsed into values, and failures named by kind, server and fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from lmflow.errors import FailureKind, ModelFailed, TooLong
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.models.base import Response
from lmflow.models.transport.answers import (
    NO_CHOICES,
    NoAnswer,
    NoChoices,
    ReportedError,
    no_answer,
)
from lmflow.models.transport.capabilities import REFUSAL_STATUSES
from lmflow.models.transport.context_lengths import CODES, measure
from lmflow.models.transport.json_text import decode_body, scrub
from lmflow.models.transport.retry_after import retry_seconds

T = TypeVar("T")

_NO_HEADERS: Mapping[str, str] = {}

RAW_LIMIT = 10_000
"""How many characters of an unusable body an error keeps."""
_SHOWN_BODY, _SHOWN_WORDS = 200, 300
_FIRST_FAILURE, _FIRST_SERVER_FAILURE, _STATUS_DIGITS = 400, 500, 3
_STATUS_KINDS: dict[int, FailureKind] = {
    401: "auth",
    402: "quota",
    403: "auth",
    404: "unknown_model",
    408: "timeout",
    429: "rate_limit",
    501: "request",
}
_TOO_LONG = (
    "Shorten the inputs, `lf.cut(step, FIELD=lf.Cut(...))`, or use a model with a longer context."
)
_QUOTA = frozenset({"insufficient_quota", "billing_error"})
_FILTERED = frozenset({"content_filter", "content_policy_violation"})
# A stream, or an error in a body of status 200, has no status of its own: its code decides.
_CODE_KINDS: dict[str, FailureKind] = {
    "authentication_error": "auth",
    "invalid_request_error": "request",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "resource_exhausted": "rate_limit",
    "too_many_requests": "rate_limit",
    "not_found_error": "unknown_model",
    "model_not_found": "unknown_model",
    "permission_error": "auth",
    "permission_denied": "auth",
    "unauthenticated": "auth",
    "unauthorized": "auth",
    "forbidden": "auth",
    "invalid_argument": "request",
    "failed_precondition": "request",
    "out_of_range": "request",
    "bad_request": "request",
    "not_found": "unknown_model",
    "invalid_api_key": "auth",
    "timeout_error": "timeout",
    "deadline_exceeded": "timeout",
    "overloaded_error": "server",
    "server_error": "server",
    "api_error": "server",
}
_FIXES = {
    "auth": "Check the key: {key}.",
    "quota": "The account has no credit left: add some, or use another key.",
    "unknown_model": "Check the model's name and the base URL{url}.",
    "media": (
        "Ask a model that takes such inputs; a server of llama.cpp needs the file of --mmproj."
    ),
    "rate_limit": "Lower the executor's concurrency, or wait.",
    "request": "Change the step's options or inputs as the server says.",
    "server": "Ask again later, or use another model: lf.fallback(first, second).",
    "timeout": "Raise the model's timeout, or ask for less at once.",
}
_CODE_FIXES = {
    "content_filter": (
        "The endpoint's content filter refused the prompt: change the inputs or the filter's "
        "settings, or use another model."
    ),
    "unsupported_value": "Leave {param} out of the step's options, or at the model's default.",
    "unsupported_parameter": "Leave {param} out of the step's options.",
}
_MEDIA = re.compile(
    r"image|vision|audio|multi-?modal|mmproj|media|document|pdf|file|content\W{0,4}(type|part)",
    re.IGNORECASE,
)


@attrs.frozen
class Server:
    """A model server, by which its answers are read: ``name`` (the model) and ``place`` (host and
    port) stand in failures, ``secret`` is masked by value.

    ``key`` says where the key comes from, ``url`` what a base URL looks like. ``media`` is whether
    the request had something attached, ``tools`` whether it offered tools.
    """

    name: str
    place: str
    secret: str = attrs.field(default="", repr=False)
    key: str = "api_key=..."
    url: str = ""
    media: bool = False
    tools: bool = False

    def facing(self, request: ChatRequest) -> Server:
        """The server as the answers to that request are read."""
        media, tools = bool(request.attaches), bool(request.tools)
        return attrs.evolve(self, media=media, tools=tools) if media or tools else self

    def read(self, response: Response, parse: Callable[[Any], T]) -> T:
        """The parsed answer. ``ModelFailed`` with its kind if the answer is a failure or can't be
        parsed.
        """
        text = response.body.decode("utf-8", "replace")
        data, whole = decode_body(text)
        cleaned = scrub(text, self.secret)
        # What an escape hides in the text may stand plain in the value.
        if not whole or cleaned != text or (self.secret and "\\" in text):
            text = cleaned
            try:
                data = scrub(data, self.secret)
            except ValueError as problem:
                raise self.unusable(f"answered {response.status}, and {problem}", text) from None
        if response.status >= _FIRST_FAILURE:
            raise self.failed(response.status, data, text, response.headers)
        if isinstance(data, Mapping) and data.get("error") and not data.get("choices"):
            raise self.failed(response.status, data, text, response.headers)
        return self.parse_reply(data, parse, text, response.status, response.headers)

    def parse_reply(
        self,
        data: Any,
        parse: Callable[[Any], T],
        text: str,
        status: int,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> T:
        """The parsed JSON value. ``ModelFailed`` with ``text`` if ``parse`` raises, or if the reply
        isn't an answer.
        """
        try:
            reply = parse(data)
        except ReportedError as problem:
            raise self.failed(status, {"error": problem.error}, text, headers) from None
        except NoChoices:
            raise self._unanswered(NO_CHOICES, text) from None
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as problem:
            body = "no JSON"
            if data is not None:
                body = f"an unknown shape of reply ({type(problem).__name__}: {problem})"
            raise self.unusable(f"answered {status} with {body}", text, status) from None
        reason = None
        if isinstance(reply, ChatReply):
            reason = no_answer(reply, has_tools=self.tools)
        if reason is not None:
            raise self._unanswered(reason, text)
        return reply

    def failed(self, status: int, data: Any, text: str, headers: Mapping[str, str]) -> ModelFailed:
        """The failure that an answer reports: its kind follows from the status or, if the status
        is a success or belongs to a stream, from the code in the body.
        """
        error = _error_object(data)
        words, code, param = _error_parts(error, data, text)
        failed_with = _status_in(code) or status
        answer = f"{self.name}: {self.place} answered {failed_with}: {_shorten(words)}."
        if (size := measure(words, code, error)) is not None:
            full = f"{answer} The prompt is too long, {size}. {_TOO_LONG}"
            return TooLong(
                "too_long", full, failed_with, None, text[:RAW_LIMIT], size.length, size.limit
            )
        kind = _failure_kind(failed_with, str(code))
        refuses_media = failed_with in REFUSAL_STATUSES and _MEDIA.search(words)
        if self.media and refuses_media and str(code) not in _CODE_FIXES:
            kind = "media"
        fix = _CODE_FIXES.get(str(code)) or _FIXES.get(kind, "")
        named = f"`{param}`" if param else "what it names"
        fix = fix.format(key=self.key, url=self.url, param=named)
        lower = {name.lower(): value for name, value in headers.items()}
        wait = retry_seconds(lower, data, words)
        return ModelFailed(kind, f"{answer} {fix}".strip(), failed_with, wait, text[:RAW_LIMIT])

    def _unanswered(self, reason: NoAnswer, text: str) -> ModelFailed:
        # Without a status: a budget counts a failure with one as free, and this reply was paid.
        words = f"{self.name}: {self.place} gave no answer: {reason.problem}. {reason.fix}"
        return ModelFailed(reason.kind, words, raw=text[:RAW_LIMIT])

    def unusable(self, problem: str, text: str, status: int | None = None) -> ModelFailed:
        """The failure of a reply that can't be used, with its text."""
        shown = f": {text[:_SHOWN_BODY]!r}" if text else ""
        words = f"{self.name}: {self.place} {problem}{shown}. Is its base URL right{self.url}?"
        return ModelFailed("bad_reply", words, status, raw=text[:RAW_LIMIT])

    def interrupted(self, problem: str, text: str) -> ModelFailed:
        """The failure of a stream that ended too early, with the text that had arrived."""
        words = f"{self.name}: {self.place} stopped in the middle of its reply"
        words = f"{words} ({problem.rstrip('.')}), after {len(text)} characters. Ask again."
        return ModelFailed("bad_reply", words, raw=text[:RAW_LIMIT])


def _status_in(code: Any) -> int:
    """The HTTP status that a code repeats, as a number or as digits; 0 if it is another code."""
    digits = str(code) if isinstance(code, (int, str)) else ""
    if not (len(digits) == _STATUS_DIGITS and digits.isascii() and digits.isdigit()):
        return 0
    return int(digits) if int(digits) >= _FIRST_FAILURE else 0


def _failure_kind(status: int, code: str) -> FailureKind:
    if code in _QUOTA:
        return "quota"
    if code in _FILTERED:
        return "content_filter"
    if status < _FIRST_FAILURE:
        return _CODE_KINDS.get(code.lower(), "server")
    return _STATUS_KINDS.get(status, "server" if status >= _FIRST_SERVER_FAILURE else "request")


def _error_object(data: Any) -> Mapping[str, Any]:
    """The object that describes an error, empty if the body has none."""
    if isinstance(data, list) and len(data) == 1:  # Gemini's form for OpenAI's clients
        data = data[0]
    whole = data if isinstance(data, Mapping) else {}
    error = whole.get("error") or whole
    return error if isinstance(error, Mapping) else {"message": error}


def _error_parts(error: Mapping[str, Any], data: Any, text: str) -> tuple[str, Any, str]:
    """The words, the code and the parameter of an error, in the forms of the common servers.

    ``{"error": {"message", "code" or "type", "param"}}`` (OpenAI, Azure, OpenRouter, vLLM,
    llama.cpp, Anthropic), ``{"error": "words"}`` (Ollama), ``{"message", "code"}`` (older vLLM),
    ``{"detail": ...}`` (FastAPI).
    """
    code = error.get("code")
    # A number repeats the status; a type that has a meaning of its own says more.
    typed = str(error.get("type")) in _CODE_FIXES.keys() | CODES
    if not code or (isinstance(code, int) and typed):
        code = error.get("type") or code
    if not isinstance(code, (int, str)):
        code = "" if code is None else str(code)
    detail = data.get("detail") if isinstance(data, Mapping) else ""
    words = error.get("message") or detail or text
    return str(words or "").strip(), code, str(error.get("param") or "")


def _shorten(words: str) -> str:
    return words[:_SHOWN_WORDS].rstrip(".") or "nothing"
