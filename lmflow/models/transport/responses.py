"""What servers of language models have in common: how their answers are read, and how each failure
is named.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
import msgspec

from lmflow.errors import NO_TOOLS, FailureKind, ModelFailed, TooLong
from lmflow.messages.messages import Message
from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ChatRequest
from lmflow.models.base import Exchange, Http, Response, Send
from lmflow.models.transport.context_lengths import CODES, measured
from lmflow.values.record import Record

T = TypeVar("T")

SECRET = 8
KEPT = 10_000
"""How many characters of a body that can't be used are kept in the error."""
_SHOWN, _SAID = 200, 300
_FAILED, _BROKEN = (
    400,
    500,
)  # HTTP's borders between success, a mistake of the request and one of the server
_KINDS: dict[int, FailureKind] = {
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
_CODES: dict[str, FailureKind] = {  # where no status says it: in a stream, or in a success
    "authentication_error": "auth",
    "invalid_request_error": "request",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "overloaded_error": "server",
    "server_error": "server",
    "api_error": "server",
}
_FIXES = {
    "auth": "Check the key: {key}.",
    "quota": "The account has no credit left: add some, or use another key.",
    "unknown_model": "Check the model's name and the base URL{url}.",
    "media": "Ask a model that takes such inputs; a server of llama.cpp needs the file of --mmproj.",
    "rate_limit": "Lower the executor's concurrency, or wait.",
}
_NAMED = {
    "content_filter": "The endpoint's content filter refused the prompt.",
    "unsupported_value": "Leave {param} out of the step's options, or at the model's default.",
    "unsupported_parameter": "Leave {param} out of the step's options.",
}
_SCHEMA = re.compile(
    r"response_format|json.?schema|structured.?output|output_(config|format)|guided_json",
    re.IGNORECASE,
)
_THIS_SCHEMA = re.compile(
    r"invalid schema|schema error|failed to parse grammar|schema is too", re.IGNORECASE
)
_MEDIA = re.compile(
    r"image|vision|audio|multi-?modal|mmproj|media|document|pdf|file|content\W{0,4}(type|part)",
    re.IGNORECASE,
)
_REFUSING = frozenset({400, 404, 415, 422, 500, 501})
_FUNCTIONS = r"(?:tools?\b|tool[ _-]?(?:use|calls?|calling|choice)|function[ _-]?call)"
_NO_FUNCTIONS = re.compile(
    rf"(?:not |n't |un)support\w*[^.]{{0,40}}{_FUNCTIONS}|{_FUNCTIONS}[^.]{{0,60}}(?:not support|n't support|unsupport)"
    rf"|that support tool use|{_FUNCTIONS}[^.]{{0,40}}requires? --",
    re.IGNORECASE,
)


@attrs.frozen
class Server:
    """A server, as its answers are read: ``name`` and ``place`` are named in failures, ``secret``
    is masked by value.

    ``key`` says where the key comes from, ``url`` what a base URL must look like. ``media`` is
    whether something was attached to what it was asked.
    """

    name: str
    place: str
    secret: str = attrs.field(default="", repr=False)
    key: str = "api_key=..."
    url: str = ""
    media: bool = False

    def facing(self, request: ChatRequest) -> Server:
        """The server as the answers to that request are read."""
        return attrs.evolve(self, media=True) if request.attaches else self

    def read(self, response: Response, form: Callable[[Any], T]) -> T:
        """The answer in the form that it must have; ``ModelFailed`` with its kind where it is a
        failure, or none.
        """
        text = response.body.decode("utf-8", "replace")
        data, whole = _json(text)
        if not whole or len(self.secret) >= SECRET:
            data, text = clean(data, self.secret), clean(text, self.secret)
        if response.status >= _FAILED:
            raise self.failed(response.status, data, text, response.headers)
        if isinstance(data, Mapping) and data.get("error") and not data.get("choices"):
            raise self.failed(response.status, data, text, response.headers)
        return self.parse_reply(data, form, text, response.status)

    def parse_reply(self, data: Any, form: Callable[[Any], T], text: str, status: int) -> T:
        """A clean JSON value in the form that it must have; ``bad_reply`` with its text where it
        has another.
        """
        try:
            return form(data)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as problem:
            found = (
                "no JSON"
                if data is None
                else f"no such reply ({type(problem).__name__}: {problem})"
            )
            raise self.bad(f"answered {status} with {found}", text, status) from None

    def failed(self, status: int, data: Any, text: str, headers: Mapping[str, str]) -> ModelFailed:
        """The failure that a server tells of, by its status or, in a success or a stream, by the
        code in its words.
        """
        error = _error(data)
        words, code, param = _told(error, data, text)
        told = code if isinstance(code, int) and code >= _FAILED else status
        if (size := measured(words, code, error)) is not None:
            said = f"{self.name}: {self.place} answered {told}: {_shortened(words)}. The prompt is too long, {size}."
            said = f"{said} {_TOO_LONG}"
            return TooLong("too_long", said, told, None, text[:KEPT], size.length, size.limit)
        kind: FailureKind = "quota" if code in _QUOTA else _kind(told, str(code))
        if self.media and told in _REFUSING and str(code) not in _NAMED and _MEDIA.search(words):
            kind = "media"
        fix = _NAMED.get(str(code)) or _FIXES.get(kind, "")
        fix = fix.format(
            key=self.key, url=self.url, param=f"`{param}`" if param else "what it names"
        )
        said = f"{self.name}: {self.place} answered {told}: {_shortened(words)}. {fix}".strip()
        wait = _seconds({name.lower(): value for name, value in headers.items()})
        return ModelFailed(kind, said, told, wait, text[:KEPT])

    def bad(self, problem: str, text: str, status: int | None = None) -> ModelFailed:
        """A reply that can't be used, with its text."""
        shown = f": {text[:_SHOWN]!r}" if text else ""
        said = f"{self.name}: {self.place} {problem}{shown}. Is its base URL right{self.url}?"
        return ModelFailed("bad_reply", said, status, raw=text[:KEPT])

    def stopped(self, problem: str, text: str) -> ModelFailed:
        """A stream that ended too early, with the text that had come."""
        said = (
            f"{self.name}: {self.place} stopped in the middle of its reply ({problem.rstrip('.')})"
        )
        return ModelFailed("bad_reply", f"{said}, after {len(text)} characters.", raw=text[:KEPT])


@attrs.define(eq=False)
class EndpointCapabilities:
    """What a model found out about its endpoint, for its own life. ``structured`` is whether the
    endpoint takes a JSON schema, ``None`` before it was asked to; ``refused`` are the schemas
    that it takes exception to; ``no_tools`` is how it refused functions, where it did.
    """

    structured: bool | None = None
    refused: set[str] = attrs.field(factory=set)
    no_tools: ModelFailed | None = None

    def takes(self, schema: Record | None) -> bool:
        """Whether a schema is to be sent."""
        return (
            schema is not None
            and self.structured is not False
            and schema.digest not in self.refused
        )

    def note_refusal(self, failure: ModelFailed, schema: Record) -> bool:
        """Whether the failure refuses the schema, which is remembered then."""
        said = f"{failure.text} {failure.raw}"
        if failure.status not in _REFUSING or not (
            _SCHEMA.search(said) or _THIS_SCHEMA.search(said)
        ):
            return False
        if _THIS_SCHEMA.search(said):
            self.refused.add(schema.digest)
        else:
            self.structured = False
        return True

    def calling(self, exchange: Callable[[bool], Exchange]) -> Callable[[bool], Exchange]:
        """Exchanges with functions. Where the endpoint has none the failure is one of that kind,
        and what is known of it is not asked again: the next attempt fails the same way with
        nothing sent.
        """

        async def exchanged(asking: Exchange, http: Http) -> ModelReply:
            if self.no_tools is not None:
                raise attrs.evolve(self.no_tools)  # one of its own: a raised error grows
            try:
                return await asking(http)
            except ModelFailed as failure:
                if failure.status not in _REFUSING or not _NO_FUNCTIONS.search(
                    f"{failure.text} {failure.raw}"
                ):
                    raise
                self.no_tools = attrs.evolve(failure, kind=NO_TOOLS, retry_after=None)
                raise self.no_tools from None

        return lambda schema: partial(exchanged, exchange(schema))


def asked(
    request: ChatRequest,
    send: Send,
    exchange: Callable[[bool], Exchange],
    learned: EndpointCapabilities,
) -> Awaitable[ModelReply]:
    """The reply to a request, with its schema where the endpoint takes it.

    A schema that is refused is an attempt of its own in the record; then the request is sent
    without it, and so are the later ones. The reply's ``structured`` says which way it was.
    Functions that are refused are a failure of that kind.
    """
    if request.tools:
        exchange = learned.calling(exchange)
    if request.schema is None or not learned.takes(request.schema):
        return send(exchange(False))  # noqa: FBT003 - without the schema
    return _structured(request.schema, send, exchange, learned)


async def _structured(
    schema: Record, send: Send, exchange: Callable[[bool], Exchange], learned: EndpointCapabilities
) -> ModelReply:
    try:
        reply = await send(exchange(True))  # noqa: FBT003 - with the schema
    except ModelFailed as failure:
        if not learned.note_refusal(failure, schema):
            raise
        return await send(exchange(False))  # noqa: FBT003 - without it
    learned.structured = True
    return reply


def numbered(messages: tuple[Message, ...]) -> list[Message]:
    """The messages with call ids that no two calls of the conversation share, as the servers want
    it.
    """
    if not any(message.calls for message in messages):
        return list(messages)
    count, ids, turns = 0, {}, []
    for message in messages:
        if message.calls:
            ids = {call.id: f"call_{count + place}" for place, call in enumerate(message.calls)}
            count += len(message.calls)
        calls = tuple(attrs.evolve(call, id=ids[call.id]) for call in message.calls)
        answers = ids.get(message.answers, message.answers)
        same = not calls and answers == message.answers
        turns.append(message if same else attrs.evolve(message, calls=calls, answers=answers))
    return turns


def clean(data: Any, key: str) -> Any:
    """The JSON value without the key, and without the halves of surrogate pairs that no store could
    keep.

    A key of fewer than 8 characters is a placeholder, and no secret.
    """
    if isinstance(data, str):
        text = data if data.isascii() else data.encode("utf-8", "replace").decode("utf-8")
        return text.replace(key, "***") if len(key) >= SECRET else text
    if isinstance(data, list):
        return [clean(item, key) for item in data]
    if isinstance(data, dict):
        return {clean(name, key): clean(value, key) for name, value in data.items()}
    return data


def token_count(value: Any) -> int | None:
    """The number of tokens, ``None`` where it is none that can be."""
    return value if type(value) is int and 0 <= value < 2**63 else None


def url_problem(base_url: str) -> str:
    """What is wrong with a base URL, empty where nothing is. It shows neither user nor password."""
    try:
        parts = urlsplit(base_url)
        parts.port  # noqa: B018 - it is read, and checked, here
    except ValueError as problem:
        return f"its base URL is none ({problem})"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return f"{parts.scheme or 'nothing'}:// is no base URL"
    return "its base URL holds a user or password" if parts.username or parts.password else ""


def host_of(base_url: str) -> str:
    """The host of an endpoint without port and credentials."""
    return urlsplit(base_url).hostname or base_url


def host_port(base_url: str) -> str:
    """How a server is named in failures: its host, and its port where it has one."""
    parts = urlsplit(base_url)
    return f"{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def parsed(text: str) -> Any:
    """The JSON value of a text, also with halves of surrogate pairs in it. ``ValueError`` where it
    is none.
    """
    text = text.removeprefix("\ufeff")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        pass  # msgspec refuses halves of pairs, the standard library doesn't
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        msg = "it is nested too deep"
        raise ValueError(msg) from None


def _refuse(constant: str) -> float:
    msg = f"{constant} is no number"
    raise ValueError(msg)


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _refuse(number)


def _json(text: str) -> tuple[Any, bool]:
    """The JSON value of a text, and whether it is known to hold no halves of pairs: msgspec reads
    none.
    """
    try:
        return msgspec.json.decode(text), True
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return parsed(text), False
    except ValueError:
        return None, False


def _kind(status: int, code: str) -> FailureKind:
    if status < _FAILED:
        return _CODES.get(code, "server")
    return _KINDS.get(status, "server" if status >= _BROKEN else "request")


def _error(data: Any) -> Mapping[str, Any]:
    """The object that tells of an error, empty where there is none."""
    whole = data if isinstance(data, Mapping) else {}
    error = whole.get("error") or whole
    return error if isinstance(error, Mapping) else {"message": error}


def _told(error: Mapping[str, Any], data: Any, text: str) -> tuple[str, Any, str]:
    """The words, the code and the parameter of an error, in the forms of the common servers.

    ``{"error": {"message", "code" or "type", "param"}}`` (OpenAI, Azure, OpenRouter, vLLM,
    llama.cpp, Anthropic), ``{"error": "words"}`` (Ollama), ``{"message", "code"}`` (older vLLM),
    ``{"detail": ...}`` (FastAPI).
    """
    code = error.get("code")
    if not code or (isinstance(code, int) and str(error.get("type")) in _NAMED.keys() | CODES):
        code = error.get("type") or code
    words = (
        error.get("message") or (data.get("detail") if isinstance(data, Mapping) else "") or text
    )
    return str(words or "").strip(), code, str(error.get("param") or "")


def _shortened(words: str) -> str:
    return words[:_SAID].rstrip(".") or "nothing"


def _seconds(headers: Mapping[str, str]) -> float | None:
    """The seconds that the server asks to wait: ``retry-after-ms`` where it is said, else
    ``retry-after``.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        said = headers.get(name, "")
        if said.isascii() and said.replace(".", "", 1).isdigit():
            return float(said) / unit
    return None
